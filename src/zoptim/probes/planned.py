"""A plan as a method's probe: what it asks next depends on all it was told, in this run and before a reopening.

    rounds     the plan's questions, up to its next move
    observe    the losses of a record told to a plan that has not heard them: so a journal brings it back

The plan knows the place by adding up its own moves.  A step that was asked and then dropped is asked again from
what the journal holds.  Not here: the plans (`zoptim.plans`), the moves as coefficients (`coefficients.Decided`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..protocols import Draw, Ended, Losses, Now, Point, Record

Makes = Callable[[np.ndarray, int], Generator[Any, Any, str]]  # (x, key) -> plan


@dataclass
class Planned:
    """Args:
    makes: a plan from a place (d,) and the run's key: it yields lists of sums (coordinate, step), and moves, which have
        an `offset` (d,).

    Raises (rounds):
        Ended: the plan is over, with its reason.

    Memory: the plan's, and 8 bytes an evaluation.
    """

    makes: Makes
    offset: np.ndarray = field(default_factory=lambda: np.zeros(0), init=False)  # of the move just decided
    sigma: float = field(default=0.0, init=False)  # of the noise in the answers, as far as the plan has seen
    _x: np.ndarray = field(default_factory=lambda: np.zeros(0), init=False)
    _key: int = field(default=0, init=False)
    _told: list[np.ndarray] = field(default_factory=list, init=False)  # of steps recorded
    _plan: Generator[Any, Any, str] | None = field(default=None, init=False)
    _next: Any = field(default=None, init=False)  # a question or a move; text: why it is over
    _asked: bool = field(default=False, init=False)  # since the last record

    @property
    def forwards(self) -> float:
        """A sweep of the coordinates and two more."""
        return self._x.size + 2.0

    def start(self, x: np.ndarray, key: int) -> None:
        """Where a run begins, before any of its records: all slots' numbers, (d,)."""
        self._x, self._key, self._told = x, key, []
        self._again()

    def rounds(self, t: int, now: Now) -> Generator[list[Point], Losses, tuple[Draw, ...]]:
        if self._plan is None:
            raise ValueError("the plan has no start: open it with zoptim.engine.Run")
        if self._asked:
            self._again()
        if isinstance(self._next, str):
            raise Ended(self._next)
        self._asked = True
        draws = _Draws(t)
        while isinstance(self._next, list):
            self._send((yield [Point(tuple([(draws[i], c) for i, c in sum_])) for sum_ in self._next]))
        if isinstance(self._next, str):  # it ends where it is
            self.offset = np.zeros_like(self._x)
        else:
            self.offset, self.sigma = np.asarray(self._next.offset), float(self._next.sigma)
        return tuple([draws[i] for i in np.flatnonzero(self.offset).tolist()]) or (draws[0],)

    def observe(self, record: Record) -> None:
        if not record.losses:  # a step left out unasked, or an answer that failed: asked again
            return
        told = np.array(record.losses)
        self._told.append(told)
        if not self._asked:
            self._tell(told)
        self._asked = False
        self._send(None)

    def _again(self) -> None:
        """The plan from its start, told all that is recorded."""
        self._plan, self._next = self.makes(self._x.copy(), self._key), None
        self._send(None)
        self._asked = False
        for told in self._told:
            self._tell(told)
            self._send(None)

    def _tell(self, told: np.ndarray) -> None:
        """A recorded step's answers, up to its move."""
        while len(told):
            if not isinstance(self._next, list):
                raise ValueError(
                    "the journal holds answers this plan did not ask for: it is another version's"
                )
            asked = len(self._next)
            self._send(told[:asked])
            told = told[asked:]

    def _send(self, answers: Any) -> None:
        if self._plan is None or isinstance(self._next, str):
            return
        try:
            self._next = self._plan.send(answers)
        except StopIteration as stop:
            self._next = stop.value


class _Draws(dict[int, Draw]):
    """A step's draws by their numbers, each made once."""

    def __init__(self, t: int) -> None:
        self.t = t

    def __missing__(self, i: int) -> Draw:
        self[i] = draw = Draw(self.t, i)
        return draw

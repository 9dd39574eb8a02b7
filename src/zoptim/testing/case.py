"""What the laws share: the method under trial, short runs of it, and comparisons.  No law is here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..engine import Run
from ..journal import Journal
from ..method import Method
from ..protocols import Begins, Directions, Mix, Point, Record, Slot, State, Term
from ..spaces.flat import Flat
from .functions import Function, Problem, objective
from .subjects import FlatSubject, Spy, Subject, made_up, subjects

HORIZON = 8  # of the short runs; schedules are laid over it

Reference = Callable[..., np.ndarray]  # (f, x0, *, key, slot, steps, horizon, **arguments) -> (steps + 1, d)


@dataclass(frozen=True)
class Trial:
    """A function to minimize at a fixed budget: how much of the first gap may be left, with one of `lrs`."""

    problem: Problem
    forwards: int = 4000
    left: float = 0.01
    lrs: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
    eps: float = 1e-3


class Broken(AssertionError):
    """A law does not hold."""


class Unclaimed(Exception):
    """A law does not apply; the message says why."""


@dataclass(frozen=True)
class Case:
    """What the laws share."""

    make: Callable[[], Method]
    functions: tuple[Trial, ...]
    reference: Reference | None
    key: int
    subjects: tuple[Subject, ...] = field(default_factory=subjects)
    over: Callable[[np.ndarray], Any] = Flat  # the space of a vector

    def plain(self) -> None:
        """For laws that say something of plain vectors alone."""
        if self.over is not Flat:
            raise Unclaimed("it is not for plain vectors")

    def run(self, space: Any, dump: bytes | None = None, method: Method | None = None, **how: Any) -> Run:
        journal = Journal.create(None, {"key": self.key}) if dump is None else Journal(None, dump)
        return Run(space, method or self.make(), journal, horizon=HORIZON, **how)

    def step(self, f: Function, method: Method | None = None, d: int = 6) -> tuple[Record, list[Point]]:
        """One step on a function of d numbers in float64, and the points it asked."""
        spy = Spy(FlatSubject(np.float64, self.over))
        spy.space = self.over(made_up("law", d))
        record = self.run(spy, method=method).step(objective(f))
        return record, [p for points, _ in spy.seen for p in points]


def need(true: bool, message: str) -> None:
    if not true:
        raise Broken(message)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Bit for bit."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def near(a: Any, b: Any, tolerance: float) -> bool:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return a.shape == b.shape and bool(
        np.abs(a - b).max(initial=0.0) <= tolerance * np.abs(b).max(initial=0.0)
    )


def formed(
    directions: Directions, slot: Slot, shape: tuple[int, int], sums: Sequence[Sequence[Term]], state: State,
    dtype: Any = np.float64, at: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """The sums themselves, (m, rows, cols), added to nothing; `at` are the weights they belong to."""
    out = np.empty((len(sums), *shape), dtype)
    at = weights(shape) if at is None else at
    directions.form(out, slot, slice(0, shape[0]), Mix.of(*sums), None, state, at=at)
    return out


def weights(shape: tuple[int, int]) -> np.ndarray:
    """What the laws take for the weights of a slot, (rows, cols)."""
    return made_up("law", *shape)


def opened(directions: Directions, slot: Slot, shape: tuple[int, int], key: int) -> State:
    """The state of directions over one slot that begins with `weights`."""
    state = directions.init((slot,), key)
    if isinstance(directions, Begins):
        directions.begin(slot, weights(shape), state)
    return state


def draws_of(method: Method, draws: Sequence[Any], d: int, key: int, applied: bool = False) -> np.ndarray:
    """z of some draws on a flat space of d numbers, as probed or as applied: (k, d)."""
    slot = Flat(np.zeros(d)).slot
    state = opened(method.directions, slot, (d, 1), key)
    directions = method.applied if applied else method.directions
    return formed(directions, slot, (d, 1), [((z, 1.0),) for z in draws], state)[:, :, 0]

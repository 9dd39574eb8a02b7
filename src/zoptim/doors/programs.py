"""Constraints known only by queries, without noise: quadratic programs by differences, f and every constraint told apart.

Each point's f, g and h are kept apart, so that one sweep of d differences says how all of them change; an augmented
Lagrangian learns one number a point.  Not here: the programs (`plans.sequential`), noise and sets (`lagrangian`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..plans.sequential import Step, sequential
from ..plans.sequential import Told as Values
from .problem import Bounds
from .queried import Told
from .results import INTERRUPTED, STOPPED, Result

DENSE = 200  # numbers; arithmetic is of the third power
NAME = "quadratic programs"
CHOSEN = f"auto chose {NAME} by differences"
RESTLESS = f"{NAME} came to no rest"


class Programs:
    """One search.

    Args:
        told: who asks f and the constraints.
        x: the start, of any shape; it is not changed.
        bounds: as `minimize` is given them.
        failures: "raise" where a value is not finite.

    Attributes:
        x: where it stands.
        rest: whether it ended at a minimum.
    """

    def __init__(self, told: Told, x: np.ndarray, bounds: Any, failures: str) -> None:
        self.told, self.x, self.failures, self.rest, self.steps = told, x, failures, False, 0
        self.m, self.k = np.zeros(0), np.zeros(0)
        box = None if bounds is None else Bounds.of(bounds, x)
        free = np.full(x.size, np.inf, x.dtype)
        self._talk = sequential(x.ravel(), (-free, free) if box is None else (box.low, box.high))

    def run(self, budget: int, ends: Callable[[Result], bool]) -> Result:
        """Up to a rest, the budget, or where `ends` says so after a step; `x` is where it then stands."""
        status, why, said = 1, f"the budget of {budget} evaluations is spent", next(self._talk)
        try:
            while True:
                if isinstance(said, Step):
                    self.x, self.m, self.k, self.steps = (
                        said.x.reshape(self.x.shape),
                        said.ineq,
                        said.eq,
                        self.steps + 1,
                    )
                    if ends(self.result(1, "under way")):
                        return self.result(2, "ended by the callback")
                    said = next(self._talk)
                elif len(self.told.trace) + len(said) > budget:
                    break
                else:
                    said = self._talk.send(self._answers(said))
        except StopIteration as stop:
            self.rest = stop.value
            status, why = (0, "the multipliers have settled") if self.rest else (1, RESTLESS)
        except KeyboardInterrupt:
            status, why = INTERRUPTED, STOPPED
        return self.result(status, why)

    def result(self, status: int, why: str) -> Result:
        fields = self.told.fields(self.x, self.m, self.k, status, [why, CHOSEN])
        return Result(fields, nit=self.steps, method=NAME, journal=None)

    def _answers(self, points: np.ndarray) -> Values:
        answers = self.told(points.reshape(len(points), *self.x.shape))
        for answer in answers:
            if self.failures == "raise" and (answer.failed or not np.isfinite(answer.f)):
                raise ValueError(
                    f"the objective or a constraint is not finite among the first {len(self.told.trace)} evaluations: make "
                    "it finite, or choose failures='skip' or 'penalize'"
                )
        whole = next((a for a in answers if not a.failed), answers[0])
        g, h = (
            np.array([np.full(len(one), np.nan) if a.failed else a[i] for a in answers])
            for i, one in ((1, whole.g), (2, whole.h))
        )
        return np.array([a.f for a in answers]), g, h

"""Constraints known only by queries, quadratic programs by differences: f and every constraint told apart.

Each point's f, g and h are kept apart, so that one sweep of d differences says how all of them change; an augmented
Lagrangian learns one number a point.  Not here: the programs (`plans.sequential`), sets and noisy constraints (`lagrangian`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..plans import sequential
from .problem import Bounds
from .queried import FEASIBLE, Answer, Told
from .results import INTERRUPTED, STOPPED, Result

DENSE = 200  # numbers; arithmetic is of the third power
NAME = "quadratic programs"
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
        steps: so far.
    """

    def __init__(self, told: Told, x: np.ndarray, bounds: Any, failures: str) -> None:
        self.told, self.failures, self.steps = told, failures, 0
        self.at = sequential.Step(x, np.nan, np.inf, np.zeros(0), np.zeros(0), 0.0)
        box = None if bounds is None else Bounds.of(bounds, x)
        free = np.full(x.size, np.inf, x.dtype)
        self._talk = sequential.sequential(x.ravel(), (-free, free) if box is None else (box.low, box.high))

    @property
    def x(self) -> np.ndarray:
        return self.at.x

    def run(self, budget: int, ends: Callable[[Result], bool]) -> Result:
        """Up to a rest, the budget, or where `ends` says so after a step; `x` is where it then stands."""
        status, why = 1, f"the budget of {budget} evaluations is spent"
        try:
            said = next(self._talk)
            while True:
                if isinstance(said, sequential.Step):
                    self.at, self.steps = said._replace(x=said.x.reshape(self.x.shape)), self.steps + 1
                    if ends(self.result(1, "under way")):
                        return self.result(2, "ended by the callback")
                    said = next(self._talk)
                elif len(self.told.trace) + len(said) > budget:
                    break
                else:
                    said = self._talk.send(self._answers(said))
        except StopIteration as stop:
            status, why = (0, stop.value) if stop.value else (1, RESTLESS)
        except KeyboardInterrupt:
            status, why = INTERRUPTED, STOPPED
        return self.result(status, why)

    def result(self, status: int, why: str) -> Result:
        """The best point; where f is noisy, the last one, for the lowest value is a lucky one."""
        at, message = self.at, [why, f"auto chose {NAME} by differences"]
        result = Result(self.told.fields(at.x, at.ineq, at.eq, status, message))
        result.update(nit=self.steps, method=NAME, journal=None)
        if at.sigma:
            result["message"] += f"; values at one place differ by about {at.sigma:.2g}"
            if at.off <= FEASIBLE:
                result.update(x=at.x, fun=at.f)
                result["message"] += ": x is where the search ended, not the lowest seen"
        return result

    def _answers(self, points: np.ndarray) -> sequential.Told:
        answers = self.told(points.reshape(len(points), *self.x.shape))
        if self.failures == "raise" and any(a.failed or not np.isfinite(a.f) for a in answers):
            raise ValueError(
                f"the objective or a constraint is not finite among the first {len(self.told.trace)} evaluations: make it "
                "finite there, or choose failures='skip' or 'penalize'"
            )
        whole = next((a for a in answers if not a.failed), answers[0])
        nothing = Answer(np.nan, np.full(len(whole.g), np.nan), np.full(len(whole.h), np.nan))
        f, g, h = zip(*(nothing if a.failed else a for a in answers), strict=True)
        return np.array(f), np.array(g), np.array(h)

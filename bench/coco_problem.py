"""A COCO problem as an entrant sees it: a function that counts, remembers which targets were reached, and stops.

    target_k = f_opt + (f(x0) - f_opt) 10^(-8 k / 50),  k = 0..50       x0: the suite's initial solution

The suite has x0 at the center of the box.  f_opt is f at the suite's own best parameter, at which its
`final_target_hit` must then be set.  The clock of an entrant stops while the function is evaluated: a slow function
costs an entrant nothing, and a cap is on its own thinking, in CPU time, which others on the machine do not shorten.

What it is not: the entrants (`coco_entrants`), the cells and their files (`coco`).
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

TARGETS = 51
DECADES = 8  # from f(x0) - f_opt down to 1e-8 of it
BUDGET = 30  # evaluations a dimension
SUITES = {5: "bbob", 20: "bbob", 40: "bbob-largescale", 160: "bbob-largescale"} | dict.fromkeys(
    (320, 640), "bbob-largescale"
)
FUNCTIONS, INSTANCES = tuple(range(1, 25)), (1, 2, 3)
_BEST = "._bbob_problem_best_parameter.txt"  # where the suite prints a problem's best parameter

Array = np.ndarray[Any, np.dtype[np.float64]]


class BudgetOver(Exception):
    """All evaluations, or all time, of an entrant on a problem are used up."""


class Problem(NamedTuple):
    """One function, instance and dimension; `f` evaluates, uncounted."""

    function: int
    instance: int
    dim: int
    f: Any
    x0: Array
    bounds: tuple[Array, Array]
    f0: float
    f_opt: float

    @property
    def name(self) -> str:
        return f"f{self.function:02d}i{self.instance}"

    @property
    def seed(self) -> int:
        """The same for every entrant."""
        return 10_000 * self.dim + 10 * self.function + self.instance


def problems(
    dim: int, functions: tuple[int, ...] = FUNCTIONS, instances: tuple[int, ...] = INSTANCES
) -> Iterator[Problem]:
    """The suite's problems of a dimension, one open at a time.

    Raises:
        ImportError: without cocoex (`pip install coco-experiment`).
        RuntimeError: if the suite's best parameter does not reach its own final target.
    """
    import cocoex  # type: ignore[import-not-found]

    wanted = f"dimensions: {dim} function_indices: {_list(functions)} instance_indices: {_list(instances)}"
    for problem in cocoex.Suite(SUITES[dim], "", wanted):
        f_opt = float(problem(_best(problem)))
        if not problem.final_target_hit:
            raise RuntimeError(
                f"{problem.id}: its best parameter gives {f_opt}, which misses its final target"
            )
        x0 = np.array(problem.initial_solution, dtype=float)
        bounds = np.array(problem.lower_bounds), np.array(problem.upper_bounds)
        yield Problem(
            problem.id_function, problem.id_instance, dim, problem, x0, bounds, float(problem(x0)), f_opt
        )


def _list(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))


def _best(problem: Any) -> Array:
    """The suite's minimizer, which it prints into the current folder: a temporary one."""
    back = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="zoptim-coco-") as folder:
        try:
            os.chdir(folder)
            problem._best_parameter("print")
            return np.loadtxt(_BEST)
        finally:
            os.chdir(back)


class Counted:
    """The function an entrant calls: at most `budget` evaluations and `seconds` of CPU of the entrant's own.

    `hits[k]` is the number of the evaluation that first reached target k; targets beyond its length were not reached.
    """

    def __init__(self, problem: Problem, budget: int, seconds: float) -> None:
        self.problem, self.budget, self.seconds = problem, budget, seconds
        self.calls, self.capped, self.thinking = 0, False, 0.0
        self.best, self.hits = float("inf"), list[int]()
        gap = problem.f0 - problem.f_opt
        self.targets = [problem.f_opt + gap * 10 ** (-DECADES * k / (TARGETS - 1)) for k in range(TARGETS)]
        self._since = time.process_time()

    def __call__(self, x: Array) -> float:
        """f(x).

        Raises:
            BudgetOver: instead of one evaluation too many, or too late.
        """
        self.thinking += time.process_time() - self._since
        self.capped = self.capped or self.thinking > self.seconds
        if self.capped or self.calls >= self.budget:
            raise BudgetOver
        self.calls += 1
        value = float(self.problem.f(np.asarray(x, dtype=float)))
        if value < self.best:
            self.best = value
            while len(self.hits) < TARGETS and value <= self.targets[len(self.hits)]:
                self.hits.append(self.calls)
        self._since = time.process_time()
        return value

    def run(self, entrant: Any) -> dict[str, Any]:
        """Let an entrant use it up; what it reached."""
        np.random.seed(self.problem.seed)  # some peers draw from numpy's own stream
        self._since = time.process_time()
        with contextlib.suppress(BudgetOver):
            entrant(self, self.problem.x0.copy(), self.budget, self.problem.bounds, self.problem.seed)
        return {
            "hits": self.hits, "gap": self.best - self.problem.f_opt, "gap0": self.problem.f0 - self.problem.f_opt,
            "calls": self.calls, "seconds": round(self.thinking, 3), "capped": self.capped,
        }  # fmt: skip

"""Constraints that only queries tell: Hock and Schittkowski's small problems, at 100 (d + 1) evaluations, beside SciPy's.

    python -m bench.constrained [--quick] [--save] [--json]

An evaluation is a point: f and all constraints there, once; of SciPy's only different points count, those of its
differences among them.  Everyone is judged by the best point asked, of which a violation up to 1e-6 counts as none.  Then the same with ripples and
with noise on f, judged by f without them.
SciPy is optional: what cannot be imported is marked.  What it is not: the problems (`constrained_problems`).
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bench import common
from bench.constrained_problems import PROBLEMS, Problem
from bench.sections import grid
from zoptim import minimize, noise

NONE = 1e-6  # a violation that counts as none
CLOSE = (1e-2, 1e-4, 1e-6)  # gaps over max(1, |f*|)
ROUGH = 1e-3  # of ripples and noise
KEY = noise.key_from_seed(11)
KINDS: dict[str, Callable[[np.ndarray, int], float]] = {
    "as published": lambda x, t: 0.0,
    "with ripples": lambda x, t: ROUGH * np.sin(np.sum(x) / ROUGH),
    "with noise": lambda x, t: ROUGH * float(noise.normals(KEY, t, 0, 0, 0, 1)[0]),
}
QUICK = (("HS6", "HS22", "HS29"), 40)
OURS = "zoptim"


class Spent(Exception):
    """The budget is."""


class Watch:
    """f and the constraints of a problem, every point counted, and how good the best one is after how many.

    Args:
        repeats: whether a point asked again counts again.
        kind: what is added to f.
    """

    def __init__(self, problem: Problem, budget: int, repeats: bool, kind: str = "as published") -> None:
        self.problem, self.budget, self.repeats, self.count = problem, budget, repeats, 0
        self.added = KINDS[kind]
        self.best = (np.inf, np.inf)  # violation beyond NONE, gap
        self.first: dict[str, int | None] = {f"{c:.0e}": None for c in CLOSE}
        self._known: dict[bytes, float] = {}

    def f(self, x: np.ndarray) -> float:
        key, p = np.asarray(x, np.float64).tobytes(), self.problem
        if key in self._known and not self.repeats:
            return self._known[key]
        if self.count == self.budget:
            raise Spent
        self.count += 1
        value = float(p.f(x))
        self._known[key] = value + self.added(x, self.count)
        off, gap = p.violation(x), (value - p.best) / max(1.0, abs(p.best))
        self.best = min(self.best, (off if off > NONE else 0.0, gap))
        for c in CLOSE:
            if self.best[0] == 0.0 and self.best[1] <= c and self.first[f"{c:.0e}"] is None:
                self.first[f"{c:.0e}"] = self.count
        return self._known[key]

    def of(self, function: Callable[[np.ndarray], Any]) -> Callable[[np.ndarray], np.ndarray]:
        """One kind of constraints, asked where f is: a point of its own counts too."""

        def asked(x: np.ndarray) -> np.ndarray:
            if np.asarray(x, np.float64).tobytes() not in self._known:
                self.f(x)
            return np.asarray(function(x), np.float64)

        return asked

    def constraints(self) -> list[dict[str, Any]]:
        """As SciPy's dicts, those there are."""
        p, x = self.problem, np.array(self.problem.start)
        kinds = (("ineq", p.ineq), ("eq", p.eq))
        return [{"type": kind, "fun": self.of(fun)} for kind, fun in kinds if len(fun(x))]


def ours(method: str) -> Callable[[Watch], None]:
    def run(watch: Watch) -> None:
        p = watch.problem
        minimize(
            watch.f,
            p.start,
            method=method,
            bounds=p.bounds,
            constraints=watch.constraints(),
            budget=watch.budget,
        )

    return run


def scipys(method: str, options: Mapping[str, float]) -> Callable[[Watch], None]:
    """One of SciPy's, ended by the budget rather than by itself."""

    def run(watch: Watch) -> None:
        from scipy import optimize

        p, given = watch.problem, watch.constraints()
        if method == "trust-constr":
            given = [
                optimize.NonlinearConstraint(c["fun"], 0.0, np.inf if c["type"] == "ineq" else 0.0)
                for c in given
            ]
        optimize.minimize(
            watch.f, np.array(p.start), method=method, bounds=p.bounds, constraints=given,
            options={"maxiter": 100_000, **options},
        )  # fmt: skip

    return run


ENTRANTS: dict[str, Callable[[Watch], None]] = {
    OURS: ours("auto"),
    f"{OURS}, fd_newton": ours("fd_newton"),
    "SLSQP": scipys("SLSQP", {"ftol": 1e-12}),
    "trust-constr": scipys("trust-constr", {"gtol": 1e-10, "xtol": 1e-10}),
    "COBYLA": scipys("COBYLA", {"tol": 1e-10}),
    "COBYQA": scipys("COBYQA", {"final_tr_radius": 1e-10}),
}


def solve(name: str, problem: Problem, each: int, kind: str = "as published") -> dict[str, Any]:
    """What one entrant reaches with `each` (d + 1) evaluations: violation and gap of its best point, and when."""
    watch = Watch(problem, each * (problem.d + 1), name.startswith(OURS), kind)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ENTRANTS[name](watch)
    except Spent:
        pass
    except ImportError as why:
        return {"missing": str(why)}
    violation, gap = watch.best
    return {"violation": violation, "gap": gap, "asked": watch.count, "first": watch.first}


def measure(names: Mapping[str, Problem], each: int) -> dict[str, Any]:
    kinds = {
        kind: {
            problem: {
                "d": p.d,
                "budget": each * (p.d + 1),
                "found": {who: solve(who, p, each, kind) for who in ENTRANTS},
            }
            for problem, p in names.items()
        }
        for kind in KINDS
    }
    return {"each": each, "kinds": kinds}


# -- what is shown ---------------------------------------------------------------------------------------


def _cell(found: Mapping[str, Any]) -> str:
    if "missing" in found:
        return "not here"
    if found["violation"]:
        return f"off by {found['violation']:.0e}"
    gap = "0" if abs(found["gap"]) < 1e-9 else f"{found['gap']:.0e}"
    when = found["first"]["1e-04"]
    return f"{gap} ({when})" if when else f"{gap} (no)"


def summary(problems: Mapping[str, Any]) -> str:
    """How many problems each solves, and after how many evaluations."""
    rows = []
    for who in ENTRANTS:
        all_ = [(p["d"], p["found"][who]) for p in problems.values() if "missing" not in p["found"][who]]
        if not all_:
            rows.append((who, *["not here"] * (len(CLOSE) + 2)))
            continue
        counts = [str(sum(r["first"][f"{c:.0e}"] is not None for _, r in all_)) for c in CLOSE]
        off = str(sum(r["violation"] > 0 for _, r in all_))
        pace = float(np.median([(r["first"]["1e-02"] or np.inf) / (d + 1) for d, r in all_]))
        rows.append((who, *counts, off, f"{pace:.1f}" if np.isfinite(pace) else "more"))
    head = ("", *[f"gap {c:.0e}" for c in CLOSE], "infeasible", "median evaluations / (d + 1) to 1e-02")
    return grid(head, rows)


def table(found: Mapping[str, Any]) -> str:
    """A summary a kind; problem by problem as published."""
    parts = [f"**{kind}**\n\n{summary(problems)}" for kind, problems in found["kinds"].items()]
    rows = [
        (f"{name}, d = {p['d']}", *[_cell(p["found"][who]) for who in ENTRANTS])
        for name, p in found["kinds"]["as published"].items()
    ]
    return "\n".join([*parts, grid(("as published", *ENTRANTS), rows)])


def section(found: Mapping[str, Any]) -> str:
    """What the page of black boxes says of it."""
    count = len(found["kinds"]["as published"])
    return (
        f"{count} problems of Hock and Schittkowski (1981) from their published starts, {found['each']} (d + 1) "
        "evaluations each. First how many of them are solved, to a gap over max(1, |f\\*|) and a violation of at most 1e-6; then "
        "each one's gap at the best feasible point asked (in parentheses: evaluations until it was below 1e-4), or by how much "
        "the least infeasible point is off. An evaluation is f and all constraints at a point; SciPy's differences count, its "
        f"points asked twice do not, ours do. A gap below 0 is what a violation below 1e-6 buys.\n\n{table(found)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="three problems, fewer evaluations")
    parser.add_argument("--save", action="store_true", help="into bench/results/constrained.json")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    began = time.perf_counter()
    names, each = (QUICK[0], QUICK[1]) if options.quick else (tuple(PROBLEMS), 100)
    found = common.stamp(measure({name: PROBLEMS[name] for name in names}, each))
    common.finish("constrained", found, began, options, table)


if __name__ == "__main__":
    main()

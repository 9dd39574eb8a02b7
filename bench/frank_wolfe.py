"""Frank-Wolfe by differences on its papers' three experiments, at equal numbers of component queries.

    python -m bench.frank_wolfe [--quick] [--save] [--json]

Needs scikit-learn, whose own data are used.  Every method, and three that project, gets the same budget of evaluations of
single f_i, points outside of batches included; its step size is the best of a grid that is the same for all, in units of
what its paper says, by the last value on a seed that is not reported.  Losses and Frank-Wolfe gaps are computed aside.
With --save a cell (problem, method) is written when it is done, and a killed run goes on where it stopped.
What it is not: the problems (`frank_problems`), the drawing (`frank_figure`).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bench import common, frank_figure
from bench.frank_problems import PROBLEMS, Problem
from bench.sections import grid
from zoptim.doors.search import Search

GRID = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # multiples of an entrant's unit
TUNED, SEEDS = 100, (0, 1, 2, 3, 4)
POINTS = 24  # of a curve, at evenly spaced logarithms of queries
EPS = 1e-6
N = 8  # draws of a step, where a paper leaves them open


class Entrant(NamedTuple):
    """A method as it is run: `unit` is the lr its paper would take; `whole`: it asks all components at every point."""

    method: str
    settings: Callable[[Problem], Mapping[str, Any]]
    unit: Callable[[Problem], float]
    whole: bool = False


def batch(p: Problem) -> int:
    """The square root of n, which the papers take."""
    return math.isqrt(p.n)


def _refresh(p: Problem) -> float:
    return batch(p) / (p.n + batch(p))


def _normal(p: Problem) -> float:
    """The step that is best for the mean of N normals' slopes."""
    return N / (p.smooth * (p.d + N + 1))


ENTRANTS: dict[str, Entrant] = {
    "zscg": Entrant("zscg", lambda p: {"n": N}, lambda p: 1.0),
    "sgffw, I-RDSA": Entrant("sgffw", lambda p: {"n": 6}, lambda p: 1.0),
    "sgffw, RDSA": Entrant("sgffw", lambda p: {"scheme": "rdsa"}, lambda p: 1.0),
    "sgffw, KWSA": Entrant("sgffw", lambda p: {"scheme": "kwsa"}, lambda p: 1.0),
    "fzfw": Entrant("fzfw", lambda p: {"period": batch(p)}, lambda p: 0.1),
    "fzcgs": Entrant("fzcgs", lambda p: {"period": batch(p)}, lambda p: 1 / (3 * p.smooth)),
    "jaguar": Entrant("jaguar", lambda p: {}, lambda p: 1.0, whole=True),
    "jaguar_stochastic": Entrant("jaguar_stochastic", lambda p: {"n": N}, lambda p: 1.0),
    "zsfw_dvr": Entrant("zsfw_dvr", lambda p: {"n": N, "p": _refresh(p)}, lambda p: 1.0),
    "zsfw_dvr, p = 1/2": Entrant("zsfw_dvr", lambda p: {"n": N, "p": 0.5}, lambda p: 1.0),
    "zo_sgd, projected": Entrant(
        "zo_sgd", lambda p: {"n": N, "law": "normal", "schedule": "cosine"}, _normal
    ),
    "zo_spider_coord, projected": Entrant(
        "zo_spider_coord",
        lambda p: {"period": batch(p), "schedule": "constant"},
        lambda p: 1 / (4 * p.smooth),
    ),
    "zpdvr, projected": Entrant(
        "zpdvr", lambda p: {"p": _refresh(p), "schedule": "constant"}, lambda p: 1 / (4 * p.d * p.smooth)
    ),
}


def run(p: Problem, entrant: Entrant, factor: float, seed: int, budget: int) -> dict[str, Any]:
    """One search from x = 0: its queries, losses and gaps along the way, and where it ended."""
    search = Search(
        np.zeros(p.d), entrant.method, constraints=p.set, budget=budget, seed=seed, n=p.n,
        batch=p.n if entrant.whole else batch(p),
        settings={**entrant.settings(p), "lr": factor * entrant.unit(p), "eps": EPS},
    )  # fmt: skip
    marks = [round(budget * 10 ** (-3 * (1 - k / (POINTS - 1)))) for k in range(POINTS)]
    curve: list[tuple[int, float, float]] = []

    def look() -> None:
        x = search.talk.place()
        curve.append((search.spent, p.loss(x), p.gap(x)))

    while not search.done:
        while marks and search.spent >= marks[0]:
            look()
            marks = [m for m in marks if m > search.spent]
        search.tell(_answers(p, search.ask(), search.components))
    look()
    x = search.result().x
    return {
        "queries": [q for q, _, _ in curve],
        "loss": [loss for _, loss, _ in curve],
        "gap": [gap for _, _, gap in curve],
        "steps": search.steps,
        "outside": max(0.0, p.set.excess(x)),
        "zeros": int((np.abs(x) < 1e-12).sum()),
    }


def _answers(p: Problem, x: np.ndarray, parts: Sequence[np.ndarray] | None) -> np.ndarray:
    """Means over the components asked; the points of a question are asked on the same."""
    assert parts is not None and all(np.array_equal(i, parts[0]) for i in parts)
    return np.asarray(p.values(x, parts[0]).mean(axis=1))


def cell(
    p: Problem, entrant: Entrant, budget: int, grid_of: Sequence[float], seeds: Sequence[int]
) -> dict[str, Any]:
    """Tuned, then run."""
    began = time.process_time()
    last = {}
    for factor in grid_of:
        try:
            last[factor] = run(p, entrant, factor, TUNED, budget)["loss"][-1]
        except ValueError as error:  # the budget has no room for a step
            return {"error": str(error)}
    chosen = min(last, key=lambda f: (math.isnan(last[f]), last[f]))
    runs = [run(p, entrant, chosen, seed, budget) for seed in seeds]
    return {
        "factor": chosen, "tuned": {f"{f:g}": loss for f, loss in last.items()}, "runs": runs,
        "cpu_seconds": round(time.process_time() - began, 2),
    }  # fmt: skip


# -- the page ------------------------------------------------------------------------------------------


def above(problem: Mapping[str, Any], losses: Sequence[float]) -> list[float]:
    """Losses less the least possible, where that is known."""
    best = problem["best"]
    return [loss - best for loss in losses] if best is not None else list(losses)


def table(found: Mapping[str, Any]) -> str:
    """A table a problem: what was reached with the whole budget, the median and the range of the seeds."""
    parts = []
    for name, problem in found["problems"].items():
        what = "loss - min" if problem["best"] is not None else "loss"
        rows = []
        for entrant, one in problem["cells"].items():
            if "error" in one:
                rows.append((entrant, "", "", "", "", one["error"]))
                continue
            losses = above(problem, [r["loss"][-1] for r in one["runs"]])
            gaps = [r["gap"][-1] for r in one["runs"]]
            steps = statistics.median(r["steps"] for r in one["runs"])
            outside = max(r["outside"] for r in one["runs"])
            rows.append(
                (
                    entrant,
                    _spread(losses),
                    _spread(gaps),
                    f"{steps:g}",
                    f"{one['factor']:g}",
                    f"{outside:.0e}" if outside else "0",
                )
            )
        rows.sort(key=lambda row: float(row[1].split()[0]) if row[1] else math.inf)
        head = ("method", what, "Frank-Wolfe gap", "steps", "lr / unit", "outside")
        parts.append(
            f"**{name}**, d = {problem['d']}, n = {problem['n']}, {problem['budget']:,} queries; at the start: loss "
            f"{problem['start'][0]:.4g}, gap {problem['start'][1]:.4g}\n\n{grid(head, rows)}"
        )
    return "\n".join(parts)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3g} ({min(values):.2g} .. {max(values):.2g})"


def section(found: Mapping[str, Any]) -> str:
    """What the page of black boxes says of it."""
    quick = " A quick run: a part of the budgets and seeds." if found["quick"] else ""
    return (
        f"{__doc__.splitlines()[0]}{quick} Medians over {len(found['seeds'])} seeds, least and largest in parentheses; sorted by "
        "loss. lr is the best of "
        f'{len(found["grid"])} multiples of each paper\'s, on another seed. "projected": the same kinds of estimates with '
        "projected steps, which Frank-Wolfe does without.\n\n"
        f"![loss against queries](../bench/results/frank_wolfe.svg)\n\n{table(found)}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="two fifths of the budgets, two seeds, two step sizes"
    )
    parser.add_argument("--only", default="", help="names of problems, by commas")
    parser.add_argument(
        "--save", action="store_true", help="into bench/results, cell by cell; go on with what is there"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    began = time.perf_counter()
    seeds, factors, share = (SEEDS[:2], (0.1, 1.0), 0.4) if options.quick else (SEEDS, GRID, 1.0)
    frame = {"quick": options.quick, "seeds": list(seeds), "grid": list(factors), "eps": EPS}
    found = common.stamp({"what": __doc__.splitlines()[0], **frame, "problems": {}})
    path = common.RESULTS / "frank_wolfe.json"
    if options.save and path.is_file():
        before = json.loads(path.read_text())
        if all(before.get(k) == v for k, v in frame.items()):
            found["problems"] = before["problems"]
    for name in options.only.split(",") if options.only else PROBLEMS:
        p = PROBLEMS[name]()
        budget, zero = round(share * p.budget), np.zeros(p.d)
        here = found["problems"].setdefault(name, {
            "n": p.n, "d": p.d, "budget": budget, "start": [p.loss(zero), p.gap(zero)],
            "best": None if math.isnan(p.best) else p.best,
            "certified": None if math.isnan(p.best) else p.certified, "cells": {},
        })  # fmt: skip
        for label, entrant in ENTRANTS.items():
            if label not in here["cells"]:
                here["cells"][label] = cell(p, entrant, budget, factors, seeds)
                if options.save:
                    common.save("frank_wolfe", found)
    if options.save:
        (common.RESULTS / "frank_wolfe.svg").write_text(frank_figure.draw(found))
    common.finish("frank_wolfe", found, began, options, table)


if __name__ == "__main__":
    main()

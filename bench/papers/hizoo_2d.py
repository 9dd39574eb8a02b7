"""HiZOO's trajectories on two-dimensional functions whose coordinates have very different curvature.

    (a)  8 (x - 1)^2 (1.3 x^2 + 2 x + 1) + (y - 4)^2 / 2
    (b)  |x| + |y|
    (c)  10,000 x^2 + y^2

One step size serves both coordinates badly; H, learned from second differences, gives each its own.  `mezo`, `hizoo`
and `zo_adam` are each given the same forwards and the best of a grid of step sizes (and of alpha), chosen on other
seeds than those that are reported.  As the steep coordinate may be all of f, what is counted is the forwards until
*both* coordinates are within a tenth of their first distance from the minimum.  arXiv 2402.15173, whose figure is without numbers; the functions are as
remembered from it, the starting points ours.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from bench.papers.shown import finish, row
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.method import Method
from zoptim.methods import SHELF
from zoptim.spaces.flat import Flat

FORWARDS = 1800
TUNED, REPORTED = range(2), range(100, 121)  # seeds
LRS, RADII = tuple(10.0**k for k in np.arange(-6, 0.6, 0.5)), (1e-4, 1e-1)
GRID: dict[str, list[dict[str, float]]] = {
    "mezo": [{}], "hizoo": [{"alpha": a} for a in (0.003, 0.03, 0.3)],
    "zo_adam": [{"beta1": b1, "beta2": b2} for b1, b2 in ((0.9, 0.999), (0.9, 0.99), (0.0, 0.99))],
}  # fmt: skip
Place: TypeAlias = tuple[float, float]
FUNCTIONS: dict[str, tuple[str, Place, Place, Callable[[np.ndarray], np.ndarray]]] = {  # start, minimum
    "a": ("8(x-1)^2(1.3x^2+2x+1) + (y-4)^2/2", (0.2, 0.0), (1.0, 4.0),
          lambda p: 8 * (p[:, 0] - 1) ** 2 * (1.3 * p[:, 0] ** 2 + 2 * p[:, 0] + 1) + 0.5 * (p[:, 1] - 4) ** 2),
    "b": ("|x| + |y|", (0.5, 2.0), (0.0, 0.0), lambda p: np.abs(p).sum(1)),
    "c": ("10,000 x^2 + y^2", (0.5, 2.0), (0.0, 0.0), lambda p: 1e4 * p[:, 0] ** 2 + p[:, 1] ** 2),
}  # fmt: skip


def path(method: Method, function: str, seed: int) -> np.ndarray:
    """Where a run was after each step: (steps + 1, 2)."""
    _, start, _, f = FUNCTIONS[function]
    space = Flat(np.array(start))
    run = Run(space, method, Journal.create(None, {"key": seed}), horizon=1)
    found = [space.x.copy()]
    with np.errstate(all="ignore"):  # too large a step overflows, and is skipped from then on
        for _ in range(int(FORWARDS // method.probe.forwards)):
            run.step(lambda v: f(v.x))
            found.append(space.x.copy())
    return np.array(found)


def left(method: Callable[[], Method], function: str, seeds: range) -> tuple[float, list[np.ndarray]]:
    """The median over seeds of f at the end over f at the start, and the paths."""
    f = FUNCTIONS[function][3]
    paths = [path(method(), function, seed) for seed in seeds]
    with np.errstate(all="ignore"):
        ends = [float(f(p[-1:])[0] / f(p[:1])[0]) for p in paths]
    return float(np.median([e if np.isfinite(e) else np.inf for e in ends])), paths


def best(name: str, function: str) -> tuple[dict[str, float], float, list[np.ndarray]]:
    """The grid's best settings on the tuning seeds, and what they do on the others."""
    make = SHELF[name].make
    grid = itertools.product(LRS, RADII, GRID[name])
    choices = [{"lr": lr, "eps": eps, **rest} for lr, eps, rest in grid]
    chosen = min(choices, key=lambda s: left(lambda: make(**s), function, TUNED)[0])
    return chosen, *left(lambda: make(**chosen), function, REPORTED)


def reached(paths: list[np.ndarray], function: str, share: float = 0.1) -> float:
    """The median share of a run's steps until both coordinates are so near the minimum; inf: never."""
    least = np.array(FUNCTIONS[function][2])
    firsts = []
    for p in paths:
        near = (np.abs(p - least) <= share * np.abs(p[0] - least)).all(1)
        firsts.append(float(np.argmax(near)) / (len(p) - 1) if near.any() else np.inf)
    return float(np.median(firsts))


def main() -> None:
    start = time.perf_counter()
    finish("hizoo_2d", shape({fn: {name: best(name, fn) for name in GRID} for fn in FUNCTIONS}), start)


def shape(found: dict[str, dict[str, tuple[dict[str, float], float, list[np.ndarray]]]]) -> dict[str, Any]:
    rows, table = [], []
    for fn, by in found.items():
        to = {name: FORWARDS * reached(paths, fn) for name, (_, _, paths) in by.items()}
        rows.append(
            row(f"({fn}) {FUNCTIONS[fn][0]}: hizoo arrives sooner than mezo", "HiZOO arrives, MeZO lags in one coordinate",
                f"both coordinates after {_count(to['hizoo'])} forwards beside {_count(to['mezo'])}; f left at the end "
                f"{by['hizoo'][1]:.1e} beside {by['mezo'][1]:.1e}",
                to["hizoo"] < to["mezo"], by["hizoo"][1] < by["mezo"][1])
        )  # fmt: skip
        for name, (chosen, ratio, _) in by.items():
            table.append({"function": fn, "method": name, "forwards": _count(to[name]), "f left": ratio,
                          "settings": ", ".join(f"{k} {v:.3g}" for k, v in chosen.items())})  # fmt: skip
    middle = {name: _typical(paths) for name, (_, _, paths) in found["a"].items()}
    return {
        "title": "HiZOO: trajectories on heterogeneous functions",
        "paper": "Second-Order Fine-Tuning without Pain for LLMs: a Hessian Informed Zeroth-Order Optimizer",
        "arxiv": "2402.15173",
        "setup": (
            f"{FORWARDS} forwards each (hizoo asks 3 a step, the others 2); settings by grid on "
            f"{len(TUNED)} seeds ({len(LRS)} step sizes, eps {RADII[0]:g} or {RADII[1]:g}; 3 alpha for hizoo, 3 pairs of betas for zo_adam), medians over "
            f"{len(REPORTED)} others. The functions are as remembered from the paper, whose figure has no numbers."
        ),
        "rows": rows,
        "tables": {"Medians:": table},
        "curves": {
            "title": "Function (a) from (0.2, 0) to (1, 4), one run each", "x": "x", "y": "y",
            "series": [{"name": name, "points": np.round(p, 4).tolist()} for name, p in middle.items()],
        },
    }  # fmt: skip


def _count(forwards: float) -> str:
    return f"{forwards:,.0f}" if np.isfinite(forwards) else "never"


def _typical(paths: list[np.ndarray]) -> np.ndarray:
    """The run with the median end; at most 300 places of it."""
    f = FUNCTIONS["a"][3]
    ends = [float(f(p[-1:])[0]) for p in paths]
    p = paths[int(np.argsort(ends)[len(ends) // 2])]
    return p[:300]


if __name__ == "__main__":
    main()

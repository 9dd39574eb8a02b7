"""The error of a two-point estimate: d + 1 for normal directions, d - 1 for signs, more for low rank.

On a linear function f = <g, x> a two-point coefficient is <z, g>; with g_hat the mean of <z_i, g> z_i over n draws,

    n E |g_hat - g|^2 / |g|^2  =  d + 1 (normal),  d - 1 (signs),
                                  d - 1 + 2 (rows + cols + r + 1) / r (lozo: rank r, normal, one matrix)

Measured through the shelf itself: losses are asked, coefficients are read from the records, directions regenerated.
The first two are textbook facts (moments of order four); the third is derived in `directions/lowrank.py`.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch

from bench.papers.shown import finish, row
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.method import Method
from zoptim.methods import lozo, mezo
from zoptim.protocols import Mix
from zoptim.spaces.module import Module

ROWS, COLS, STEPS, SEED = 4, 3, 12_000, 5  # few numbers, so that d + 1 and d - 1 can be told apart
DIM = ROWS * COLS


def errors(method: Method, steps: int = STEPS) -> np.ndarray:
    """n |g_hat - g|^2 / |g|^2 of each step on <G, W>, (steps,)."""
    layer = torch.nn.Linear(COLS, ROWS, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
    space = Module(layer)
    g = torch.from_numpy(np.random.default_rng(SEED).standard_normal((ROWS, COLS))).float()
    run = Run(space, method, Journal.create(None, {"key": SEED}), horizon=steps)
    (slot,) = space.slots()

    def objective(view: Any) -> Any:
        w = layer(torch.eye(COLS).repeat(view.m, 1)).view(view.m, COLS, ROWS)  # the weights at each point
        return (w.double() * g.T.double()).sum((1, 2))

    found = np.empty(steps)
    estimate = torch.empty(1, ROWS, COLS)
    for k in range(steps):
        terms = run.step(objective).terms
        method.directions.form(estimate, slot, slice(0, ROWS), Mix.of(terms), None, run.state)
        found[k] = len(terms) * float(((estimate[0] - g) ** 2).sum() / (g**2).sum())
    return found


def measured(name: str, wanted: float, method: Method) -> dict[str, Any]:
    """Mean and its 99 % interval, beside the constant."""
    seen = errors(method)
    mean, error = float(seen.mean()), float(seen.std(ddof=1)) / math.sqrt(len(seen))
    return {"directions": name, "constant": wanted, "measured": mean, "low": mean - 2.576 * error,
            "high": mean + 2.576 * error}  # fmt: skip


def low_rank(r: int) -> float:
    return DIM - 1 + 2 * (ROWS + COLS + r + 1) / r


def main() -> None:
    start = time.perf_counter()
    still = {"lr": 1e-30, "eps": 1.0}  # the function is linear: any radius is exact, and nothing should move
    rows = [
        measured("normal", DIM + 1, mezo(**still)),
        measured("normal, 4 a step", DIM + 1, mezo(**still, n=4)),
        measured("signs", DIM - 1, mezo(**still, law="signs")),
        *(measured(f"lozo, rank {r}", low_rank(r), lozo(**still, rank=r, keep=1)) for r in (1, 2, 4)),
    ]
    finish("variance", shape(rows), start)


def shape(rows: list[dict[str, Any]]) -> dict[str, Any]:
    names = {"normal": "d + 1", "normal, 4 a step": "(d + 1) / n, n = 4", "signs": "d - 1"}
    return {
        "title": "The variance of two-point estimates", "paper": "Nesterov and Spokoiny; FZOO; LOZO",
        "arxiv": "2506.09034, 2410.07698",
        "setup": (
            f"A linear function of one {ROWS} x {COLS} matrix (d = {DIM}), {STEPS:,} steps of `mezo` and `lozo` "
            "each; n times the relative squared error, with a 99 % interval."
        ),
        "rows": [
            row(f"{r['directions']}: {names.get(r['directions'], 'd - 1 + 2 (rows + cols + r + 1) / r')}",
                f"{r['constant']:.0f}", f"{r['measured']:.2f} ({r['low']:.2f} to {r['high']:.2f})",
                r["low"] <= r["constant"] <= r["high"])
            for r in rows
        ],
    }  # fmt: skip


if __name__ == "__main__":
    main()

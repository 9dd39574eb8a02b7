"""FlatZero on over-parameterized convex classification, with exact Hessian traces: gradient descent, SAM, two points.

    features    standardize -> random N(0, 1) map to D = 10,000 -> standardize -> a column of ones in front
    svm         mean max(0, 1 - y phi'w)^2,        Tr H = (2/N) sum of |phi_i|^2 over the active ones
    logistic    mean log(1 + exp(-y phi'w)),       Tr H = mean p_i (1 - p_i) |phi_i|^2

The features are linear in some dozens of columns, so products with them are made in that order and cost little; the
weights that are trained are all D + 1.  The paper's sets (LIBSVM's a5a, w5a) are replaced by two that scikit-learn
ships: breast cancer, and digits as even or odd.  arXiv 2506.05454.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bench.papers.shown import finish, row
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.methods import mezo
from zoptim.spaces.flat import Flat

WIDE, STEPS, EVERY, SEED = 10_000, 10_000, 100, 29
SETTINGS = {"svm": (1e-4, 0.05), "logistic": (1e-2, 0.1)}  # lr, lambda: the paper's


@dataclass(frozen=True)
class Data:
    """phi = [1, x a]: x (N, d) standardized, a (d, D) the map with its columns' scales; y (N,) of -1, 1."""

    x: np.ndarray
    y: np.ndarray
    a: np.ndarray

    def times(self, w: np.ndarray) -> np.ndarray:
        """phi w of points w (m, D + 1): (m, N)."""
        return w[:, :1] + (w[:, 1:] @ self.a.T) @ self.x.T

    def back(self, r: np.ndarray) -> np.ndarray:
        """phi' r: (D + 1,)."""
        return np.concatenate([[r.sum()], (r @ self.x) @ self.a])

    @cached_property
    def norms(self) -> np.ndarray:
        """|phi_i|^2."""
        return 1.0 + (((self.x @ (self.a @ self.a.T)) * self.x).sum(1))


def loaded(name: str) -> tuple[Data, Data]:
    """Train and test, four to one; both in the training set's units."""
    from sklearn.datasets import load_breast_cancer, load_digits

    rng = np.random.default_rng(SEED)
    raw = load_breast_cancer() if name == "breast cancer" else load_digits()
    x, target = raw.data, raw.target
    y = np.where(target % 2 == 1, 1.0, -1.0)
    order = rng.permutation(len(x))
    train, test = order[: len(x) * 4 // 5], order[len(x) * 4 // 5 :]
    spread = x[train].std(0)
    kept = spread > 0
    x = (x[:, kept] - x[train][:, kept].mean(0)) / spread[kept]
    a = rng.standard_normal((x.shape[1], WIDE))
    a /= np.sqrt((a * (np.cov(x[train].T, bias=True) @ a)).sum(0))  # the mapped columns have variance 1
    return Data(x[train], y[train], a), Data(x[test], y[test], a)


class Problem:
    """A loss of margins s = y phi'w: its value, slope and second derivative in s."""

    def __init__(self, kind: str, data: Data) -> None:
        self.kind, self.data = kind, data

    def losses(self, w: np.ndarray) -> np.ndarray:
        s = self.data.times(w) * self.data.y
        return (np.maximum(0.0, 1.0 - s) ** 2 if self.kind == "svm" else np.logaddexp(0.0, -s)).mean(1)

    def gradient(self, w: np.ndarray) -> np.ndarray:
        s = self.data.times(w[None])[0] * self.data.y
        slope = -2 * np.maximum(0.0, 1.0 - s) if self.kind == "svm" else -_sigmoid(-s)
        return self.data.back(slope * self.data.y) / len(s)

    def trace(self, w: np.ndarray) -> float:
        s = self.data.times(w[None])[0] * self.data.y
        curve = 2.0 * (s < 1) if self.kind == "svm" else _sigmoid(s) * _sigmoid(-s)
        return float((curve * self.data.norms).mean())


def _sigmoid(s: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0.0, -s))


def descent(problem: Problem, lr: float, rho: float, w: np.ndarray) -> Callable[[], np.ndarray]:
    """Gradient descent; rho > 0: SAM, w <- w - lr grad(w + rho g / |g|)."""

    def step() -> np.ndarray:
        g = problem.gradient(w)
        if rho:
            g = problem.gradient(w + rho * g / np.linalg.norm(g))
        w[:] -= lr * g
        return w

    return step


def two_point(problem: Problem, lr: float, radius: float, w: np.ndarray) -> Callable[[], np.ndarray]:
    """`mezo`; radius 0: asked on the linear model where it stands, which is the exact derivative."""
    run = Run(Flat(w), mezo(lr=lr, eps=radius or 1.0), Journal.create(None, {"key": SEED}), horizon=STEPS)

    def step() -> np.ndarray:
        if radius:
            run.step(lambda v: problem.losses(v.x))
        else:
            g, here = problem.gradient(w), w.copy()
            run.step(lambda v: (v.x - here) @ g)
        return w

    return step


def trained(
    step: Callable[[], np.ndarray], w: np.ndarray, train: Problem, test: Problem
) -> list[dict[str, float]]:
    """What is seen on the way."""

    def seen(t: int) -> dict[str, float]:
        right = [float((p.data.times(w[None])[0] * p.data.y > 0).mean()) for p in (train, test)]
        return {"t": t, "loss": float(train.losses(w[None])[0]), "accuracy": right[0], "test accuracy": right[1],
                "trace": train.trace(w)}  # fmt: skip

    found = [seen(0)]
    for t in range(1, STEPS + 1):
        step()
        if t % EVERY == 0:
            found.append(seen(t))
    return found


def cell(name: str, kind: str) -> dict[str, list[dict[str, float]]]:
    """All four optimizers on one set and loss, from the same start."""
    train, test = (Problem(kind, data) for data in loaded(name))
    lr, radius = SETTINGS[kind]
    start = 0.1 * np.random.default_rng(SEED).standard_normal(WIDE + 1)
    made = {
        "gradient descent": lambda w: descent(train, lr, 0.0, w),
        "SAM": lambda w: descent(train, lr, radius, w),
        "two points": lambda w: two_point(train, lr, radius, w),
        "exact derivative": lambda w: two_point(train, lr, 0.0, w),
    }
    found = {}
    for title, make in made.items():
        w = start.copy()
        found[title] = trained(make(w), w, train, test)
    return found


def main() -> None:
    start = time.perf_counter()
    cells = {(name, kind): cell(name, kind) for name in ("breast cancer", "digits") for kind in SETTINGS}
    finish("flat_convex", shape(cells), start)


def at_loss(found: list[dict[str, float]], loss: float) -> dict[str, float]:
    """Where a run first was at most at this loss; its end if it never was."""
    return next((at for at in found if at["loss"] <= loss), found[-1])


def shape(cells: dict[tuple[str, str], dict[str, list[dict[str, float]]]]) -> dict[str, Any]:
    rows, table = [], []
    for (name, kind), runs in cells.items():
        gd, zo, exact = (runs[k][-1] for k in ("gradient descent", "two points", "exact derivative"))
        alike = at_loss(runs["gradient descent"], zo["loss"])
        rows += [
            row(f"{kind}, {name}: a lower trace than gradient descent's", "lower throughout",
                f"{zo['trace']:.3g} beside {gd['trace']:.3g}; {alike['trace']:.3g} where gradient descent had its loss",
                zo["trace"] < gd["trace"], zo["trace"] < alike["trace"]),
            row(f"{kind}, {name}: it is lambda that does it", "lambda to 0 has no effect",
                f"exact derivative, same draws: {exact['trace']:.3g}", zo["trace"] < exact["trace"]),
            row(f"{kind}, {name}: at equal loss and accuracy", "equal",
                f"loss {zo['loss']:.3g} beside {gd['loss']:.3g}; test accuracy {zo['test accuracy']:.3f} beside "
                f"{gd['test accuracy']:.3f}",
                zo["loss"] < 1.5 * gd["loss"], abs(zo["test accuracy"] - gd["test accuracy"]) < 0.02),
        ]  # fmt: skip
        table += [
            {"loss function": kind, "set": name, "optimizer": title, **at[-1]} for title, at in runs.items()
        ]
    shown = cells["digits", "svm"]
    return {
        "title": "FlatZero: over-parameterized convex classification",
        "paper": "Zeroth-Order Optimization Finds Flat Minima", "arxiv": "2506.05454",
        "setup": (
            f"D = {WIDE:,} random features of scikit-learn's breast cancer and digits (even or odd) in place of a5a and "
            f"w5a, a fifth held out; {STEPS:,} full-batch steps from 0.1 N(0, 1); svm: lr 1e-4, lambda 0.05; logistic: "
            "lr 0.01, lambda 0.1; SAM with rho = lambda. Traces are exact."
        ),
        "rows": rows,
        "tables": {"At the end:": table},
        "curves": {
            "title": "Squared hinge on digits", "x": "steps", "y": "trace of the Hessian", "log": True,
            "series": [{"name": k, "points": [[p["t"], p["trace"]] for p in v]} for k, v in shown.items()],
        },
    }  # fmt: skip


if __name__ == "__main__":
    main()

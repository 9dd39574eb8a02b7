"""Under a prox: ZPDVR reaches the answer of l1-ridge regression in 20 dimensions where plain differences stall."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoptim import noise
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.method import Method
from zoptim.methods.finite import zivr, zo_storm, zpdvr
from zoptim.noise import permutation
from zoptim.rules import Proximal
from zoptim.sets import L1
from zoptim.spaces.flat import Flat

KEY, N, D, BATCH = noise.key_from_seed(21), 40, 20, 4
SIZE, RIDGE, LR = 0.1, 0.1, 0.003
Z = noise.normals(KEY, 0, 0, noise.slot_id("l1"), 0, N * (D + 1), noise.INITIAL).astype(np.float64)
A, B = Z[: N * D].reshape(N, D), Z[N * D :]


def component(x: np.ndarray, which: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * (x @ A[which].T - B[which]) ** 2 + RIDGE / 2 * (x**2).sum(1, keepdims=True))


def objective(x: np.ndarray) -> float:
    return float(component(x[None], np.arange(N)).mean()) + SIZE * float(np.abs(x).sum())


def reached(method: Method, steps: int) -> float:
    run = Run(Flat(np.zeros(D)), method, Journal.create(None, {"key": KEY}), horizon=steps)
    for t in range(steps):
        few = permutation(KEY, t, N)[:BATCH]

        def asked(v: Any, few: np.ndarray = few) -> np.ndarray:
            items = v.items[0]
            which = [items.only] if items.only >= 0 else few if items.batches == 1 else np.arange(N)
            return component(v.x, np.asarray(which))

        run.step(asked)
    return objective(run.space.x)


def test_zpdvr_and_zivr_go_on_where_plain_differences_stall() -> None:
    x = np.zeros(D)  # the answer, by proximal gradient descent with exact gradients
    for _ in range(20_000):
        x = x - 0.1 * (A.T @ (A @ x - B) / N + RIDGE * x)
        x = np.sign(x) * np.maximum(np.abs(x) - 0.1 * SIZE, 0.0)
    best, rule = objective(x), Proximal(L1(SIZE))
    assert (x == 0).any() and (x != 0).any()
    ours = reached(zpdvr(LR, 1e-7, p=0.1, rule=rule), 12_000) - best
    naive = reached(zo_storm(LR, 1e-7, n=1, a=1.0, rule=rule), 4_000) - best
    table = reached(zivr(LR / 2, 1e-7, d=D, components=N, rule=rule), 40_000) - best
    assert max(ours, table) < 1e-10 < 1e-4 < naive

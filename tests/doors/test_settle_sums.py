"""A step size for methods that hold an estimate of a sum: what their corrections bear, measured, not what a first step does."""

from __future__ import annotations

import numpy as np
import pytest

from zoptim import minimize, sets
from zoptim.doors.held import bears

L1, RIDGE = 0.01, 0.01


class Problem:
    """l1-logistic regression or least squares, rows of unequal numbers; gaps are in units of that at the start."""

    def __init__(self, kind, d, n, batch, sweeps):
        self.kind, self.d, self.n, self.batch, self.budget = kind, d, n, batch, sweeps * n * (d + 1)
        rng = np.random.default_rng(3)
        self.a = rng.normal(size=(n, d)) * np.logspace(0.0, -0.5, d)
        self.b = self.a @ rng.normal(size=d) + 0.3 * rng.normal(size=n)
        self.penalty = sets.L1(L1) if kind == "l1-logistic" else None
        if kind == "l1-logistic":
            self.a *= np.sign(self.b)[:, None]
        self.best, self.first = self(self.solved()), self(np.zeros(d))

    def fun(self, x, i):
        """Means over components i at points (m, d)."""
        at = x @ self.a[i].T
        each = np.logaddexp(0.0, -at) if self.penalty else 0.5 * (at - self.b[i]) ** 2
        return each.mean(axis=1) + RIDGE / 2 * (x**2).sum(axis=1)

    def __call__(self, x):
        return float(self.fun(x[None], np.arange(self.n))[0]) + (
            L1 * np.abs(x).sum() if self.penalty else 0.0
        )

    def solved(self):
        """By proximal gradients."""
        if not self.penalty:
            return np.linalg.solve(
                self.a.T @ self.a / self.n + RIDGE * np.eye(self.d), self.a.T @ self.b / self.n
            )
        x, step = np.zeros(self.d), 1.0 / (np.linalg.norm(self.a, 2) ** 2 / self.n / 4 + RIDGE)
        for _ in range(3000):
            x = x - step * (RIDGE * x - self.a.T @ (1.0 / (1.0 + np.exp(self.a @ x))) / self.n)
            x = np.sign(x) * np.maximum(np.abs(x) - step * L1, 0.0)
        return x

    def gap(self, method, settings, seed=0):
        """(lr, what is left of the gap)."""
        found = minimize(
            self.fun, np.zeros(self.d), method=method, n=self.n, batch=1 if method == "zivr" else self.batch, budget=self.budget, vectorized=True,
            penalty=self.penalty, settings=settings, seed=seed,
        )  # fmt: skip
        left = (self(found.x) - self.best) / (self.first - self.best)
        return found.journal.header["method"]["arguments"]["lr"], left


PROBLEMS = {
    "least squares, d = 5": ("least squares", 5, 100, 16, 25),
    "least squares, d = 30": ("least squares", 30, 60, 4, 12),
    "l1-logistic, d = 8, single components": ("l1-logistic", 8, 60, 1, 25),
    "l1-logistic, d = 30": ("l1-logistic", 30, 60, 8, 12),
}
METHODS = {
    "zo_page": {"n": 4}, "zpdvr": {"p": 0.1}, "zo_svrg": {"n": 4}, "zo_svrg_coord": {}, "zo_svrg_coord_rand": {"n": 2, "period": 30},
    "vr_szd": {"n": 2}, "zo_spider_coord": {}, "mezo_svrg": {}, "zivr": {},
}  # fmt: skip


@pytest.fixture(scope="module")
def problems():
    return {name: Problem(*given) for name, given in PROBLEMS.items()}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_lr_found_is_near_the_best_of_a_grid(problems, name, method):
    """What is left of the gap is at most three times that of the best lr within a factor of 10, and 5 % of the start's."""
    problem, settings = problems[name], METHODS[method]
    lr, left = problem.gap(method, settings)
    grid = [problem.gap(method, {**settings, "lr": lr * f})[1] for f in (0.1, 0.32, 3.2, 10.0)]
    best = np.nanmin([left, *grid])
    print(
        f"{name} {method}: lr {lr:.3g}, left {left:.2g}, best {best:.2g}, grid", *(f"{g:.2g}" for g in grid)
    )
    assert left < 1.0 and left <= 3.0 * best + 0.05


@pytest.mark.parametrize(
    ("n", "steps", "noisy"), [(1, 1, True), (2, 12, True), (2, 12, False), (4, 60, False), (1, 200, True)]
)
def test_the_step_leaves_least_of_the_gradient_in_a_bowl(n, steps, noisy):
    """The moments of `bears` against the estimators themselves: v along n normals, or exact, held for T steps."""
    d, h, repeats = 10, 3.0, 4000
    rng, g = np.random.default_rng(5), np.ones(d)

    def left(lr):
        def drawn(v):
            z = rng.normal(size=(repeats, n, d))
            return np.einsum("rnd,rn->rd", z, np.einsum("rnd,rd->rn", z, v)) / n

        v = drawn(np.tile(g, (repeats, 1))) if noisy else np.tile(g, (repeats, 1))
        y = np.zeros((repeats, d))
        for _ in range(steps):
            y = y - lr * (v + drawn(h * y))
        return ((g + h * y) ** 2).sum(axis=1).mean() / d

    lr = bears((d + n + 1) / n, (d + 1) / n if noisy else 0.0, steps) / h
    here = left(lr)
    assert here < 1.0
    assert here < left(lr / 3.0) and here < left(3.0 * lr)

"""Test functions with known minima, vectorised: points (m, d) in, values (m,) or (m, items) out.

All are computed in float64 whatever the points' dtype, row by row in the same order, so a row's value does
not depend on how many rows were asked with it (the matrix products of `logistic` and `finite_sum` apart,
where that holds to rounding).  Not a benchmark: regret curves belong in bench/.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from .. import noise
from ..objective import reduced

Function: TypeAlias = Callable[[np.ndarray], np.ndarray]  # (m, d) -> (m,) or (m, items)

KEY = noise.key_from_seed(2024)  # of synthetic data, never of a run


@dataclass(frozen=True)
class Problem:
    """A function, where to start and what is known about its minimum.

    Attributes:
        f: (m, d) -> (m,), or (m, items) for finite sums (their mean is minimized).
        x0: (d,) float64.
        minimum: the least value of f (of its mean over items).
        argmin: (d,) a minimizer.
    """

    name: str
    f: Function
    x0: np.ndarray
    minimum: float
    argmin: np.ndarray

    def value(self, x: np.ndarray) -> float:
        """f at one point (d,), averaged over items."""
        return float(np.mean(self.f(x[None])))


def objective(f: Function) -> Callable[[Any], np.ndarray]:
    """A function of points as what the engine asks: flat view -> losses, and slopes of smooth ones."""

    def ask(view: Any) -> Any:
        return f(view.x)

    ask.slopes = lambda view: slopes(f, view.x, view.z)  # type: ignore[attr-defined]
    return ask


def slopes(f: Function, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Derivatives of a smooth f along z at x, (m, d) both: central differences of order eight, to about 1e-12."""
    x, z = np.asarray(x, np.float64), np.asarray(z, np.float64)
    total, h = np.zeros(len(x)), 0.02
    for k, weight in ((1, 4 / 5), (2, -1 / 5), (3, 4 / 105), (4, -1 / 280)):
        up, down = (reduced(f(x + s * k * h * z), len(x))[0] for s in (1.0, -1.0))
        total += weight * (up - down) / h
    return total


def quadratic(d: int = 10, condition: float = 1.0) -> Problem:
    """f(x) = 1/2 sum_i h_i (x_i - a_i)^2, h from 1 down to 1/condition in equal ratios.

    Example:
        >>> p = quadratic(3)
        >>> p.value(p.argmin), p.value(p.x0) > 0
        (0.0, True)
    """
    h = np.geomspace(1.0, 1.0 / condition, d)
    a = _normals("quadratic", d)

    def f(x: np.ndarray) -> np.ndarray:
        return np.asarray(0.5 * (h * (np.asarray(x, np.float64) - a) ** 2).sum(axis=1))

    return Problem(f"quadratic, condition {condition:g}", f, np.zeros(d), 0.0, a)


def rosenbrock(d: int = 2) -> Problem:
    """f(x) = sum_i 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2: a curved valley, minimum 0 at ones.

    Example:
        >>> rosenbrock().value(np.ones(2))
        0.0
    """

    def f(x: np.ndarray) -> np.ndarray:
        x = np.asarray(x, np.float64)
        return np.asarray((100.0 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1.0 - x[:, :-1]) ** 2).sum(axis=1))

    start = np.full(d, 1.0)
    start[::2] = -1.2
    return Problem("rosenbrock", f, start, 0.0, np.ones(d))


def rastrigin(d: int = 2) -> Problem:
    """f(x) = 10 d + sum_i x_i^2 - 10 cos(2 pi x_i): a grid of local minima, the least 0 at 0.

    Example:
        >>> rastrigin().value(np.zeros(2))
        0.0
    """

    def f(x: np.ndarray) -> np.ndarray:
        x = np.asarray(x, np.float64)
        return np.asarray((10.0 + x**2 - 10.0 * np.cos(2.0 * np.pi * x)).sum(axis=1))

    return Problem("rastrigin", f, np.full(d, 0.3), 0.0, np.zeros(d))


def logistic(d: int = 8, n: int = 60, ridge: float = 0.1) -> Problem:
    """Per-item logistic losses log(1 + exp(-y a.x)) + ridge/2 |x|^2 on made-up data; minimum by Newton.

    Example:
        >>> p = logistic()
        >>> p.f(np.zeros((3, 8))).shape
        (3, 60)
    """
    a = _normals("logistic", n * d).reshape(n, d)
    y = np.where(a @ _normals("logistic truth", d) + _normals("logistic noise", n) > 0, 1.0, -1.0)
    ya = y[:, None] * a

    def f(x: np.ndarray) -> np.ndarray:
        x = np.asarray(x, np.float64)
        return np.asarray(np.logaddexp(0.0, -x @ ya.T) + 0.5 * ridge * (x**2).sum(axis=1, keepdims=True))

    w = np.zeros(d)
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(ya @ w))
        hessian = (ya * (p * (1 - p))[:, None]).T @ ya / n + ridge * np.eye(d)
        w = w + np.linalg.solve(hessian, ya.T @ p / n - ridge * w)
    return Problem("logistic", f, np.zeros(d), float(f(w[None]).mean()), w)


def finite_sum(d: int = 6, n: int = 20) -> Problem:
    """Per-item squares f_i(x) = 1/2 (a_i.x - b_i)^2: least squares whose items disagree at the minimum.

    Example:
        >>> p = finite_sum()
        >>> p.minimum > 0
        True
    """
    a = _normals("sum", n * d).reshape(n, d)
    b = a @ _normals("sum truth", d) + 0.3 * _normals("sum noise", n)
    x_min = np.linalg.lstsq(a, b, rcond=None)[0]

    def f(x: np.ndarray) -> np.ndarray:
        return np.asarray(0.5 * (np.asarray(x, np.float64) @ a.T - b) ** 2)

    return Problem("finite sum", f, np.zeros(d), float(f(x_min[None]).mean()), x_min)


def noisy(f: Function, sigma: float, seed: int = 0) -> Function:
    """f plus sigma * normal noise, fresh for every value asked: the k-th call's noise depends on (seed, k) only.

    It has a memory (the number of calls), so a resumed run sees other noise; records hold what was seen.

    Example:
        >>> g = noisy(lambda x: x.sum(axis=1), 0.1)
        >>> bool((g(np.zeros((2, 3))) != g(np.zeros((2, 3)))).all())
        True
    """
    key, calls = noise.key_from_seed(seed), 0

    def g(x: np.ndarray) -> np.ndarray:
        nonlocal calls
        values = f(x)
        z = noise.normals(key, calls, 0, noise.slot_id("noisy"), 0, values.size, noise.INITIAL)
        calls += 1
        return values + sigma * z.astype(np.float64).reshape(values.shape)

    return g


def _normals(what: str, n: int) -> np.ndarray:
    return noise.normals(KEY, 0, 0, noise.slot_id(what), 0, n, noise.INITIAL).astype(np.float64)

"""The lp ball, 1 < p < infinity: the projection by a one-dimensional root over coordinates solved each by itself.

    project  z_i + (mu/v_i) z_i^{p-1} = |y_i|/r for every i, and mu such that |z|_p = 1;
    lmo      s_i = -r sign(g_i) |g_i|^{q-1} / |g|_q^{q-1},      1/p + 1/q = 1

Not here: p = 1 (`L1Ball`, by sorting), p = infinity (`linf_ball`), p < 1 (not convex).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..protocols import Array
from .balls import Ball
from .shape import number, put
from .solve import EPS, falling_root


@dataclass(frozen=True, eq=False)
class LpBall(Ball):
    """{x : |x - center|_p <= radius}.

    Args:
        radius, center: as of any ball.
        p: above 1, finite.

    Cost: two sweeps to minimize; to project about 20 roots of about 5 sweeps each.

    Example:
        >>> LpBall(1.0, p=4).project([2.0, 2.0]).round(4)
        array([0.8409, 0.8409])
    """

    p: float = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.p in (1, np.inf):
            raise ValueError(f"p={self.p}: use {'L1Ball' if self.p == 1 else 'linf_ball'}")
        put(self, p=number("p", self.p, above=1.0))

    def norm(self, y: np.ndarray) -> float:
        return _norm(y, self.p)

    def diameter(self, d: int) -> float:
        return 2.0 * self.radius * max(1.0, self._wide(d))

    def inradius(self, d: int) -> float:
        return self.radius * min(1.0, self._wide(d))

    def _wide(self, d: int) -> float:
        """|x|_2 of the x of equal numbers with |x|_p = 1."""
        return float(d ** (0.5 - 1.0 / self.p))

    def _shorten(self, y: np.ndarray, metric: np.ndarray | None) -> Array:
        a, k = np.abs(y) / self.radius, self.p - 1.0
        v = np.ones_like(a) if metric is None else metric / metric.max()
        high = _norm(a * v, self.p / k)  # there |z|_p <= 1, by z_i <= (a_i v_i/mu)^{1/k}
        mu = falling_root(lambda mu: _norm(_solved(a, mu / v, k), self.p) - 1.0, 0.0, high)
        z = _solved(a, mu / v, k)
        z *= self.radius / max(1.0, _norm(z, self.p))
        return np.copysign(z, y)

    def _against(self, g: np.ndarray) -> Array:
        largest = np.abs(g).max()
        if not largest > 0.0:
            return np.zeros_like(g)
        power = 1.0 / (self.p - 1.0)  # q - 1
        s = (np.abs(g) / largest) ** power
        return -np.copysign(s / _norm(s, self.p), g)


def _norm(y: np.ndarray, p: float) -> float:
    """|y|_p, without overflow."""
    largest = float(np.abs(y).max())
    if not 0.0 < largest < np.inf:
        return largest
    return largest * float(np.sum((np.abs(y) / largest) ** p) ** (1.0 / p))


def _solved(a: np.ndarray, c: np.ndarray, k: float) -> np.ndarray:
    """z >= 0 with z + c z^k = a, coordinate by coordinate; a >= 0, c >= 0, k > 0.

    Newton from above on a convex function, which falls to the root and stops there: of z where k >= 1, else of
    w = z^k, in which w^{1/k} + c w = a is convex.
    """
    z = np.zeros_like(a)
    some = (a > 0.0) & (c > 0.0)
    z[c == 0.0] = a[c == 0.0]
    a, c = a[some], c[some]
    e = max(k, 1.0 / k)  # the greater exponent: x^e, and x to the first
    first, power = (1.0, c) if k >= 1.0 else (c, np.ones_like(c))  # first * x + power * x^e = a
    with np.errstate(over="ignore"):  # one of the two bounds may be out of reach
        x = np.minimum(a / first, (a / power) ** (1.0 / e))
    for _ in range(100):
        raised = power * x ** (e - 1.0)
        step = (first * x + raised * x - a) / (first + e * raised)
        x -= step
        if not (step > 4.0 * EPS * x).any():
            break
    z[some] = np.maximum(x, 0.0) ** (1.0 if k >= 1.0 else e)
    return z

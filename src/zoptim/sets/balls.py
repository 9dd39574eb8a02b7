"""Balls of norms about a centre: l2, l1, lp, with exact projections.

    l2:  project  y min(1, r/|y|);          metric v: z = v y/(v + lambda), |z| = r by Newton;      lmo  -r g/|g|
    l1:  project  sign(y) max(|y| - lambda/v, 0), lambda by sorting (Duchi et al. 2008);   lmo  -r sign(g_i) e_i, i = argmax |g|

with y = x - centre.  The lp ball is in `lp`, the l-infinity ball is a box (`linf_ball`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..protocols import Array
from .shape import Set, number, put, replace, vector
from .solve import EPS, length, shrunk_by, threshold


@dataclass(frozen=True, eq=False)
class Ball(Set):
    """What balls share: {x : norm(x - center) <= radius}.

    Args:
        radius: positive.
        center: a number or a vector (d,).

    Raises:
        ValueError: a radius that is not positive.
    """

    radius: float
    center: Any = 0.0

    def __post_init__(self) -> None:
        put(self, radius=number("radius", self.radius), center=vector("center", self.center))

    def norm(self, y: np.ndarray) -> float:
        raise NotImplementedError

    def _shorten(self, y: np.ndarray, metric: np.ndarray | None) -> Array:
        """The projection of a y outside onto the ball about 0."""
        raise NotImplementedError

    def _against(self, g: np.ndarray) -> Array:
        """The linear minimum over the unit ball about 0."""
        raise NotImplementedError

    @property
    def size(self) -> int | None:
        return self.center.size if self.center.ndim else None

    def _excess(self, x: np.ndarray) -> float:
        return self.norm(x - self.center) / self.radius - 1.0

    def scaled(self, factor: float) -> Ball:
        return replace(self, radius=self.radius * factor)

    def _project(self, x: np.ndarray, metric: np.ndarray | None) -> Array:
        y = x - self.center
        if self.norm(y) <= self.radius:
            return x
        return self._shorten(y, metric) + self.center

    def _lmo(self, g: np.ndarray) -> Array:
        return self.radius * self._against(g) + self.center


@dataclass(frozen=True, eq=False)
class L2Ball(Ball):
    """{x : |x - center|_2 <= radius}.

    Cost: two sweeps; with a metric, two a Newton step (about 10).

    Example:
        >>> L2Ball(5.0).project([6.0, 8.0])
        array([3., 4.])
    """

    def norm(self, y: np.ndarray) -> float:
        return length(y)

    def diameter(self, d: int) -> float:
        return 2.0 * self.radius

    def inradius(self, d: int) -> float:
        return self.radius

    def _shorten(self, y: np.ndarray, metric: np.ndarray | None) -> Array:
        if metric is None:
            return y * (self.radius / self.norm(y))
        v = metric / metric.max()
        vy, lam = v * y, 0.0
        for _ in range(
            100
        ):  # 1/|z| is concave in lambda: Newton's steps grow from the left and never pass the root
            z = vy / (v + lam)
            size = length(z)
            slope = float(np.sum(z * z / (v + lam))) / size**3  # of 1/|z|
            step = (1.0 / self.radius - 1.0 / size) / slope
            if step <= 4.0 * EPS * lam:
                break
            lam += step
        return z * min(1.0, self.radius / size)

    def _against(self, g: np.ndarray) -> Array:
        largest = np.abs(g).max()
        if not largest > 0.0:
            return np.zeros_like(g)
        unit = g / largest  # squares neither overflow nor vanish
        return -unit / length(unit)


@dataclass(frozen=True, eq=False)
class L1Ball(Ball):
    """{x : sum_i |x_i - center_i| <= radius}.

    Cost: a sort to project, one sweep to minimize.

    Example:
        >>> L1Ball(1.0).project([2.0, -1.5])
        array([ 0.75, -0.25])
    """

    def norm(self, y: np.ndarray) -> float:
        return float(np.abs(y).sum())

    def diameter(self, d: int) -> float:
        return 2.0 * self.radius

    def inradius(self, d: int) -> float:
        return self.radius / float(np.sqrt(d))

    def _shorten(self, y: np.ndarray, metric: np.ndarray | None) -> Array:
        w = None if metric is None else metric.max() / metric
        lam = threshold(np.abs(y), w, self.radius)
        return shrunk_by(y, lam if w is None else lam * w)

    def _against(self, g: np.ndarray) -> Array:
        s = np.zeros_like(g)
        i = int(np.argmax(np.abs(g)))
        s[i] = -np.copysign(1.0, g[i])
        return s

"""Boxes: bounds on every coordinate, some of them perhaps infinite; the l-infinity ball is one, and so is its part in a box.

project: clip (in any diagonal metric);   lmo: low where g > 0, else high.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..protocols import Array
from .shape import Set, number, put, replace, vector


@dataclass(frozen=True, eq=False)
class Box(Set):
    """{x : low <= x <= high}, coordinate by coordinate.

    Args:
        low, high: numbers or vectors (d,); infinite where there is no bound.

    Raises:
        ValueError: a lower bound above its upper one, or vectors of two sizes.

    Cost: one sweep.

    Example:
        >>> Box(0.0, [1.0, 2.0]).project([3.0, -1.0])
        array([1., 0.])
    """

    low: Any
    high: Any

    def __post_init__(self) -> None:
        low, high = vector("low", self.low, infinite=True), vector("high", self.high, infinite=True)
        if low.ndim and high.ndim and low.size != high.size:
            raise ValueError(f"low has {low.size} numbers, high {high.size}: give one pair a coordinate")
        wrong = np.flatnonzero((low > high) | (low == np.inf) | (high == -np.inf))
        if wrong.size:
            i = int(wrong[0])
            pairs = np.broadcast_arrays(np.atleast_1d(low), np.atleast_1d(high))
            a, b = (float(bound[i]) for bound in pairs)
            raise ValueError(
                f"low={a:g} and high={b:g} in coordinate {i} leave nothing between: give (low, high)"
            )
        put(self, low=low, high=high)

    @property
    def size(self) -> int | None:
        sizes = [bound.size for bound in (self.low, self.high) if bound.ndim]
        return sizes[0] if sizes else None

    @property
    def bounded(self) -> bool:
        return bool(np.isfinite(self.low).all() and np.isfinite(self.high).all())

    @cached_property
    def offers(self) -> frozenset[str]:
        return super().offers - (frozenset() if self.bounded else {"lmo", "shrunk"})

    def diameter(self, d: int) -> float:
        return float(np.linalg.norm(np.broadcast_to(self.high - self.low, d)))

    def inradius(self, d: int) -> float:
        return float(0.5 * (self.high - self.low).min())

    def _excess(self, x: np.ndarray) -> float:
        under = (self.low - x) / np.maximum(1.0, np.abs(np.where(self.low > -np.inf, self.low, 1.0)))
        over = (x - self.high) / np.maximum(1.0, np.abs(np.where(self.high < np.inf, self.high, 1.0)))
        return float(max(under.max(), over.max()))

    def scaled(self, factor: float) -> Box:
        middle, half = 0.5 * (self.low + self.high), 0.5 * factor * (self.high - self.low)
        return replace(self, low=middle - half, high=middle + half)

    def inner(self, distance: float, d: int) -> Box:
        """The points `distance` away from every bound."""
        room = self.inradius(d)
        if not 0.0 <= distance < room:
            raise ValueError(self._crowded(distance, room))
        return replace(self, low=self.low + distance, high=self.high - distance)

    def within(self, other: Box) -> Box:
        """The part of this box inside another, exact.

        Raises:
            ValueError: they do not meet.
        """
        return Box(np.maximum(self.low, other.low), np.minimum(self.high, other.high))

    def _project(self, x: np.ndarray, metric: np.ndarray | None) -> Array:
        return np.clip(x, self.low, self.high)

    def _lmo(self, g: np.ndarray) -> Array:
        return np.where(g > 0.0, self.low, self.high)


def linf_ball(radius: float, center: Any = 0.0) -> Box:
    """{x : |x_i - center_i| <= radius}, as a box; for its part in bounds, `linf_ball(...).within(box)`.

    Example:
        >>> linf_ball(0.5).within(Box(0.0, 1.0)).project([-0.2, 0.9])
        array([0. , 0.5])
    """
    r, c = number("radius", radius), vector("center", center)
    return Box(c - r, c + r)

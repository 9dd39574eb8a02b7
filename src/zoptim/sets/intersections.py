"""Parts that sets have in common: a ball in a box (attacks on images), and any sets that project.

    ball in box:  z(lambda) = clip(shortened(y, lambda)), |z(lambda)| = r by one root;   lmo: clip(-g/lambda) likewise,
                  for l1 by filling the largest |g| first
    any sets:     Dykstra's projections with corrections (Boyle & Dykstra 1986), which are block steps on the dual, here
                  with Nesterov's momentum and restarts: from far away plain Dykstra needs as many rounds as sizes of
                  the set lie between

Two boxes, so also an l-infinity ball in a box, are a box: `Box.within`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np

from ..protocols import Array
from .balls import L1Ball, L2Ball
from .box import Box
from .shape import Set, put
from .solve import falling_root, shrunk_by


@dataclass(frozen=True, eq=False)
class BallInBox(Set):
    """The part of an l2 or l1 ball in a box.

    Args:
        ball: an L2Ball or L1Ball.
        box: a Box.

    Raises:
        ValueError: another ball; they do not meet; vectors of two sizes.

    Cost: about 15 sweeps, to project and to minimize; l1 a sort to minimize.

    Example:
        >>> BallInBox(L2Ball(1.0), Box(0.0, 0.7)).project([2.0, 0.5, -1.0]).round(4)
        array([0.7, 0.5, 0. ])
    """

    ball: L2Ball | L1Ball
    box: Box
    _low: np.ndarray = field(init=False, repr=False)  # about the ball's centre
    _high: np.ndarray = field(init=False, repr=False)
    refuses: ClassVar[dict[str, str]] = {"shrunk": "ball and box need not have a centre in common"}

    def __post_init__(self) -> None:
        if not isinstance(self.ball, L2Ball | L1Ball):
            raise ValueError(
                f"ball={self.ball!r}: an L2Ball or L1Ball; two boxes meet by Box.within, others by Intersection"
            )
        center, low, high = _beside(self.ball.center, self.box.low, self.box.high)
        put(self, _low=low - center, _high=high - center)
        gap = self.ball.norm(self._clip(np.zeros_like(self._low)))
        if gap > self.ball.radius:
            raise ValueError(
                f"ball and box do not meet: the box is {gap:.6g} from the ball's centre, radius={self.ball.radius:g}"
            )

    @property
    def size(self) -> int | None:
        return self.ball.size if self.box.size is None else self.box.size

    def diameter(self, d: int) -> float:
        """An upper bound: of the two, the smaller."""
        return min(self.ball.diameter(d), self.box.diameter(d))

    def inner(self, distance: float, d: int) -> BallInBox:
        """The smaller ball in the smaller box."""
        return BallInBox(self.ball.inner(distance, d), self.box.inner(distance, d))

    def inradius(self, d: int) -> float:
        """About the ball's centre: 0 where that is not inside the box, whatever room there is elsewhere."""
        room = min(float((-self._low).min()), float(self._high.min()))
        return max(0.0, min(self.ball.inradius(d), room))

    def _excess(self, x: np.ndarray) -> float:
        return max(self.ball._excess(x), self.box._excess(x))

    def _clip(self, y: np.ndarray) -> Array:
        return np.clip(y, self._low, self._high)

    def _project(self, x: np.ndarray, metric: np.ndarray | None) -> Array:
        y = x - self.ball.center
        if self.ball.norm(self._clip(y)) <= self.ball.radius:
            return self._clip(y) + self.ball.center
        w = np.ones(1) if metric is None else metric.max() / metric
        if isinstance(self.ball, L2Ball):
            return self._least(lambda lam: y / (1.0 + lam * w), self.ball.norm(y / w) / self.ball.radius)
        return self._least(lambda lam: shrunk_by(y, lam * w), float((np.abs(y) / w).max()))

    def _lmo(self, g: np.ndarray) -> Array:
        largest = np.abs(g).max()
        if isinstance(self.ball, L1Ball):
            return self._fill(g)
        unit = g / largest if largest > 0.0 else g
        corner = np.where(unit == 0.0, 0.0, np.where(unit > 0.0, -np.inf, np.inf))
        if self.ball.norm(self._clip(corner)) <= self.ball.radius:
            return self._clip(corner) + self.ball.center

        def against(lam: float) -> np.ndarray:
            return -unit / lam if lam > 0.0 else corner

        return self._least(against, self.ball.norm(unit) / self.ball.radius)

    def _least(self, path: Callable[[float], np.ndarray], high: float) -> Array:
        """path at the least lambda where, clipped to the box, it is in the ball; its numbers fall in size with lambda."""
        radius = self.ball.radius

        def over(lam: float) -> float:
            return min(self.ball.norm(self._clip(path(lam))), 1e300) - radius

        for _ in range(200):  # `high` is enough where the ball's centre is in the box
            if over(high) <= 0.0:
                break
            high *= 8.0
        return self._clip(path(falling_root(over, 0.0, high))) + self.ball.center

    def _fill(self, g: np.ndarray) -> Array:
        """l1: from the point nearest to the centre, spend what is left of the radius where |g| is largest."""
        z = self._clip(np.zeros_like(g))
        low, high = (np.broadcast_to(b, g.shape) for b in (self._low, self._high))
        order = np.argsort(-np.abs(g), kind="stable")
        room = np.where(g > 0.0, z - low, np.where(g < 0.0, high - z, 0.0))[order]
        left = self.ball.radius - self.ball.norm(z)
        spent = np.minimum(room, np.maximum(0.0, left - (np.cumsum(room) - room)))
        z[order] -= np.copysign(spent, g[order])
        return z + self.ball.center


@dataclass(frozen=True, eq=False)
class Intersection(Set):
    """What several sets have in common, by Dykstra's algorithm with momentum.

    Args:
        sets: each with a projection.
        cycles: at most so many rounds over all sets.
        tolerance: ends when a round changes the corrections by less, relative to the size of the numbers.

    Raises:
        ValueError: fewer than two sets, one without a projection, sizes that differ; when it projects: the sets do not
            meet, or cycles do not suffice.

    Cost: a projection onto each set a round; some 20 rounds from nearby, hundreds from far away.

    Example:
        >>> Intersection((Box(0.0, 1.0), L2Ball(1.0))).project([3.0, -1.0]).round(6)
        array([1., 0.])
    """

    sets: Sequence[Set]
    cycles: int = 20_000
    tolerance: float = 1e-13
    refuses: ClassVar[dict[str, str]] = {
        "lmo": "a linear minimum of each is none of their common part",
        "metric": "in wide metrics its rounds do not end in time",
        "shrunk": "the sets need not have a centre in common",
    }

    def __post_init__(self) -> None:
        put(self, sets=tuple(self.sets))
        if len(self.sets) < 2:
            raise ValueError("sets: give two or more")
        for one in self.sets:
            one.require("project")
        if len({one.size for one in self.sets} - {None}) > 1:
            raise ValueError(f"sets have points of {', '.join(str(one.size) for one in self.sets)} numbers")

    @property
    def size(self) -> int | None:
        return next((one.size for one in self.sets if one.size is not None), None)

    @cached_property
    def offers(self) -> frozenset[str]:
        return super().offers.intersection(*(one.offers | {"lmo", "metric", "shrunk"} for one in self.sets))

    def diameter(self, d: int) -> float:
        """An upper bound: the smallest of all."""
        return min(one.diameter(d) for one in self.sets)

    def inner(self, distance: float, d: int) -> Intersection:
        """What their inner sets have in common; whether that is empty shows when it projects."""
        self.require("inner")
        return Intersection(tuple(one.inner(distance, d) for one in self.sets), self.cycles, self.tolerance)

    def _excess(self, x: np.ndarray) -> float:
        return max(one._excess(x) for one in self.sets)

    def _project(self, x: np.ndarray, metric: np.ndarray | None) -> Array:
        first, others = self.sets[0], self.sets[1:]
        share, settled = 1.0 / len(others), self.tolerance * max(1.0, float(np.abs(x).max()))
        y = np.zeros(
            (len(others), x.size)
        )  # what each of the others has taken off x; the first's part is exact
        ahead, k = y, 0  # y, with momentum
        for _ in range(self.cycles):
            z = first._project(x - ahead.sum(axis=0), None)
            asked = ahead / share + z
            moved = share * (
                asked - np.stack([one._project(a, None) for one, a in zip(others, asked, strict=True)])
            )
            if np.abs(moved - ahead).max() <= settled:
                break
            if np.sum((ahead - moved) * (moved - y)) > 0.0:
                k = 0  # momentum points uphill: start it anew
            k += 1
            y, ahead = moved, moved + (k - 1) / (k + 2) * (moved - y)
        if self._excess(z) > 1e-7:
            raise ValueError(
                f"sets: no common point after {self.cycles} rounds of projections ({self._excess(z):.2g} outside): "
                "they do not meet, or need more cycles"
            )
        return z


def _beside(*arrays: np.ndarray) -> list[np.ndarray]:
    sizes = {array.size for array in arrays if array.ndim}
    if len(sizes) > 1:
        raise ValueError(f"ball and box have vectors of {' and '.join(map(str, sorted(sizes)))} numbers")
    return [np.asarray(array) for array in arrays]

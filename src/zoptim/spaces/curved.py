"""A plain numpy vector that lives on a manifold: visits leave along tangent vectors and come back by the retraction.

    a point is  Retr_x(sum of scale * z),  z tangent at x  (`directions.Tangent`);   apply: `rules.Retracted`

A manifold is anything with `project(x, v)` and `retract(x, v)` on arrays (..., d): see `zoptim.manifolds`.  Not here:
which ones there are, nor how a step is made tangent.

Paper: ZO Riemannian optimization, arXiv 2003.11238.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..protocols import Directions, Manifold, Mix, Point, State
from .flat import Flat


class Curved(Flat):
    """One slot named "x", on a manifold.

    Args:
        x: (d,) float64, on the manifold; trained in place.
        manifold: where it lives.

    Raises:
        ValueError: x is not on the manifold.
    """

    def __init__(self, x: np.ndarray, manifold: Manifold) -> None:
        super().__init__(x)
        self.manifold = manifold
        away = float(np.abs(manifold.retract(x, np.zeros_like(x)) - x).max())
        if not away <= 1e-6 * max(1.0, float(np.abs(x).max())):
            raise ValueError(
                f"x0 is {away:.2g} away from the manifold {manifold}; start from a point on it, such as "
                "manifold.retract(x0, 0 * x0)"
            )

    def points(self, points: Sequence[Point], directions: Directions, state: State) -> np.ndarray:
        v = np.empty((len(points), self.x.size, 1), dtype=self.x.dtype)
        mix = Mix.of(*(point.terms for point in points))
        directions.form(v, self.slot, slice(0, self.x.size), mix, None, state, at=self.x[:, None])
        there = self.manifold.retract(self.x, v[:, :, 0])
        there[[not point.terms for point in points]] = self.x  # to the bit
        return there

    def displaced(self, v: np.ndarray) -> np.ndarray:
        return self.manifold.retract(self.x, self.manifold.project(self.x, v))

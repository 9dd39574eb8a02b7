"""Second differences, noted for directions that learn from them (HiZOO, arXiv 2402.15173).

extra_i = (L_i+ + L_i- - 2 L_0) / (2 eps^2)    over `ThreePoint` points: +1, -1, ..., then 0
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..protocols import Record, Weighing


@dataclass(frozen=True)
class Curvature:
    """Leaves the coefficients as they are."""

    def weigh(self, w: Weighing) -> Weighing:
        return w.but(extra=(*w.extra, *seconds(w).tolist()))

    def observe(self, record: Record) -> None:
        """Stateless."""


def seconds(w: Weighing) -> np.ndarray:
    """(L_i+ + L_i- - 2 L_0) / (2 eps^2), (n,): z'Hz / 2."""
    n = len(w.draws)
    second: np.ndarray = w.losses[0 : 2 * n : 2] + w.losses[1 : 2 * n : 2] - 2.0 * w.losses[2 * n]
    return second / (2.0 * w.eps**2)

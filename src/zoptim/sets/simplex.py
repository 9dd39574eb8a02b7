"""The simplex: shares of a whole.

project  max(x - lambda/v, 0), lambda by sorting;      lmo  all at e_i, i = argmin g
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..protocols import Array
from .shape import Set, number, put
from .solve import threshold


@dataclass(frozen=True, eq=False)
class Simplex(Set):
    """{x >= 0 : sum_i x_i = scale}.

    It has no interior: among all vectors no ball fits in, so probes leave it.  On it `Mirror` moves by factors.

    Cost: a sort to project, one sweep to minimize.

    Example:
        >>> Simplex().project([0.9, 0.3])
        array([0.8, 0.2])
    """

    scale: float = 1.0
    refuses: ClassVar[dict[str, str]] = {
        "shrunk": "it has no interior (its points' sum is fixed)",
        "inner": "it has no interior (its points' sum is fixed)",
    }

    def __post_init__(self) -> None:
        put(self, scale=number("scale", self.scale))

    def diameter(self, d: int) -> float:
        return self.scale * float(np.sqrt(2.0)) if d > 1 else 0.0

    def _excess(self, x: np.ndarray) -> float:
        return float(np.maximum(abs(x.sum() / self.scale - 1.0), -x.min() / self.scale))

    def _project(self, x: np.ndarray, metric: np.ndarray | None) -> Array:
        w = None if metric is None else metric.max() / metric
        lam = threshold(x, w, self.scale)
        return np.maximum(x - (lam if w is None else lam * w), 0.0)

    def _lmo(self, g: np.ndarray) -> Array:
        s = np.zeros_like(g)
        s[int(np.argmin(g))] = self.scale
        return s

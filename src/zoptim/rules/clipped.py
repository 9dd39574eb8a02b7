"""Any rule's step, then the nearest point of a box: clipping, coordinate by coordinate.

What `zoptim.minimize(bounds=...)` keeps iterates in.  Not here: other sets (`sets`, `rules.Projected`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..protocols import Array, Rule, Stride


@dataclass(frozen=True, eq=False)
class Clipped:
    """A rule inside {low <= p <= high} on a flat space.  Memory: the rule's.

    Args:
        rule: takes the step.
        low, high: (d,) bounds, infinite where there is none.
    """

    rule: Rule
    low: np.ndarray
    high: np.ndarray
    linear = False
    scope: Literal["element", "slot"] = "slot"

    @property
    def vectors(self) -> int:
        return self.rule.vectors

    def scale(self, lr: float) -> float | None:
        return None

    def apply(self, p: Array, g: Array, stride: Stride, vectors: Sequence[Array]) -> None:
        self.rule.apply(p, g, stride, vectors)
        np.clip(p, self.low.reshape(p.shape), self.high.reshape(p.shape), out=p)

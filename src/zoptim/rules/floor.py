"""Descent above a floor: p <- max(p - lr g, 0), element by element (QZO's update of scales, arXiv 2505.13430).

An element that reaches 0 stays there until noise lifts it: the floor keeps no memory of what was cut, so steps
neither commute nor can be taken back by their opposite.  Not here: other sets (`sets`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from ..protocols import Array, Stride


@dataclass(frozen=True)
class NonNegative:
    """Plain descent that ends at 0 in slots whose name fits `floored` (with wildcards), plain descent elsewhere.

    Memory: none.
    """

    floored: str = "*"
    linear = False
    scope: Literal["element", "slot"] = "element"
    vectors = 0

    def scale(self, lr: float) -> float | None:
        return None

    def apply(self, p: Array, g: Array, stride: Stride, vectors: Sequence[Array]) -> None:
        g *= stride.lr
        p -= g
        if fnmatchcase(stride.slot, self.floored):
            p[p < 0] = 0

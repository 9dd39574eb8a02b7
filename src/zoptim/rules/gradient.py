"""Gradient descent on the regenerated sum: p <- p - (lr wd) p, then p <- p - lr g, each product rounded.

Written with in-place operators only, so the same lines serve numpy arrays and torch tensors and give the
same bits in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..protocols import Array, Stride


@dataclass(frozen=True)
class Descent:
    """Plain descent with decoupled weight decay (per unit of lr).  Memory: none."""

    weight_decay: float = 0.0
    linear = True
    scope: Literal["element", "slot"] = "element"
    vectors = 0

    def scale(self, lr: float) -> float | None:
        return -lr if self.weight_decay == 0.0 else None

    def apply(self, p: Array, g: Array, stride: Stride, vectors: Sequence[Array]) -> None:
        if self.weight_decay:
            p -= p * (stride.lr * self.weight_decay)
        g *= stride.lr
        p -= g

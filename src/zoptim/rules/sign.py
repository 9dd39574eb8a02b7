"""Sign descent: p <- p - lr sign(g), element by element (signSGD; ZO-signSGD, ICLR 2019).

What moves is the sign of the *estimate*; sign(c) z, which published code calls by this name, is plain descent with
the coefficient's sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..kernels.arrays import sign_
from ..protocols import Array, Stride


@dataclass(frozen=True)
class SignDescent:
    """Every weight moves by lr, or not at all where the estimate is 0.  Memory: none."""

    linear = False
    normalizes = True
    scope: Literal["element", "slot"] = "element"
    vectors = 0

    def scale(self, lr: float) -> float | None:
        return None

    def apply(self, p: Array, g: Array, stride: Stride, vectors: Sequence[Array]) -> None:
        sign_(g)
        g *= stride.lr
        p -= g

"""Moves without projections: towards the point of the set that lies farthest downhill (conditional gradient).

    s = argmin_{s in K} <g, s>;      p <- p + gamma_k (s - p),      k = 0, 1, ... moves

gamma_k = lr times "2/(t+2)" (Frank & Wolfe), "2/(t+8)" (SGFFW, arXiv 1810.03233), "6/(t+5)" (convex ZSCG, 1809.06474)
or "constant", and at most 1.  A start in the set keeps every later point in it, whatever the estimate.
Not here: the estimate's averages (coefficients and directions make g); projections (`Projected`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from ..kernels.arrays import host
from ..protocols import Array, Stride

GAMMAS: dict[str, Callable[[int], float]] = {
    "2/(t+2)": lambda t: 2.0 / (t + 2),
    "2/(t+8)": lambda t: 2.0 / (t + 8),
    "6/(t+5)": lambda t: 6.0 / (t + 5),
    "constant": lambda t: 1.0,
}


class Minimizes(Protocol):
    """A set with a linear minimum, as rules see it."""

    def require(self, *operations: str) -> None: ...

    def lmo(self, g: Any) -> np.ndarray: ...


@dataclass(frozen=True)
class FrankWolfe:
    """p <- p + min(1, lr gamma(k)) (lmo(g) - p).  Memory: none.

    Args:
        set: offers lmo.
        gamma: one of GAMMAS; lr multiplies it, so lr = 1 is the paper's.

    Raises:
        ValueError: a set without a linear minimum; an unknown gamma.

    The length of a step does not depend on the scale of the losses.
    """

    set: Minimizes
    gamma: str = "2/(t+2)"
    linear = False
    normalizes = True
    scope: Literal["element", "slot"] = "slot"
    vectors = 0

    def __post_init__(self) -> None:
        self.set.require("lmo")
        if self.gamma not in GAMMAS:
            raise ValueError(f"gamma={self.gamma!r} must be one of {', '.join(map(repr, GAMMAS))}")

    def scale(self, lr: float) -> float | None:
        return None

    def apply(self, p: Array, g: Array, stride: Stride, vectors: Sequence[Array]) -> None:
        gamma = min(1.0, stride.lr * GAMMAS[self.gamma](stride.k))
        held, s = host(p), self.set.lmo(host(g))
        s -= held
        s *= gamma
        held += s

"""Moves without projections: towards the point of the set that lies farthest downhill (conditional gradient).

    FrankWolfe   s = argmin_{s in K} <g, s>;   p <- p + gamma_k (s - p),      k = 0, 1, ... moves
    Sliding      p <- u with  max_{s in K} <g + (u - p)/lr, u - s> <= gap     by such moves of u (condg of ZSCG, FZCGS)

gamma_k = lr times "2/(t+2)" (Frank & Wolfe), "2/(t+8)" (SGFFW, arXiv 1810.03233), "6/(t+5)" (convex ZSCG, 1809.06474)
or "constant", and at most 1.  A start in the set keeps every later point in it, whatever the estimate.
Sliding is projected descent to within `gap`, for sets that only have a linear minimum.
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
        estimate = host(g)
        if not estimate.any():  # no point of the set is better than another
            return
        gamma = min(1.0, stride.lr * GAMMAS[self.gamma](stride.k))
        held, s = host(p), self.set.lmo(estimate)
        s -= held
        s *= gamma
        held += s


@dataclass(frozen=True)
class Sliding:
    """p <- argmin_{u in K} <g, u> + |u - p|^2 / (2 lr), by Frank-Wolfe with exact steps until its gap is small.

    Args:
        set: offers lmo.
        gap: where to stop, in units of the loss (FZCGS: 1/K for K steps).
        most: linear minima a step at most.

    Raises:
        ValueError: a set without a linear minimum; gap or most not positive.

    Memory: none; a step costs up to `most` linear minima, no forward.
    """

    set: Minimizes
    gap: float = 1e-3
    most: int = 100
    linear = False
    scope: Literal["element", "slot"] = "slot"
    vectors = 0

    def __post_init__(self) -> None:
        self.set.require("lmo")
        if not (self.gap > 0.0 and self.most >= 1):
            raise ValueError(f"gap={self.gap!r} and most={self.most!r} must be positive")

    def scale(self, lr: float) -> float | None:
        return None

    def apply(self, p: Array, g: Array, stride: Stride, vectors: Sequence[Array]) -> None:
        held, estimate = host(p), host(g).astype(np.float64)
        start = held.astype(np.float64)
        u = start.copy()
        for _ in range(self.most):
            slope = estimate + (u - start) / stride.lr
            way = self.set.lmo(slope) - u
            left = -float(np.sum(slope * way))
            if left <= self.gap:
                break
            u += min(1.0, left * stride.lr / float(np.sum(way * way))) * way
        held[...] = u

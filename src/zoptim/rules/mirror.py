"""Mirror descent: a step in the dual of a geometry that fits the set (Duchi et al., arXiv 1312.2139; Shamir, 1507.08752).

    Entropic   p_i <- scale p_i exp(-lr g_i) / sum_j p_j exp(-lr g_j)          on the simplex; error in sqrt(log d)
    PNorm      theta = grad psi(p) - lr g,  p <- grad psi*(theta),  psi = |.|_a^2 / 2,  1/a + 1/b = 1

grad psi(p)_i = sign(p_i) |p_i|^{a-1} / |p|_a^{a-2}.  Both use exp or powers: equal bits only on equal machines.
Not here: the Euclidean case, which is `Projected(Descent(), K)`; Bregman projections onto other sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..kernels.arrays import host
from ..protocols import Array, Stride

ROUNDED = 1e-6  # of the sum: a weight so little below 0 counts as 0


@dataclass(frozen=True)
class Entropic:
    """Moves by factors within {p > 0, sum p = scale}.  Memory: none; a start is rescaled to the sum.

    A weight that is 0 stays 0: begin inside, at scale/d for example; a start with a single one is refused.

    Raises:
        ValueError: a scale that is not positive; when it moves: weights below 0, or all 0; at first: all but one 0.
    """

    scale_to: float = 1.0
    linear = False
    bends = True  # the step is no multiple of lr
    scope: Literal["element", "slot"] = "slot"
    vectors = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.scale_to < np.inf:
            raise ValueError(f"scale_to={self.scale_to!r} must be a positive finite number")

    def scale(self, lr: float) -> float | None:
        return None

    def apply(self, p: Array, g: Array, stride: Stride, vectors: Sequence[Array]) -> None:
        held = host(p)
        x, step = held.astype(np.float64), host(g).astype(np.float64)
        np.maximum(x, 0.0, out=x, where=x >= -ROUNDED * self.scale_to)
        if (x < 0.0).any() or not x.any():
            raise ValueError(
                "weights: an entropic step needs a start of numbers from 0, not all 0; use 1/d each"
            )
        if stride.k == 0 and np.count_nonzero(x) == 1 < x.size:
            raise ValueError(
                "weights: all but one are 0, and would stay so in every step by factors; use 1/d each"
            )
        step *= -stride.lr
        step -= step[x > 0.0].max()  # the largest factor is 1: nothing overflows, not everything vanishes
        x *= np.exp(np.minimum(step, 0.0))
        held[...] = x * (self.scale_to / x.sum())


@dataclass(frozen=True)
class PNorm:
    """Steps in the geometry of an a-norm, 1 < a <= 2, between the simplex's (a near 1) and the plain one (a = 2).

    Args:
        power: a; None: 1 + 1/log d, for directions and losses that live in few coordinates.

    Raises:
        ValueError: a power outside (1, 2].

    Memory: none.
    """

    power: float | None = None
    linear = False
    bends = True
    scope: Literal["element", "slot"] = "slot"
    vectors = 0

    def __post_init__(self) -> None:
        if self.power is not None and not 1.0 < self.power <= 2.0:
            raise ValueError(f"power={self.power!r} must be above 1 and at most 2")

    def scale(self, lr: float) -> float | None:
        return None

    def apply(self, p: Array, g: Array, stride: Stride, vectors: Sequence[Array]) -> None:
        held = host(p)
        x, step = held.astype(np.float64), host(g).astype(np.float64)
        a = min(2.0, 1.0 + 1.0 / max(1.0, float(np.log(x.size)))) if self.power is None else self.power
        held[...] = link(link(x, a) - stride.lr * step, a / (a - 1.0))


def link(x: np.ndarray, a: float) -> np.ndarray:
    """grad of |x|_a^2 / 2; that of the conjugate norm undoes it."""
    size = float(np.abs(x).max())
    if size == 0.0:
        return np.zeros_like(x)
    u = np.abs(x) / size
    length = float(np.sum(u**a)) ** (1.0 / a)
    return np.asarray(np.copysign(size * u ** (a - 1.0) / length ** (a - 2.0), x))

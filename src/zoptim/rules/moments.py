"""Rules with memory: heavy-ball momentum, Adam, AMSGrad.  They keep vectors of the weights' size, in float32 or wider.

    Momentum   v <- beta v + g;                                            p <- p - lr v
    Adam       m <- b1 m + (1-b1) g,  v <- b2 v + (1-b2) g^2, both unbiased by their powers;  p <- p - lr m/(sqrt(v) + zeta)
    AmsGrad    m, v as Adam's without unbiasing,  u <- max(u, v);          p <- p - lr m/sqrt(u)

A step that is skipped leaves them as they are.  Written with in-place operators that numpy arrays and torch tensors
share.  Not here: momentum without memory, a list of past pairs (`coefficients.pairs`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..kernels.arrays import sqrt_
from ..protocols import Array, Stride


@dataclass(frozen=True)
class Momentum:
    """Heavy-ball (Polyak) momentum as in torch's SGD without dampening.  Memory: one vector."""

    beta: float = 0.9
    linear = True
    scope: Literal["element", "slot"] = "element"
    vectors = 1

    def scale(self, lr: float) -> float | None:
        return None

    def apply(self, p: Array, g: Array, stride: Stride, vectors: Sequence[Array]) -> None:
        (v,) = vectors
        v *= self.beta
        v += g
        g[:] = v
        g *= stride.lr
        p -= g


@dataclass(frozen=True)
class Adam:
    """Adam, arXiv 1412.6980.  Memory: two vectors."""

    beta1: float = 0.9
    beta2: float = 0.999
    zeta: float = 1e-8
    linear = False
    normalizes = True
    scope: Literal["element", "slot"] = "element"
    vectors = 2

    def scale(self, lr: float) -> float | None:
        return None

    def apply(self, p: Array, g: Array, stride: Stride, vectors: Sequence[Array]) -> None:
        m, v = vectors
        _average(m, v, g, self.beta1, self.beta2)
        k = stride.k + 1
        g[:] = v
        g /= 1.0 - self.beta2**k
        sqrt_(g)
        g += self.zeta
        _quotient_(g, m)  # m / (sqrt(v-hat) + zeta)
        g *= stride.lr / (1.0 - self.beta1**k)
        p -= g


@dataclass(frozen=True)
class AmsGrad:
    """AMSGrad without unbiasing, as in ZO-AdaMM (arXiv 1910.06513).  Memory: three vectors.

    Weights whose estimate has been 0 from the start stay where they are.
    """

    beta1: float = 0.9
    beta2: float = 0.5
    linear = False
    normalizes = True
    scope: Literal["element", "slot"] = "element"
    vectors = 3

    def scale(self, lr: float) -> float | None:
        return None

    def apply(self, p: Array, g: Array, stride: Stride, vectors: Sequence[Array]) -> None:
        m, v, u = vectors
        _average(m, v, g, self.beta1, self.beta2)
        larger = v > u
        u[larger] = v[larger]
        g[:] = u
        sqrt_(g)
        g[g == 0.0] = 1.0  # m is 0 there
        _quotient_(g, m)
        g *= stride.lr
        p -= g

    def metric(self, vectors: Sequence[Array]) -> Array:
        """sqrt(u): the metric its step is steepest descent in, for projections after it.  Fresh memory."""
        u = vectors[2]
        return sqrt_(u * 1)


def _average(m: Array, v: Array, g: Array, beta1: float, beta2: float) -> None:
    """Running means of g and g^2; spoils g."""
    m *= beta1
    m += g * (1.0 - beta1)
    g *= g
    g *= 1.0 - beta2
    v *= beta2
    v += g


def _quotient_(x: Array, numerator: Array) -> None:
    """x <- numerator / x."""
    x[:] = numerator / x

"""The step size for a method that holds an estimate and corrects it by differences, from second moments.

Let v be the estimate at w, y = x - w and h the curvature.  A step is y <- y - lr (v + C y), and

    E v = g = grad f(w),   E |v|^2 = (1 + D) |g|^2     D = (d + 1) / n along n draws, 0 along all coordinates
    E C = h,               E |C y|^2 = M h^2 |y|^2     M = (d + n + 1) / n for n draws on the whole sum, more on a batch

With a = lr h, m_k = -h E g'y_k / |g|^2 and s_k = h^2 E |y_k|^2 / E |v|^2, from m_0 = s_0 = 0,

    m <- (1 - a) m + a;   s <- (1 - 2 a + M a^2) s + 2 a (1 - a) m + a^2
    E |grad f(x_T)|^2 / |g|^2 = 1 - 2 m_T + (1 + D) s_T

and the step is the one that leaves least of the gradient when v is taken anew, after T steps, in the mean of the
logarithm over a schedule.  A noisy v held for
long allows a = 1 / ((1 + D) T): what one step along it bears, for all T together.  An exact one allows 1 / M or more.
Where v is taken anew by chance, T stands for E T^2 / E T, which that limit depends on.

Not here: how h and M are measured (`settle`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

import numpy as np

from ..directions import Dense
from ..method import Method
from ..probes import AnchoredProbe, Recursive

LEAST = -7.0  # log10 of a
FINE = 40  # steps tried a decade
TINY, HUGE = 1e-300, 1e300
SHAPE = (np.arange(20) + 0.5) / 20  # where a schedule is looked at, of the whole


class Holding(Protocol):
    """A probe whose estimate serves several steps."""

    @property
    def n(self) -> int:
        """Draws a step."""
        ...

    @property
    def held(self) -> float:
        """T."""
        ...

    def due(self, t: int, key: int) -> bool:
        """Whether step t takes it anew."""
        ...


def holding(method: Method) -> Holding | None:
    """The probe of such a method that takes its estimate anew now and then, else None."""
    probe = method.probe
    if isinstance(probe, Recursive | AnchoredProbe) and np.isfinite(probe.held):
        return cast(Holding, probe)
    return None


def bears(m: float, d: float, steps: float, shape: Sequence[float] = (1.0,)) -> float:
    """a for M, D and T; `shape` is what a schedule multiplies it by, over a run.

    Example:
        >>> round(bears(1.0, 3.0, 1), 2), round(bears(20.0, 19.0, 1000) * 20_000, 1)
        (0.25, 1.0)
    """
    a = np.logspace(LEAST, 0.0, round(-LEAST * FINE) + 1)
    one, none = np.ones_like(a), np.zeros_like(a)
    step = np.array([[one, none, none], [a, 1 - a, none], [a * a, 2 * a * (1 - a), 1 - 2 * a + m * a * a]])
    with np.errstate(over="ignore", invalid="ignore"):  # of a step that is far too long
        _, mean, square = np.linalg.matrix_power(step.transpose(2, 0, 1), max(1, round(steps)))[:, :, 0].T
        left = 1.0 - 2.0 * mean + (1.0 + d) * square
    sizes = np.log(a), np.log(np.where(np.isfinite(left), np.maximum(left, TINY), HUGE))
    whole = sum(np.interp(sizes[0] + np.log(max(s, TINY)), *sizes) for s in shape)
    return float(a[np.argmin(whole)])


@dataclass
class Measured:
    """What was measured on paper, a number a place and batch: y'Cy / |y|^2 and |Cy|^2 / |y|^2."""

    bends: list[float] = field(default_factory=list)
    squares: list[float] = field(default_factory=list)

    def lr(self, method: Method, probe: Holding, d: int, plain: float) -> float:
        """The step size; `plain` is what one step along v bears, for where nothing was measured.

        Args:
            probe: the method's.
            d: numbers of x.
        """
        noise = (d + 1) / probe.n if isinstance(method.directions, Dense) else 0.0
        h, m = float(np.mean(self.bends or [0.0])), (d + probe.n + 1) / probe.n
        if h <= 0.0:
            h = 1.0 / (plain * (1.0 + noise))
        elif self.squares:
            m = max(1.0, float(np.mean(self.squares)) / h**2)
        shape = [method.schedule(round(1000 * share), 1000) for share in SHAPE]
        return bears(m, noise, probe.held, shape) / h

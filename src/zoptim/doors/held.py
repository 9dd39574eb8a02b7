"""The step size for a method that holds an estimate and corrects it by differences, from second moments.

Let v be the estimate at w, y = x - w and h the curvature.  A step is y <- y - lr (v + C y), and

    E v = g = grad f(w),   E |v|^2 = (1 + D) |g|^2     D = (d + 1) / n along n draws, 0 along all coordinates
    E C = h,               E |C y|^2 = M h^2 |y|^2     M = (d + n + 1) / n for n draws on the whole sum, more on a batch

With l = lr h, m_k = -h E g'y_k / |g|^2 and s_k = h^2 E |y_k|^2 / E |v|^2, from m_0 = s_0 = 0,

    m <- (1 - l) m + l;   s <- (1 - 2 l + M l^2) s + 2 l (1 - l) m + l^2
    E |grad f(x_T)|^2 / |g|^2 = 1 - 2 m_T + (1 + D) s_T

and the step is the one that leaves least of the gradient when v is taken anew, after T steps.  A noisy v held for
long allows l = 1 / ((1 + D) T): the d / n of one step, for all T together.  An exact one allows 1 / M or more.
Where v is taken anew by chance, T stands for E T^2 / E T, which that limit depends on.

Not here: how h and M are measured (`settle`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..directions import Dense
from ..engine import Method
from ..probes import AnchoredProbe, Recursive

LEAST = -7.0  # log10 of l
FINE = 40  # steps tried a decade


def holds(method: Method) -> bool:
    """Whether it is such a method, and takes its estimate anew now and then."""
    return isinstance(method.probe, Recursive | AnchoredProbe) and np.isfinite(method.probe.held)


def bears(m: float, d: float, steps: float) -> float:
    """l for M, D and T.

    Example:
        >>> round(bears(1.0, 3.0, 1), 2), round(bears(20.0, 19.0, 1000) * 20_000, 1)
        (0.25, 1.0)
    """
    l = np.logspace(LEAST, 0.0, round(-LEAST * FINE) + 1)
    one, none = np.ones_like(l), np.zeros_like(l)
    step = np.array(
        [[one, none, none], [l, 1 - l, none], [l * l, 2 * l * (1 - l), 1 - 2 * l + m * l * l]]
    )
    with np.errstate(over="ignore", invalid="ignore"):  # of a step that is far too long
        _, mean, square = np.linalg.matrix_power(step.transpose(2, 0, 1), max(1, round(steps)))[:, :, 0].T
        left = 1.0 - 2.0 * mean + (1.0 + d) * square
    return float(l[np.argmin(np.where(np.isfinite(left), left, np.inf))])


@dataclass
class Measured:
    """What was measured on paper, a number a place and batch: y'Cy / |y|^2 and |Cy|^2 / |y|^2."""

    bends: list[float] = field(default_factory=list)
    squares: list[float] = field(default_factory=list)

    def lr(self, method: Method, d: int, plain: float) -> float:
        """The step size; `plain` is what a step along v alone bears, for where nothing was measured.

        Args:
            method: one that `holds`.
            d: numbers of x.
        """
        n: int = method.probe.n  # type: ignore[attr-defined]
        noise = (d + 1) / n if isinstance(method.directions, Dense) else 0.0
        h, m = float(np.mean(self.bends or [0.0])), (d + n + 1) / n
        if h <= 0.0:
            h = 1.0 / (plain * (1.0 + noise))  # v'Hv / |v|^2 of a bowl
        elif self.squares:
            m = max(1.0, float(np.mean(self.squares)) / h**2)
        return bears(m, noise, method.probe.held) / h  # type: ignore[attr-defined]

"""Weights of a consensus: the lower the loss, the more a particle counts (arXiv 2306.09778).

    w = exp(-(L - min L) / T) / sum of the same, over the points +1, -1, +2, -2, ...;   c_i = (w_i- - w_i+) T / eps

sum_i c_i z_i estimates the gradient of -T log E exp(-L(theta + eps z) / T), the soft minimum around theta (Stein).
T -> infinity: `Central`.  T -> 0: eps/T sum_i c_i z_i is minus the best particle's direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..protocols import Record, Weighing


@dataclass(frozen=True)
class SoftMin:
    """Over `TwoSided` points.  T, the temperature, is in units of loss; not linear in the losses."""

    temperature: float
    linear = False

    def weigh(self, w: Weighing) -> Weighing:
        share = np.exp((w.losses.min() - w.losses) / self.temperature)
        share /= share.sum()
        return w.weighed((share[1::2] - share[0::2]) * (self.temperature / w.eps))

    def observe(self, record: Record) -> None:
        """Stateless."""

"""Scores of a population: losses less their mean over their standard deviation (EGGROLL, arXiv 2511.16652).

    s = (L - mean L) / std L over the m = 2n points +1, -1, +2, -2, ...;   c_i = (s_i+ - s_i-) / sqrt(2n)

sum_i c_i z_i is the paper's sqrt(N) mean_k f_k E_k over its N = 2n members E = +-sigma z, of fitness f = -s, up to
-sigma.  Equal losses give zeros.  (The paper's code adds 1e-5 to the variance, for rewards of order one; here ties are
seen by themselves.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..protocols import Record, Weighing


@dataclass(frozen=True)
class ZScored:
    """Over `TwoSided` points.  A step's length does not follow the losses' scale."""

    def weigh(self, w: Weighing) -> Weighing:
        spread = float(w.losses.std())
        if spread <= 1e-12 * float(np.abs(w.losses).max()):  # what rounding leaves of equal losses
            return w.weighed(np.zeros(len(w.draws)))
        return w.weighed((w.losses[0::2] - w.losses[1::2]) / (spread * len(w.losses) ** 0.5))

    def observe(self, record: Record) -> None:
        """Stateless."""


@dataclass(frozen=True)
class PerExample:
    """One coefficient an example, over the spread of the examples' differences (GRZO, arXiv 2606.02857).

        delta_j = L_j+ - L_j-,   c_j = delta_j / (n std delta)

    The paper's 1/(2 sigma) is left out: lr = lr_paper / (2 eps).  Equal differences (std 0) are taken by their sign.
    """

    def weigh(self, w: Weighing) -> Weighing:
        delta = w.losses[0::2] - w.losses[1::2]
        spread = float(delta.std())
        if spread <= 1e-12 * float(np.abs(delta).max(initial=0.0)):
            return w.weighed(np.sign(delta) / len(delta))
        return w.weighed(delta / (spread * len(delta)))

    def observe(self, record: Record) -> None:
        """Stateless."""

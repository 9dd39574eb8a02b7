"""Fitness shaping: of a population's losses only their order counts (OpenAI-ES, arXiv 1703.03864).

    r = (rank of the loss among all 2n, from 0) / (2n - 1) - 1/2;   c_i = (r_i+ - r_i-) / (2n)    at +1, -1, +2, -2, ...

Ranks are of losses, so r is minus the published code's, and sum c_i z_i minus its g.  Equal losses share the mean of
their ranks; the code ranks them in the order they come in, and moves where there is nothing to learn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..protocols import Record, Weighing


@dataclass(frozen=True)
class CenteredRanks:
    """Over `TwoSided` points.  Outliers weigh no more than any other last place."""

    def weigh(self, w: Weighing) -> Weighing:
        m = len(w.losses)
        _, place, count = np.unique(w.losses, return_inverse=True, return_counts=True)
        rank = (np.cumsum(count) - (count + 1) / 2)[place]
        r = rank / (m - 1) - 0.5
        return w.weighed((r[0::2] - r[1::2]) / m)

    def observe(self, record: Record) -> None:
        """Stateless."""

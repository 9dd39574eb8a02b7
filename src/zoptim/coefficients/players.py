"""Two-sided differences of a game: each player's mean, y's upward and `ratio` times longer (`probes.players`).

Only the last pairs count, one a draw: those of the round that the step is taken from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..protocols import Record, Weighing


@dataclass(frozen=True)
class Opposed:
    """c_i = (L+ - L-) / (2 eps n) for the n draws of x, -ratio times that for those of y."""

    ratio: float = 1.0

    def weigh(self, w: Weighing) -> Weighing:
        last = w.losses[-2 * len(w.draws) :]
        c = (last[0::2] - last[1::2]) / (2.0 * w.eps)
        mine = np.array([getattr(z, "group", "") == "y" for z in w.draws])
        weight = np.where(mine, -self.ratio / max(1, mine.sum()), 1.0 / max(1, (~mine).sum()))
        return replace(w, coefs=c * weight)

    def observe(self, record: Record) -> None:
        """Stateless."""

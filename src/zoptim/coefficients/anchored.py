"""Variance-reduced coefficients over `AnchoredProbe`'s points (MeZO-SVRG, arXiv 2404.08080).

at the anchor   c_full z_0, times `boost` = eta_1 / eta_2
else            (c_t - c_bar_t) z_t + c_full z_0
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..protocols import Record, Weighing


@dataclass
class Anchored:
    """c_full is kept in the anchor record's `extra`; a skipped anchor leaves c_full = 0."""

    boost: float = 1.0
    _full: float = field(default=0.0, init=False, repr=False)

    def weigh(self, w: Weighing) -> Weighing:
        c = (w.losses[0::2] - w.losses[1::2]) / (2.0 * w.eps)
        if len(w.draws) == 1:
            return w.but(coefs=self.boost * c, extra=(*w.extra, float(c[0])))
        return w.weighed(np.array([c[0] - c[1], self._full]))

    def observe(self, record: Record) -> None:
        if len(record.losses) == 2:  # an anchor
            self._full = record.extra[-1] if record.kind == "move" else 0.0

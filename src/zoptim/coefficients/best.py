"""The best of three places: the step, staying, or the opposite step (ZO-SGD-Cons, arXiv 2402.11592)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..protocols import STAYS, Record, Weighing


@dataclass(frozen=True)
class Best:
    """Over `Conservative`'s points: c where theta - lr c z is lowest, 0 where theta is, -c where theta + lr c z is."""

    def weigh(self, w: Weighing) -> Weighing:
        c = (w.losses[0] - w.losses[1]) / (2.0 * w.eps)
        sign = (0.0, 1.0, -1.0)[int(np.argmin(w.losses[2:]))]
        return w.but(coefs=np.array([sign * c]), reason="" if sign else STAYS)

    def observe(self, record: Record) -> None:
        """Stateless."""

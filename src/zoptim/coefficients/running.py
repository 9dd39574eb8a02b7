"""Division by a running size of the coefficients: Adam's normalizer as one number (MEAZO, arXiv 2605.03869).

    s_t = sum_i c_i^2,   v <- beta v + (1 - beta) s_t,   coefs <- coefs / (sqrt(v / (1 - beta^k)) + zeta)

With signs every weight's g^2 is, in the mean, exactly s_t: Adam's v is this number times a vector of ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..protocols import Record, Weighing


@dataclass
class OverRunning:
    """s_t goes into the record's `extra`, from which v is folded.  A skipped step leaves v as it is."""

    beta: float = 0.999
    zeta: float = 1e-12
    _v: float = field(default=0.0, init=False, repr=False)
    _k: int = field(default=0, init=False, repr=False)

    def weigh(self, w: Weighing) -> Weighing:
        s = float(np.dot(w.coefs, w.coefs))
        v, k = self._next(s)
        size = (v / (1.0 - self.beta**k)) ** 0.5 + self.zeta
        return w.but(coefs=w.coefs / size, extra=(*w.extra, s))

    def observe(self, record: Record) -> None:
        if record.kind == "move":
            self._v, self._k = self._next(record.extra[-1])

    def _next(self, s: float) -> tuple[float, int]:
        return self.beta * self._v + (1.0 - self.beta) * s, self._k + 1

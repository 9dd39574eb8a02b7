"""A push along one more draw, whatever the answers: what takes descent off a saddle point (arXiv 2209.13555)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..protocols import Coefficients, Draw, Record, Weighing


@dataclass(frozen=True)
class Kicked:
    """`inner`, and the draw after its last one with a fixed coefficient.

    Args:
        inner: what the answers weigh otherwise.
        size: of the push, per number of the parameters, in units of the estimate.
    """

    inner: Coefficients
    size: float

    def weigh(self, w: Weighing) -> Weighing:
        w = self.inner.weigh(w)
        return w.but(draws=(*w.draws, Draw(w.t, len(w.draws))), coefs=np.append(w.coefs, self.size))

    def observe(self, record: Record) -> None:
        self.inner.observe(record)

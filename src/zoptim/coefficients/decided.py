"""What a plan has decided: the answers were weighed by the plan itself, its move is the step.

    c_j = -offset_j     so that x - sum_j c_j e_j, at lr 1, is x + offset

Not here: the plan (`probes.Planned`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..protocols import STAYS, Record, Weighing


class Decides(Protocol):
    """A probe that knows where to go when its questions are answered."""

    @property
    def offset(self) -> np.ndarray: ...


@dataclass
class Decided:
    """Args:
    by: the method's own probe.
    """

    by: Decides

    def weigh(self, w: Weighing) -> Weighing:
        offset = self.by.offset
        hit = offset[np.flatnonzero(offset)]
        if not hit.size:
            return w.but(coefs=np.zeros(len(w.draws)), reason=STAYS)
        return w.weighed(-hit.astype(np.float64))

    def observe(self, record: Record) -> None:
        """The probe does."""

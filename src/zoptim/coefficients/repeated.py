"""The middle of several answers at each point: one wild answer in three does no harm (over `probes.Repeated`).

    L_p = median_k L_pk

Where an answer is itself a mean over a batch this is the median of means.  For noise without tails a mean serves
better, and a larger batch is one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..protocols import Coefficients, Record, Weighing


@dataclass(frozen=True)
class Repeated:
    """`inner` over the medians.

    Args:
        inner: what would weigh single answers.
        times: answers a point.
    """

    inner: Coefficients
    times: int

    def weigh(self, w: Weighing) -> Weighing:
        told = self.inner.weigh(
            w.but(points=w.points[:: self.times], losses=self._middle(w.losses), items=None)
        )
        return told.but(points=w.points, losses=w.losses, items=w.items)

    def observe(self, record: Record) -> None:
        middle = self._middle(np.array(record.losses))
        self.inner.observe(record._replace(losses=tuple(middle.tolist())))

    def _middle(self, losses: np.ndarray) -> np.ndarray:
        middle: np.ndarray = np.median(losses.reshape(-1, self.times), axis=1)
        return middle

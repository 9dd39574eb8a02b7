"""Momentum without a buffer: the sum of past (draw, coefficient) pairs, weighed down by their age.

    v_t = sum_{k=0}^{keep-1} beta^k sum_i c_{t-k,i} z_{t-k,i}

Directions are regenerated, so v costs no memory, only their noise again at the update.  For memoryless directions.
With keep beyond the number of steps this is heavy-ball momentum; the tail left out weighs beta^keep.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from ..protocols import Draw, Record, Weighing


@dataclass
class PastPairs:
    """Adds the pairs of the last keep - 1 moves, times beta^age.  A step whose own pairs are all 0 adds none."""

    beta: float = 0.9
    keep: int = 30
    _past: deque[tuple[tuple[Draw, float], ...]] = field(default_factory=deque, init=False, repr=False)

    def weigh(self, w: Weighing) -> Weighing:
        if not w.coefs.any():
            return w
        draws, coefs = list(w.draws), w.coefs.tolist()
        for age, pairs in enumerate(self._past, 1):
            draws += [z for z, _ in pairs]
            coefs += [self.beta**age * c for _, c in pairs]
        return w.but(draws=tuple(draws), coefs=np.array(coefs))

    def observe(self, record: Record) -> None:
        if record.kind != "move":
            return
        own = tuple((z, c) for z, c in record.terms if isinstance(z, Draw) and z.t == record.t)
        self._past.appendleft(own)
        while len(self._past) > self.keep - 1:
            self._past.pop()

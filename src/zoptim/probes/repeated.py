"""Every point asked several times, for losses that answer differently each time (a simulation, a user).

Not for losses that are functions of the point and the batch: the answers would be the same.  What is made of the
answers is `coefficients.Repeated`'s.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from ..protocols import Draw, Losses, Now, Point, Probe, Record


@dataclass(frozen=True)
class Repeated:
    """`inner`'s points, `times` in a row each; `inner` is told their medians.

    Cost: `times` that of `inner`.
    """

    inner: Probe
    times: int

    @property
    def forwards(self) -> float:
        return self.times * self.inner.forwards

    def rounds(self, t: int, now: Now) -> Generator[list[Point], Losses, tuple[Draw, ...]]:
        rounds = self.inner.rounds(t, now)
        points = next(rounds)
        while True:
            losses = yield [p for p in points for _ in range(self.times)]
            try:
                points = rounds.send(np.median(losses.reshape(-1, self.times), axis=1))
            except StopIteration as stop:
                draws: tuple[Draw, ...] = stop.value
                return draws

    def observe(self, record: Record) -> None:
        self.inner.observe(record)

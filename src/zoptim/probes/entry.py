"""One derivative of one component of a finite sum a step: coordinate j and component i at random, f_i at x and at x + eps e_j.

Which is a function of (run key, t): i and j are 64-bit words of the stream of orders, modulo N and d.  What the answers
weigh: `coefficients.Table`.  Not here: batches, which are drawn without repeats by whoever holds the components.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass

from .. import noise
from ..protocols import Draw, Losses, Now, Point, Record, only

ENTRY = 5  # names the stream of entries among those of orders


@dataclass(frozen=True)
class Entry:
    """Args:
    d: numbers of the parameters.
    components: N of the sum.

    Cost: 2 evaluations of one component a step.
    """

    d: int
    components: int
    n = 1  # draws a step
    held = math.inf  # the estimate is never taken anew
    forwards = 2.0  # batches of one component

    def due(self, t: int, key: int) -> bool:
        """Whether step t takes an estimate anew."""
        return False

    def rounds(self, t: int, now: Now) -> Generator[list[Point], Losses, tuple[Draw, ...]]:
        a, b, c, d = noise.uniform_bits(now.key, noise.ORDER, t, ENTRY, 0, 0, 4).tolist()
        items, z = only((a | b << 32) % self.components), Draw(t, (c | d << 32) % self.d)
        yield [Point((), items), Point(((z, now.eps),), items)]
        return (z,)

    def observe(self, record: Record) -> None:
        """Nothing to keep."""

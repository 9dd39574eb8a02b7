"""One derivative of one component of a finite sum a step: coordinate j and component i at random, f_i at x and at x + eps e_j.

Which is a function of (run key, t): of four words of the stream of orders, i is the first two modulo N, j the others modulo d.
Words are made for many steps at once (`entry`).  What the answers weigh: `coefficients.Table`.  Not here: batches, which
are drawn without repeats by whoever holds the components.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import lru_cache

from .. import noise
from ..protocols import Draw, Losses, Now, Point, Record, only

ENTRY = 5  # names the stream of entries among those of orders
TOGETHER = 256  # steps whose words are made at once: that of one alone costs as much


def entry(key: int, t: int) -> tuple[int, int]:
    """Two numbers below 2**64 for step t: words 4 (t % 256) to 4 (t % 256) + 3 of the stream (purpose 2, t // 256, i = 5)."""
    period, place = divmod(t, TOGETHER)
    return _entries(key, period)[place]


@lru_cache(maxsize=8)
def _entries(key: int, period: int) -> list[tuple[int, int]]:
    words = noise.uniform_bits(key, noise.ORDER, period, ENTRY, 0, 0, 4 * TOGETHER).tolist()
    return [
        (a | b << 32, c | d << 32)
        for a, b, c, d in zip(words[::4], words[1::4], words[2::4], words[3::4], strict=True)
    ]


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
    forwards = 2.0  # batches of one component

    def rounds(self, t: int, now: Now) -> Generator[list[Point], Losses, tuple[Draw, ...]]:
        i, j = entry(now.key, t)
        items, z = only(i % self.components), Draw(t, j % self.d)
        yield [Point((), items), Point(((z, now.eps),), items)]
        return (z,)

    def observe(self, record: Record) -> None:
        """Nothing to keep."""

"""Probes of variance reduction over a finite sum: one estimate here, and the same one at a place held on to.

    refresh    x alone, on `big` batches                                            every `period` steps, or by chance
    else       x and the place, along the same draws, on the step's batch            their difference is small near the place

The place is a named vector: "previous" (SPIDER, PAGE, STORM) or "anchor" (SVRG).  An estimate is forward (x, then
x + eps z_i) or central (pairs).  What the answers weigh: `coefficients.recursive`.  Not here: `AnchoredProbe`, whose
anchor is regenerated and takes no memory, for networks.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, field

from .. import noise
from ..protocols import Draw, Losses, Now, Point, Record, many

ALL = 1 << 20  # batches: no more than there are
CHANCE = 7  # names the stream of decisions among those of orders


def estimate(
    draws: tuple[Draw, ...], eps: float, central: bool, batches: int = 1, origin: str = ""
) -> list[Point]:
    """The points of one estimate."""
    items = many(batches)
    if central:
        return [Point(((z, s * eps),), items, origin=origin) for z in draws for s in (1.0, -1.0)]
    return [Point((), items, origin=origin), *(Point(((z, eps),), items, origin=origin) for z in draws)]


def by_chance(key: int, t: int, p: float) -> bool:
    """Whether step t is one of those that happen with probability p."""
    word = noise.uniform_bits(key, noise.ORDER, t, CHANCE, 0, 0, 1)[0]
    return bool(int(word) < p * 2.0**32)


@dataclass
class Recursive:
    """Args:
    n: draws a step.
    place: "previous" or "anchor".
    period: steps from refresh to refresh; 0: with probability p.
    p: of a refresh, where there is no period; 0: the first alone.
    big: batches of a refresh.
    first: draws of a refresh, where it has others: the d coordinates, numbered before the n of other steps.
    central: pairs, else forward differences.

    Cost: (n + 1) big or 2 (n + 1) evaluations of the batch a step; central: 2n for each n + 1.
    """

    n: int = 1
    place: str = "previous"
    period: int = 0
    p: float = 0.1
    big: int = ALL
    first: int = 0
    central: bool = False
    _since: int = field(default=-1, init=False, repr=False)  # step of the last refresh; -1: none

    @property
    def forwards(self) -> float:
        share = 1.0 / self.period if self.period else self.p
        points = (2.0 if self.central else 1.0), (0.0 if self.central else 1.0)
        one, other = (points[0] * k + points[1] for k in (self.first or self.n, self.n))
        return share * one * self.big + (1.0 - share) * 2.0 * other

    @property
    def held(self) -> float:
        """Steps an estimate serves until the next: E T^2 / E T of their number T."""
        if self.period:
            return float(self.period)
        return (2.0 - self.p) / self.p if self.p else math.inf

    def due(self, t: int, key: int) -> bool:
        """Whether step t refreshes; the first always does."""
        if self._since < 0:
            return True
        return t - self._since >= self.period if self.period else by_chance(key, t, self.p)

    def drawn(self, t: int, fresh: bool) -> tuple[Draw, ...]:
        """The draws of a refresh, or of another step."""
        if fresh:
            return tuple(Draw(t, i) for i in range(self.first or self.n))
        start = -(-self.first // self.n) * self.n  # a multiple of n: blocks of n draws stay whole
        return tuple(Draw(t, start + i) for i in range(self.n))

    def rounds(self, t: int, now: Now) -> Generator[list[Point], Losses, tuple[Draw, ...]]:
        if self.due(t, now.key):
            draws = self.drawn(t, True)
            yield estimate(draws, now.eps, self.central, self.big)
            return draws
        draws = self.drawn(t, False)
        here = estimate(draws, now.eps, self.central)
        yield here + estimate(draws, now.eps, self.central, origin=self.place)
        return draws

    def observe(self, record: Record) -> None:
        if record.extra:
            self._since = record.t

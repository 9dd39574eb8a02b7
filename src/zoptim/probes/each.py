"""One draw an example: the j-th example of the batch is asked at theta +- eps z_j, and nowhere else (GRZO, arXiv 2606.02857).

2n points of one example each: with n the batch size, two forwards in all, and n directions looked along.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from ..protocols import Draw, Losses, Now, Point, Record, own


@dataclass(frozen=True)
class EachExample:
    """Points in the order +1, -1, +2, -2, ..., the j-th pair on the batch's j-th example.

    Args:
        n: examples, the batch size.

    Cost: 2 forwards, of a batch of n.
    """

    n: int
    forwards = 2

    @property
    def examples(self) -> int:
        """The batch size it needs."""
        return self.n

    def rounds(self, t: int, now: Now) -> Generator[list[Point], Losses, tuple[Draw, ...]]:
        draws = tuple(Draw(t, i) for i in range(self.n))
        yield [Point(((z, s * now.eps),), own(z.i)) for z in draws for s in (1.0, -1.0)]
        return draws

    def observe(self, record: Record) -> None:
        """Nothing to keep."""

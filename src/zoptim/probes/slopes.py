"""Slopes along random directions, asked exactly: forward gradients (arXiv 2202.08587)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from ..protocols import BATCH, Draw, Losses, Now, Point, Record


@dataclass(frozen=True)
class Tangents:
    """The loss, then its slope along each of n draws: 1 + n points a step, in that order.

    Cost: 1 + 2n forwards, a slope counted as two.
    """

    n: int = 1
    order = 1
    base = 0

    @property
    def forwards(self) -> int:
        return 1 + 2 * self.n

    def rounds(self, t: int, now: Now) -> Generator[list[Point], Losses, tuple[Draw, ...]]:
        draws = tuple(Draw(t, i) for i in range(self.n))
        yield [Point(()), *(Point(((z, 1.0),), BATCH, 1) for z in draws)]
        return draws

    def observe(self, record: Record) -> None:
        """Nothing to keep."""

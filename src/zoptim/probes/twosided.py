"""Antithetic probes: theta + eps z_i and theta - eps z_i for n draws (SPSA; MeZO, arXiv 2305.17333)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from ..protocols import Draw, Losses, Now, Point, Record


@dataclass(frozen=True)
class TwoSided:
    """2n points a step, in the order +1, -1, +2, -2, ...

    Cost: 2n forwards.
    """

    n: int = 1

    @property
    def forwards(self) -> int:
        return 2 * self.n

    def rounds(self, t: int, now: Now) -> Generator[list[Point], Losses, tuple[Draw, ...]]:
        draws = tuple([Draw(t, i) for i in range(self.n)])
        yield [Point(((z, side),)) for z in draws for side in (now.eps, -now.eps)]
        return draws

    def observe(self, record: Record) -> None:
        """Nothing to keep."""


@dataclass(frozen=True)
class ThreePoint:
    """The points of `TwoSided`, then theta itself: what second differences need (HiZOO, arXiv 2402.15173).

    Cost: 2n + 1 forwards.
    """

    n: int = 1
    base = -1

    @property
    def forwards(self) -> int:
        return 2 * self.n + 1

    def rounds(self, t: int, now: Now) -> Generator[list[Point], Losses, tuple[Draw, ...]]:
        draws = tuple(Draw(t, i) for i in range(self.n))
        yield [Point(((z, s * now.eps),)) for z in draws for s in (1.0, -1.0)] + [Point(())]
        return draws

    def observe(self, record: Record) -> None:
        """Nothing to keep."""

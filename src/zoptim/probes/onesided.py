"""Forward probes: the point theta itself, then theta + eps z_i for n draws (FZOO, arXiv 2506.09034)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from ..protocols import Draw, Losses, Now, Point, Record


@dataclass(frozen=True)
class OneSided:
    """n + 1 points a step: the first is where we stand.

    Cost: n + 1 forwards.
    """

    n: int = 8
    base = 0

    @property
    def forwards(self) -> int:
        return self.n + 1

    def rounds(self, t: int, now: Now) -> Generator[list[Point], Losses, tuple[Draw, ...]]:
        draws = tuple(Draw(t, i) for i in range(self.n))
        yield [Point(())] + [Point(((z, now.eps),)) for z in draws]
        return draws

    def observe(self, record: Record) -> None:
        """Nothing to keep."""

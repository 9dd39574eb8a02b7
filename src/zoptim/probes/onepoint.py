"""One point a draw: what can be asked where no two questions meet the same function (bandit feedback).

OnePoint    theta + eps z_i for n draws, and nothing to compare with (Flaxman, Kalai and McMahan 2005)
Residual    theta + eps z_t, compared with the point of the step before (arXiv 2006.10820)

Not here: what the answers weigh (`coefficients.onepoint`).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

from ..protocols import Draw, Losses, Now, Point, Record


@dataclass(frozen=True)
class OnePoint:
    """n points a step.

    Cost: n forwards.
    """

    n: int = 1
    alone = True  # nothing is asked to compare with

    @property
    def forwards(self) -> int:
        return self.n

    def rounds(self, t: int, now: Now) -> Generator[list[Point], Losses, tuple[Draw, ...]]:
        draws = tuple(Draw(t, i) for i in range(self.n))
        yield [Point(((z, now.eps),)) for z in draws]
        return draws

    def observe(self, record: Record) -> None:
        """Nothing to keep."""


@dataclass
class Residual:
    """One point a step; theta besides where no finite loss came before: the first step is a forward difference.

    Cost: 1 forward; the first step 2.
    """

    forwards = 1
    alone = True
    _before: bool = field(default=False, init=False, repr=False)

    def rounds(self, t: int, now: Now) -> Generator[list[Point], Losses, tuple[Draw, ...]]:
        z = Draw(t, 0)
        yield [Point(((z, now.eps),))] + ([] if self._before else [Point(())])
        return (z,)

    def observe(self, record: Record) -> None:
        self._before = follows(record)


def follows(record: Record) -> bool:
    """Whether the step after this one compares with its point."""
    return bool(record.losses) and abs(record.losses[0]) < float("inf")

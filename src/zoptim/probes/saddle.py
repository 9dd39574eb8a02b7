"""Probes that leave saddle points: coordinate differences where we stand, then beside it, to feel for negative curvature.

    look     x +- eps e_j, all j                 the gradient; where it is small, feeling begins
    feel     x + w +- eps e_j                    w <- w - lr (grad f(x + w) - grad f(x)): grows along curvature below 0
    leap     x + w, x - w scaled, and x          to the lower of the two

Which of them step t is, the step before has decided and its record's `extra` begins with: `coefficients.Escape`.

ZO-NCF, arXiv 2210.01496 (the plain power iteration of its primitive; the paper's deterministic one is Chebyshev's).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

from ..protocols import Draw, Losses, Now, Point, Record, Vec

LOOK, FEEL, LEAP = 0.0, 1.0, 2.0
W = Vec("w")


@dataclass
class Saddle:
    """Args:
    d: numbers of the parameters.
    reach: |x| of a leap: w is scaled to this length before it is asked.

    Cost: 2d evaluations a look or feel, 3 a leap.
    """

    d: int
    reach: float
    _phase: float = field(default=LOOK, init=False, repr=False)
    _length: float = field(default=1.0, init=False, repr=False)  # |w|

    @property
    def forwards(self) -> int:
        return 2 * self.d

    def rounds(self, t: int, now: Now) -> Generator[list[Point], Losses, tuple[Draw | Vec, ...]]:
        if self._phase == LEAP:
            s = self.reach / self._length
            yield [Point(((W, s),)), Point(((W, -s),)), Point(())]
            return (W,)
        draws = tuple(Draw(t, j) for j in range(self.d))
        start = ((W, 1.0),) if self._phase == FEEL else ()
        yield [Point((*start, (z, s * now.eps))) for z in draws for s in (1.0, -1.0)]
        return draws

    def observe(self, record: Record) -> None:
        self._phase = record.extra[0] if record.extra else LOOK
        if len(record.extra) > 1:
            self._length = record.extra[1]

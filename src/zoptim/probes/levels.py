"""Probes of a problem in a problem: min over x of F(x, y*(x)), y*(x) = argmin over y of G(x, y)  (arXiv 2404.00158).

    inner steps    G at y +- eps v                                                           y follows x
    solve steps    G at y +- eps v and where we stand; F at y +- eps v'                      w -> H_yy^-1 grad_y F
    outer step     F at x +- eps u; G at (x, y) +- eps (u, v) and where we stand             x moves

F is the first component of the objective and G the second: `Point.items` is `own(0)` or `own(1)`.  What the answers
weigh is `coefficients.Levels`'.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

from ..protocols import Draw, Losses, Now, Point, Record, own

UPPER, LOWER = own(0), own(1)
Phase = Literal["inner", "solve", "outer"]
SIGNS = (1.0, -1.0)


@dataclass(frozen=True)
class Levels:
    """`inner` + `solve` steps, then one of x.

    Args:
        inner, solve: steps of their kinds.
        n: draws a step, of each vector.

    Cost: evaluations of one function at one point: 2n in an inner step, 4n + 1 in a solve step, 4n + 1 in the outer one.
    """

    inner: int = 10
    solve: int = 10
    n: int = 1
    second = True  # some of its differences are

    @property
    def forwards(self) -> float:
        steps = self.inner + self.solve + 1
        return (2 * self.n * self.inner + (4 * self.n + 1) * (self.solve + 1)) / steps

    def phase(self, t: int) -> Phase:
        k = t % (self.inner + self.solve + 1)
        return "inner" if k < self.inner else "solve" if k < self.inner + self.solve else "outer"

    def rounds(self, t: int, now: Now) -> Generator[list[Point], Losses, tuple[Draw, ...]]:
        v = tuple(Draw(t, i, "y") for i in range(self.n))
        if self.phase(t) == "inner":
            yield [Point(((z, s * now.eps),), LOWER) for z in v for s in SIGNS]
            return v
        if self.phase(t) == "solve":
            other = tuple(Draw(t, self.n + i, "y") for i in range(self.n))
            yield [
                *(Point(((z, s * now.eps),), LOWER) for z in v for s in SIGNS),
                *(Point(((z, s * now.eps),), UPPER) for z in other for s in SIGNS),
                Point((), LOWER),
            ]
            return v + other
        u = tuple(Draw(t, i, "x") for i in range(self.n))
        yield [
            *(Point(((z, s * now.eps),), UPPER) for z in u for s in SIGNS),
            *(
                Point(((a, s * now.eps), (b, s * now.eps)), LOWER)
                for a, b in zip(u, v, strict=True)
                for s in SIGNS
            ),
            Point((), LOWER),
        ]
        return u + v

    def observe(self, record: Record) -> None:
        """Nothing to keep."""

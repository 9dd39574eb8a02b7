"""Probes of a problem in a problem: min over x of F(x, y*(x)), y*(x) = argmin over y of G(x, y)  (arXiv 2404.00158).

    inner steps    G at y +- eps v                                                           y follows x
    solve steps    F at y +- eps v'; G at y +- eps v +- eps w                                w -> H_yy^-1 grad_y F
    outer step     F at x +- eps u;  G at (x +- eps u, y +- eps w)                           x moves

or, as the paper has it ("drawn"), G at y +- eps v, at (x, y) +- eps (u, v), and where we stand.  F is the first component of the objective and G the second: `Point.items` is `own(0)` or `own(1)`.  What the answers
weigh is `coefficients.Levels`'.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

from ..protocols import Draw, Losses, Now, Point, Record, Term, Vec, own

UPPER, LOWER = own(0), own(1)
Phase = Literal["inner", "solve", "outer"]
Products = Literal["along", "drawn"]
W = Vec("w")
SIGNS = (1.0, -1.0)


@dataclass(frozen=True)
class Levels:
    """`inner` + `solve` steps, then one of x.

    Args:
        inner, solve: steps of their kinds.
        n: draws a step, of each vector.
        products: where G's second derivatives times w are felt: "along" w itself, or along draws that w weighs.

    Cost: evaluations of one function at one point: 2n in an inner step, 6n in others (drawn: 4n + 1).
    """

    inner: int = 10
    solve: int = 10
    n: int = 1
    products: Products = "along"
    second = True  # some of its differences are

    @property
    def forwards(self) -> float:
        steps = self.inner + self.solve + 1
        product = 6 * self.n if self.products == "along" else 4 * self.n + 1
        return (2 * self.n * self.inner + product * (self.solve + 1)) / steps

    def phase(self, t: int) -> Phase:
        k = t % (self.inner + self.solve + 1)
        return "inner" if k < self.inner else "solve" if k < self.inner + self.solve else "outer"

    def rounds(self, t: int, now: Now) -> Generator[list[Point], Losses, tuple[Draw, ...]]:
        v = tuple(Draw(t, i, "y") for i in range(self.n))
        if self.phase(t) == "inner":
            yield [Point(((z, s * now.eps),), LOWER) for z in v for s in SIGNS]
            return v
        mine = v if self.phase(t) == "solve" else tuple(Draw(t, i, "x") for i in range(self.n))
        other = tuple(Draw(t, self.n + i, "y") for i in range(self.n)) if self.phase(t) == "solve" else mine
        slopes = [Point(((z, s * now.eps),), UPPER) for z in other for s in SIGNS]
        if self.products == "along":
            yield slopes + [
                Point(((z, s * now.eps), (W, r * now.eps)), LOWER) for z in mine for r in SIGNS for s in SIGNS
            ]
            return mine if other is mine else mine + other
        pairs: list[tuple[Draw, ...]] = [(z,) for z in v] if mine is v else list(zip(mine, v, strict=True))
        yield [
            *slopes,
            *(Point(_step(pair, s * now.eps), LOWER) for pair in pairs for s in SIGNS),
            Point((), LOWER),
        ]
        return v + other if mine is v else mine + v

    def observe(self, record: Record) -> None:
        """Nothing to keep."""


def _step(draws: tuple[Draw, ...], eps: float) -> tuple[Term, ...]:
    return tuple((z, eps) for z in draws)

"""Conservative probes: a two-sided pair, then the step it suggests and its opposite, before either is taken.

    c = (L(theta + eps z) - L(theta - eps z)) / (2 eps);   then L(theta - lr c z) and L(theta + lr c z)

ZO-SGD-Cons of ZO-Bench, arXiv 2402.11592; which of the three places is taken is `coefficients.Best`'s.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from ..protocols import Draw, Losses, Now, Point, Record


@dataclass(frozen=True)
class Conservative:
    """Points: +eps z, -eps z, theta; then theta - lr c z, theta + lr c z.  Cost: 5 forwards."""

    forwards = 5
    base = 2
    fine = True  # lr c is closer than half precision can tell apart

    def rounds(self, t: int, now: Now) -> Generator[list[Point], Losses, tuple[Draw, ...]]:
        z = Draw(t, 0)
        losses = yield [Point(((z, now.eps),)), Point(((z, -now.eps),)), Point(())]
        step = now.lr * float(losses[0] - losses[1]) / (2.0 * now.eps)
        yield [Point(((z, -step),)), Point(((z, step),))]
        return (z,)

    def observe(self, record: Record) -> None:
        """Nothing to keep."""

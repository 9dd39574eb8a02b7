"""Probes of stochastic variance reduction: the same direction here and at an anchor (MeZO-SVRG, arXiv 2404.08080).

    every q steps   theta_bar = theta;  theta +- eps z_0 on a large sample            -> c_full
    else            theta +- eps z_t and theta_bar +- eps z_t on the step's batch     -> c_t, c_bar_t

The anchor is no copy: it is theta minus the moves made since, at most q of them, whose directions are regenerated;
to rounding the weights of then.  For memoryless directions and plain descent.  Not here: what the answers weigh
(`coefficients.Anchored`).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

from ..protocols import Draw, Losses, Now, Point, Record, Term, many


@dataclass
class AnchoredProbe:
    """Cost: (2 sample + 4 (period - 1)) / period forwards a step in the mean.

    Args:
        period: q, steps from anchor to anchor.
        sample: batches the anchor's difference is taken over.
    """

    period: int = 2
    sample: int = 8
    n = 1  # draws a step
    fine = True  # the anchor lies closer than half precision can tell apart
    _since: list[Term] = field(default_factory=list, init=False, repr=False)  # theta_bar - theta
    _anchor: int = field(default=-1, init=False, repr=False)  # step the anchor was set at; -1: none in force

    @property
    def forwards(self) -> float:
        return (2 * self.sample + 4 * (self.period - 1)) / self.period

    @property
    def held(self) -> float:
        """Steps an anchor serves."""
        return float(self.period)

    def due(self, t: int, key: int = 0) -> bool:
        """Whether step t sets the anchor."""
        return self._anchor < 0 or t - self._anchor >= self.period

    def rounds(self, t: int, now: Now) -> Generator[list[Point], Losses, tuple[Draw, ...]]:
        z, signs = Draw(t, 0), (now.eps, -now.eps)
        if self.due(t):
            yield [Point(((z, s),), many(self.sample)) for s in signs]
            return (z,)
        here = [Point(((z, s),)) for s in signs]
        yield here + [Point((*self._since, (z, s))) for s in signs]
        return (z, Draw(self._anchor, 0))

    def observe(self, record: Record) -> None:
        if self.due(record.t):
            self._anchor, self._since = record.t, []
        if record.kind == "move":
            self._since += [(z, record.lr * c) for z, c in record.terms]

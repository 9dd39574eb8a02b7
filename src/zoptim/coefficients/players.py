"""Differences of a game, y's upward and `ratio` times longer (`probes.players`).

Opposed    each player's mean of two-sided ones; only the last pairs count, of the round that the step is taken from
Carried    each player's estimate in a vector of its own, carried along by differences between neighboring places
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..protocols import HERE, Record, Term, Track, Vec, Weighing


@dataclass(frozen=True)
class Opposed:
    """c_i = (L+ - L-) / (2 eps n) for the n draws of x, -ratio times that for those of y."""

    ratio: float = 1.0

    def weigh(self, w: Weighing) -> Weighing:
        last = w.losses[-2 * len(w.draws) :]
        c = (last[0::2] - last[1::2]) / (2.0 * w.eps)
        mine = np.array([getattr(z, "group", "") == "y" for z in w.draws])
        weight = np.where(mine, -self.ratio / max(1, mine.sum()), 1.0 / max(1, (~mine).sum()))
        return w.weighed(c * weight)

    def observe(self, record: Record) -> None:
        """Stateless."""


@dataclass(frozen=True)
class Carried:
    """SPIDER's estimate of both players (`recursive.Storm` at a = 0), of which one moves a step.

        refresh   vx, vy <- sums of x's and y's quotients along all coordinates
        else      vx, vy <- vx, vy + means of the differences between here and the previous place
        then      x moves along vx at the first of `ascents` + 1 steps, y along -ratio vy at the others

    arXiv 2006.09361.
    """

    ratio: float = 1.0
    ascents: int = 1

    def weigh(self, w: Weighing) -> Weighing:
        n = len(w.draws)
        slopes = [
            (part[1:] - part[0]) / w.eps for part in (w.losses[: n + 1], w.losses[n + 1 :]) if len(part)
        ]
        fresh = len(slopes) == 1
        c = slopes[0] if fresh else slopes[0] - slopes[1]
        tracks: list[Track] = []
        for who in ("x", "y"):
            mine = [k for k, z in enumerate(w.draws) if getattr(z, "group", "") == who]
            share = 1.0 if fresh else 1.0 / len(mine)
            terms: tuple[Term, ...] = tuple((w.draws[k], float(c[k]) * share) for k in mine)
            tracks.append((f"v{who}", terms if fresh else ((Vec(f"v{who}"), 1.0), *terms)))
        tracks.append(("previous", ((HERE, 1.0),)))
        mover, weight = (Vec("vx"), 1.0) if w.t % (self.ascents + 1) == 0 else (Vec("vy"), -self.ratio)
        extra = (1.0,) if fresh else ()
        return w.but(draws=(mover,), coefs=np.array([weight]), tracks=tuple(tracks), extra=extra)

    def observe(self, record: Record) -> None:
        """Stateless: the vectors are the engine's to keep."""

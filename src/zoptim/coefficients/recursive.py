"""What the answers of `probes.Recursive` weigh: an estimate held in the vector v and corrected by differences.

With c_i the quotients here and c'_i those at the place held on to, along the same z_i on the same components:

    refresh   v <- sum_i c_i z_i;   the place <- x                                     all of them
    Spider    v <- v + sum_i (c_i - c'_i) z_i;   the place <- x;   along v               SPIDER, PAGE
    Storm     v <- (1 - a) v + sum_i (c_i - (1 - a) c'_i) z_i;   the place <- x;   along v
    Svrg      along v + sum_i (c_i - c'_i) z_i;   v and the place stay

A refresh leaves a mark in the record's `extra`.  Quotients are means over n draws, or sums where the draws are all
coordinates (`total`).

Papers: SVRG 1805.10367, 1910.12166; SPIDER 1910.12166; PAGE 2008.10898; STORM 1905.10018.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..protocols import HERE, Record, Term, Track, Vec, Weighing

V = Vec("v")


@dataclass(frozen=True)
class Held:
    """What the three share.

    Args:
        central: as of the probe.
        total: quotients of coordinates are summed, of random draws averaged; (of a refresh, of other steps).
        place: as of the probe.
    """

    central: bool = False
    total: tuple[bool, bool] = (False, False)
    place: str = "previous"

    def weigh(self, w: Weighing) -> Weighing:
        n = len(w.draws)
        size = 2 * n if self.central else n + 1
        if len(w.losses) == size:
            v = self._sum(w, self._quotients(w, w.losses, 0))
            tracks: tuple[Track, ...] = (("v", v), (self.place, ((HERE, 1.0),)))
            return w.but(draws=(V,), coefs=np.ones(1), tracks=tracks, extra=(1.0,))
        here, there = (self._quotients(w, part, 1) for part in (w.losses[:size], w.losses[size:]))
        return self.correct(w, here, there)

    def correct(self, w: Weighing, here: np.ndarray, there: np.ndarray) -> Weighing:
        """A step between refreshes."""
        raise NotImplementedError

    def _quotients(self, w: Weighing, losses: np.ndarray, kind: int) -> np.ndarray:
        if self.central:
            c = (losses[0::2] - losses[1::2]) / (2.0 * w.eps)
        else:
            c = (losses[1:] - losses[0]) / w.eps
        mean: np.ndarray = c if self.total[kind] else c / len(w.draws)
        return mean

    @staticmethod
    def _sum(w: Weighing, c: np.ndarray) -> tuple[Term, ...]:
        return tuple((z, float(x)) for z, x in zip(w.draws, c, strict=True))

    def observe(self, record: Record) -> None:
        """Stateless: v and the place are the engine's to keep."""


@dataclass(frozen=True)
class Storm(Held):
    """a: how much of the old estimate is forgotten; 0 is SPIDER, 1 keeps nothing."""

    a: float = 0.0

    def correct(self, w: Weighing, here: np.ndarray, there: np.ndarray) -> Weighing:
        keep = 1.0 - self.a
        v: tuple[Term, ...] = ((V, keep), *self._sum(w, here - keep * there))
        return w.but(draws=(V,), coefs=np.ones(1), tracks=(("v", v), (self.place, ((HERE, 1.0),))))


@dataclass(frozen=True)
class Svrg(Held):
    """The anchor's estimate, and the difference to it on the step's batch."""

    place: str = "anchor"

    def correct(self, w: Weighing, here: np.ndarray, there: np.ndarray) -> Weighing:
        return w.but(draws=(V, *w.draws), coefs=np.concatenate([[1.0], here - there]))


@dataclass(frozen=True)
class Tracker(Svrg):
    """SVRG whose anchor is measured along two draws instead of all coordinates: the averaging trick of ZPDVR.

        refresh, with all of the sum at x and draws u, u0:
            h <- h + (D_u - <u, h>) / (d + 2) u;   v <- h + (D_u0 - <u0, h>) u0;   the anchor <- x

    h closes in on the gradient at the anchor, E|grad - h|^2 falling by 1 - 1/(d + 2) a refresh, and v is without bias
    whatever h is.  2405.17761.
    """

    def weigh(self, w: Weighing) -> Weighing:
        if len(w.losses) != 3:
            return super().weigh(w)
        (u, u0), h = w.draws, Vec("h")
        slope, slope0 = self._quotients(w, w.losses, 0)
        gain = (slope - w.dot(((u, 1.0),), ((h, 1.0),))) / (w.size + 2)
        moved: tuple[Term, ...] = ((h, 1.0), (u, gain))
        rest = slope0 - w.dot(((u0, 1.0),), moved)
        tracks: tuple[Track, ...] = (
            ("h", moved),
            ("v", ((h, 1.0), (u0, rest))),
            (self.place, ((HERE, 1.0),)),
        )
        return w.but(tracks=tracks, extra=(1.0,))

"""Estimates averaged over steps in the vector v, along which the step goes: what makes one draw enough for Frank-Wolfe.

    Averaged     v <- (1 - rho) v + rho g,   rho = min(1, share / (t + 8)^(2/3)),  g = sum_i c_i z_i      SGFFW, 1810.03233
    Coordinates  v <- v + sum_l (c_l - v_l) e_l          each coordinate's last slope            JAGUAR, 2409.10442
    Unbiased     g  = h + d/n sum_l (c_l - h_l) e_l;  h <- h + sum_l (c_l - h_l) e_l     its stochastic form, averaged
    Refined      refresh   v <- h + 1/q sum_j (c_j - <u_j, h>) u_j                                ZSFW-DVR, 2501.07201
                           h <- h + 1/(d + q + 1) sum_j (c_j - <u_j, h>) u_j;   the place <- x
                 else      v <- v + 1/q sum_j (c_j - c'_j) u_j;   the place <- x

Not here: the quotients (`difference`), differences to a place held on to (`recursive`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..protocols import HERE, Coefficients, Record, Term, Track, Vec, Weighing
from .recursive import Storm, V

H = Vec("h")


@dataclass(frozen=True)
class Averaged:
    """Args:
    quotients: of the step's own estimate.
    share: of the first steps; rho falls from min(1, share / 4).
    """

    quotients: Coefficients
    share: float = 4.0

    def weigh(self, w: Weighing) -> Weighing:
        own = self.quotients.weigh(w)
        rho = min(1.0, self.share / (w.t + 8) ** (2 / 3))
        new = tuple((z, rho * float(c)) for z, c in zip(own.draws, own.coefs, strict=True))
        v: Track = ("v", ((V, 1.0 - rho), *new))  # first: the quotients' own tracks change what they stand on
        return own.but(draws=(V,), coefs=np.ones(1), tracks=(v, *own.tracks))

    def observe(self, record: Record) -> None:
        self.quotients.observe(record)


@dataclass(frozen=True)
class Coordinates:
    """Args:
    quotients: of unit vectors, not averaged.
    """

    quotients: Coefficients

    def weigh(self, w: Weighing) -> Weighing:
        own = self.quotients.weigh(w)
        new = tuple(
            (z, float(c) - w.dot(((z, 1.0),), ((V, 1.0),))) for z, c in zip(own.draws, own.coefs, strict=True)
        )
        return own.but(draws=(V,), coefs=np.ones(1), tracks=(("v", ((V, 1.0), *new)),))

    def observe(self, record: Record) -> None:
        self.quotients.observe(record)


@dataclass(frozen=True)
class Unbiased:
    """Args:
    quotients: of unit vectors, n of d chosen with equal chance, not averaged.

    E[d/n sum_l (c_l - h_l) e_l] is the gradient less h: what is remembered takes away variance and adds no bias, where
    `Coordinates` has none of the first kind and the bias of old slopes.
    """

    quotients: Coefficients

    def weigh(self, w: Weighing) -> Weighing:
        own = self.quotients.weigh(w)
        rest = [float(c) - w.dot(((z, 1.0),), ((H, 1.0),)) for z, c in zip(own.draws, own.coefs, strict=True)]
        coefs = np.array([1.0, *(w.size / len(rest) * r for r in rest)])
        h: tuple[Term, ...] = ((H, 1.0), *zip(own.draws, rest, strict=True))
        return own.but(draws=(H, *own.draws), coefs=coefs, tracks=(("h", h),))

    def observe(self, record: Record) -> None:
        self.quotients.observe(record)


@dataclass(frozen=True)
class Refined(Storm):
    """SPIDER's v, made anew from all components along q draws and what h knows already."""

    def weigh(self, w: Weighing) -> Weighing:
        q = len(w.draws)
        if len(w.losses) != q + 1:
            return super().weigh(w)
        known = np.array([w.dot(((z, 1.0),), ((H, 1.0),)) for z in w.draws])
        rest = (w.losses[1:] - w.losses[0]) / w.eps - known
        v: tuple[Term, ...] = ((H, 1.0), *self._sum(w, rest / q))
        h: tuple[Term, ...] = ((H, 1.0), *self._sum(w, rest / (w.size + q + 1)))
        tracks: tuple[Track, ...] = (("v", v), ("h", h), (self.place, ((HERE, 1.0),)))
        return w.but(draws=(V,), coefs=np.ones(1), tracks=tracks, extra=(1.0,))

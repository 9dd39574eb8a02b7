"""Finite differences: from point losses to directional derivatives, averaged over n draws.

Central: c_i = (L_i+ - L_i-) / (2 eps n) for points ordered +1, -1, +2, -2, ...   (MeZO eq. 1, n-SPSA)
Forward: c_i = (L_i - L_0) / (eps n) for points ordered 0, 1, 2, ...
Slopes, CentralSlopes: the same without 1/n, where directions are coordinates: a sum, no mean   (CGE)
so that sum_i c_i z_i estimates the gradient.  On f(x) = g.x both equal z.g / n to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..protocols import Record, Weighing


@dataclass(frozen=True)
class Central:
    """Two-sided difference over the points of `TwoSided` or `ThreePoint`.  Bias O(eps^2)."""

    def weigh(self, w: Weighing) -> Weighing:
        n = len(w.draws)
        return w.weighed((w.losses[0 : 2 * n : 2] - w.losses[1 : 2 * n : 2]) / (2.0 * w.eps * n))

    def observe(self, record: Record) -> None:
        """Stateless."""


@dataclass(frozen=True)
class Forward:
    """One-sided difference over `OneSided` points.  Bias eps/2 z'Hz."""

    def weigh(self, w: Weighing) -> Weighing:
        n = len(w.draws)
        return w.weighed((w.losses[1:] - w.losses[0]) / (w.eps * n))

    def observe(self, record: Record) -> None:
        """Stateless."""


@dataclass(frozen=True)
class Slopes:
    """One-sided difference along each of n coordinates, summed (CGE; DeepZero, arXiv 2310.02025)."""

    def weigh(self, w: Weighing) -> Weighing:
        return w.weighed((w.losses[1:] - w.losses[0]) / w.eps)

    def observe(self, record: Record) -> None:
        """Stateless."""


@dataclass(frozen=True)
class CentralSlopes:
    """Two-sided difference along each of n coordinates, summed: bias O(eps^2), none on a quadratic."""

    def weigh(self, w: Weighing) -> Weighing:
        return w.weighed((w.losses[0::2] - w.losses[1::2]) / (2.0 * w.eps))

    def observe(self, record: Record) -> None:
        """Stateless."""


@dataclass(frozen=True)
class Exact:
    """The slopes themselves, of `Tangents` points: c_i = <grad L, z_i> / n.  No bias."""

    def weigh(self, w: Weighing) -> Weighing:
        return w.weighed(w.losses[1:] / len(w.draws))

    def observe(self, record: Record) -> None:
        """Stateless."""

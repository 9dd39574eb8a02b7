"""Low-rank directions whose every draw is a thin product of its own (EGGROLL, arXiv 2511.16652).

    Z(t, i) = U V^T / sqrt(r),   U (rows, r) and V (cols, r) both from the draw (t, i)

A sum over n draws has rank n r, so that a population soon moves a matrix in all its directions, where `LowRank` stays
in one subspace for a while.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..protocols import Draw
from .lowrank import LowRank


@dataclass(frozen=True)
class Members(LowRank):
    """`LowRank` with V addressed by the draw; `keep` has no meaning here."""

    rank: int = 1
    keep: int = 1

    def address(self, z: Draw) -> tuple[int, int]:
        return z.t, z.i

"""Low-rank directions with a momentum kept in their subspace (LOZO-M, arXiv 2410.07698).

    probed     Z = U V^T / sqrt(r), as `LowRank`
    applied    N_t V^T / sqrt(r),   N_t = beta N_{t-1} + (1 - beta) sum_i c_i U_i
    renewal    N <- N V_old^T V_new / cols, the least-squares projection, as V^T V is about cols I

N, (rows, r) numbers a matrix, is the whole memory; vectors keep a plain running mean.  (The published first step has
no 1 - beta, and with keep = 1 it never projects.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .. import kernels
from ..kernels.arrays import settle, wide
from ..kernels.outer import outer
from ..protocols import Array, Draw, Mix, Record, Rows, Slot, State
from .lowrank import LowRank


@dataclass(frozen=True)
class Subspace(LowRank):
    """`LowRank` probes; what is applied is their running mean.

    Args:
        beta: of the running mean, in [0, 1).

    Memory: rank numbers a row of each matrix, one a number of each vector.
    """

    beta: float = 0.9
    memoryless = False

    @property
    def image(self) -> Mean:
        return Mean(self.rank, self.keep, self.law, beta=self.beta)

    def init(self, slots: Sequence[Slot], key: int, horizon: int = 1) -> State:
        return {"key": key}

    def form(
        self, out: Array, slot: Slot, rows: Rows, mix: Mix, base: Array | None, state: State,
        scale: float = 1.0, at: Array | None = None,
    ) -> None:  # fmt: skip
        super().form(out, slot, rows, mix, base, state["key"], scale, at)

    def factors(self, slot: Slot, mix: Mix, like: Array, state: State) -> tuple[Array, Array] | None:
        if len(slot.shape) < 2:
            return None
        return self._factors(slot, slice(0, slot.shape[0]), slot.shape[0], mix, like, state["key"])

    def learn(self, record: Record, slot: Slot, p: Array, state: State) -> None:
        mix = Mix.of(record.terms)
        mean = self.mean(slot, slice(0, p.shape[0]), p.shape[0], mix, p, state)
        state[slot.id] = (mean, self.address(mix.draws[0])[0])

    def mean(self, slot: Slot, rows: Rows, count: int, mix: Mix, like: Array, state: State) -> Array:
        """(rows, r): N after a step of these terms; of a vector (rows, 1)."""
        width = self.rank if len(slot.shape) > 1 else 1
        new = wide(like, (1, count, width))
        kernels.form(
            new, None, law=self.law, key=state["key"], slot=slot.id, rows=rows,
            draws=[(z.t, z.i) for z in mix.draws], coefs=mix.coefs, scale=1.0 - self.beta,
        )  # fmt: skip
        if slot.id in state:
            before, period = state[slot.id]
            old = before[rows] + 0.0
            if len(slot.shape) > 1 and period != self.address(mix.draws[0])[0]:
                old = self._projected(old, slot, period, mix.draws[0], state["key"])
            old *= self.beta
            new[0] += old
        return new[0]

    def _projected(self, old: Array, slot: Slot, period: int, z: Draw, key: int) -> Array:
        """N V_old^T V_new / cols, by ordered products."""
        was = self.transposed(slot, (period, 0), old, key)
        now = self.transposed(slot, self.address(z), old, key)
        inner, moved = wide(old, (1, self.rank, self.rank)), wide(old, (1, *old.shape))
        columns = wide(old, (was.shape[1], self.rank))
        columns[:] = now.T
        outer(inner, None, was[None], columns, 1.0 / was.shape[1])
        outer(moved, None, old[None], inner[0], 1.0)
        return moved[0]


@dataclass(frozen=True)
class Mean(Subspace):
    """N_t V^T / sqrt(r) for the terms of step t: the image of `Subspace`."""

    def form(
        self, out: Array, slot: Slot, rows: Rows, mix: Mix, base: Array | None, state: State,
        scale: float = 1.0, at: Array | None = None,
    ) -> None:  # fmt: skip
        mean = self.mean(slot, rows, out.shape[1], mix, out, state)
        if len(slot.shape) > 1:
            mean *= 1.0 / math.sqrt(self.rank)
            vt = self.transposed(slot, self.address(mix.draws[0]), out, state["key"])
            outer(out, base, mean[None], vt, scale)
            return
        settle(out[0], mean, base, scale)

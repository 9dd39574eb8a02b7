"""Directions scaled by a learned diagonal curvature: z = u / sqrt(H) (HiZOO, arXiv 2402.15173).

    h = |L+ + L- - 2 L0| / (2 eps^2) * H u^2,     H <- (1 - alpha) H + alpha h,     H_0 = 1

`Curved` keeps H whole; `CurvedRowsCols` keeps its row and column means, H ~ r c' / mean(r) (HiZOO-L).  H moves only
after a step that used it was applied.  The second difference over 2 eps^2 is the first of the record's `extra`, one
a draw (`coefficients.Curvature`); h is the mean over draws.

`CurvedCentered` estimates by the identity behind the method, whose diagonal is unbiased:
h = (L+ + L- - 2 L0) / (2 eps^2) * H (u^2 - 1).  The printed one leaves out the -1 and takes the absolute value, so it
follows the trace more than the diagonal.  As that h may be negative, H is kept above FLOOR.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..kernels.arrays import sqrt_, wide
from ..protocols import Array, Draw, Mix, Record, Rows, Slot, State, chunks
from .dense import Dense, Law
from .scaled import form_scaled

CHUNK = 1 << 20  # elements of u^2 formed at once
FLOOR = 1e-3  # least H of the centered estimate


@dataclass(frozen=True)
class Curved:
    """u / sqrt(H), H a number a weight, float32 or wider.

    Args:
        alpha: share of a new estimate in H.
        law: of u.

    Memory: one number a weight, and a scratch of the size formed.
    """

    alpha: float = 1e-8
    law: Law = "normal"
    memoryless = False
    scope: Literal["rows", "slot"] = "rows"
    vectors = 1

    def init(self, slots: Sequence[Slot], key: int, horizon: int = 1) -> State:
        return {"key": key}

    def form(
        self, out: Array, slot: Slot, rows: Rows, mix: Mix, base: Array | None, state: State,
        scale: float = 1.0, at: Array | None = None,
    ) -> None:  # fmt: skip
        h = self.diagonal(slot, rows, state)
        over = None if h is None else 1.0 / sqrt_(h + 0.0)
        form_scaled(Dense(self.law), over, out, slot, rows, mix, base, state["key"], scale)

    def diagonal(self, slot: Slot, rows: Rows, state: State) -> Array | None:
        """H of these rows; None: 1 everywhere."""
        h = state.get(slot.id)
        return None if h is None else h[rows]

    def learn(self, record: Record, slot: Slot, p: Array, state: State) -> None:
        if self.alpha == 0.0:
            return
        h = state.get(slot.id)
        if h is None:
            h = state[slot.id] = wide(p, p.shape)
            h[:] = 1.0
        for rows in chunks(p.shape[0], p.shape[1], CHUNK):
            new = self.estimate(record, slot, rows, h[rows], state)
            new *= self.alpha
            h[rows] *= 1.0 - self.alpha
            h[rows] += new
            self.bound(h[rows])

    def estimate(self, record: Record, slot: Slot, rows: slice, h: Array, state: State) -> Array:
        """The estimate of H's rows, the mean over the record's draws."""
        draws = [z for z, _ in record.terms if isinstance(z, Draw)]
        mean, u = wide(h, h.shape), wide(h, (1, *h.shape))
        mean[:] = 0.0
        for z, second in zip(draws, record.extra, strict=True):
            Dense(self.law).form(u, slot, rows, Mix.of(((z, 1.0),)), None, state["key"])
            u *= u
            self.weigh(u, second / len(draws))
            mean += u[0]
        mean *= h
        return mean

    def weigh(self, squares: Array, second: float) -> None:
        """u^2 to the estimate over H, in place."""
        squares *= abs(second)

    def bound(self, h: Array) -> None:
        """Keep H usable, in place: as printed it cannot fall to 0."""


@dataclass(frozen=True)
class CurvedCentered(Curved):
    """`Curved` with the centered, signed estimate."""

    def weigh(self, squares: Array, second: float) -> None:
        squares -= 1.0
        squares *= second

    def bound(self, h: Array) -> None:
        h[:] = h.clip(FLOOR)


@dataclass(frozen=True)
class CurvedRowsCols(Curved):
    """u / sqrt(r c' / mean(r)): H as its row means r and column means c, of matrices; of vectors whole.

    Its sums are the array library's: equal bits on the same machine and threads only.

    Memory: rows + 2 cols numbers a matrix.
    """

    vectors = 0

    def diagonal(self, slot: Slot, rows: Rows, state: State) -> Array | None:
        kept = state.get(slot.id)
        if kept is None:
            return None
        r, _, over = kept
        return r[rows][:, None] * over[None]

    def learn(self, record: Record, slot: Slot, p: Array, state: State) -> None:
        if self.alpha == 0.0:
            return
        if slot.id not in state:
            state[slot.id] = [wide(p, (n,)) for n in (p.shape[0], p.shape[1], p.shape[1])]
            for mean in state[slot.id]:
                mean[:] = 1.0
        r, c, over = state[slot.id]
        by_row, by_col = wide(p, r.shape), wide(p, c.shape)
        by_col[:] = 0.0
        for rows in chunks(p.shape[0], p.shape[1], CHUNK):
            now = self.diagonal(slot, rows, state)
            new = self.estimate(record, slot, rows, now, state)
            by_row[rows] = new.mean(1)
            by_col += new.sum(0) / p.shape[0]
        for mean, new in ((r, by_row), (c, by_col)):
            mean *= 1.0 - self.alpha
            mean += self.alpha * new
            self.bound(mean)
        over[:] = c / r.mean()

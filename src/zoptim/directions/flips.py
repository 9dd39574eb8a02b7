"""Directions that are one base with its rows and columns flipped (GRZO, arXiv 2606.02857).

    z_i = U o (r_i s_i^T),   U normal from the step, r_i (rows) and s_i (cols) signs of draw i;   vectors: U o r_i

Any two are uncorrelated, yet a layer need not form them: x z_i^T = ((x o s_i) U^T) o r_i.  Draw i's signs come from
(t, i + 1), U from (t, 0).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .. import kernels
from ..kernels.arrays import settle, wide
from ..kernels.outer import outer
from ..protocols import Array, Draw, Mix, Record, Rows, Slot, State


@dataclass(frozen=True)
class Flips:
    """Memory: none kept; one layer's U while it is used."""

    memoryless = True
    scope: Literal["rows", "slot"] = "rows"
    vectors = 0

    def init(self, slots: Sequence[Slot], key: int, horizon: int = 1) -> State:
        return key

    def form(
        self, out: Array, slot: Slot, rows: Rows, mix: Mix, base: Array | None, state: State,
        scale: float = 1.0, at: Array | None = None,
    ) -> None:  # fmt: skip
        total = wide(out, out.shape)
        total[:] = 0.0
        for t in dict.fromkeys(z.t for z in mix.draws):  # one base a step
            ks = [k for k, z in enumerate(mix.draws) if z.t == t]
            part = wide(out, out.shape)
            r, s = self._signs(slot, rows, out.shape[1], [mix.draws[k] for k in ks], out, state)
            u = wide(out, (len(out), out.shape[1], len(ks)))
            for p, coefs in enumerate(mix.coefs[:, ks].tolist()):
                for j, c in enumerate(coefs):
                    u[p, :, j] = r[:, j] * c
            outer(part, None, u, s, 1.0)
            part *= self._base(slot, rows, out.shape[1], t, out, state)
            total += part
        settle(out, total, base, scale)

    def multiply(
        self, y: Array, x: Array, slot: Slot, mix: Mix, base: Array, state: State, scratch: Array
    ) -> bool:
        """y[p] = x[p] (base + c z_i)^T where every point has at most one draw, all of one step."""
        if (np.count_nonzero(mix.coefs, axis=1) > 1).any() or len({z.t for z in mix.draws}) != 1:
            return False
        n = base.shape[0]
        whole = slice(0, n)
        u = self._base(slot, whole, n, mix.draws[0].t, base, state)
        r, s = self._signs(slot, whole, n, mix.draws, base, state)
        for p, coefs in enumerate(mix.coefs):
            y[p] = x[p] @ base.T
            for k in np.flatnonzero(coefs).tolist():
                moved = (x[p] * s[k]) @ u.T
                moved *= r[:, k] * float(coefs[k])
                y[p] += moved
        return True

    def _base(self, slot: Slot, rows: Rows, count: int, t: int, like: Array, key: int) -> Array:
        """U of these rows."""
        u = wide(like, (1, count, math.prod(slot.shape[1:])))
        kernels.form(
            u, None, law="normal", key=key, slot=slot.id, rows=rows, draws=[(t, 0)], coefs=np.ones((1, 1))
        )
        return u[0]

    def _signs(
        self, slot: Slot, rows: Rows, count: int, draws: Sequence[Draw], like: Array, key: int
    ) -> tuple[Array, Array]:
        """r (rows, k) and s (k, cols): s lies behind r in the stream of (t, i + 1)."""
        n, cols = slot.shape[0] if slot.shape else 1, math.prod(slot.shape[1:])
        r, s = wide(like, (count, len(draws))), wide(like, (len(draws), cols))
        for k, z in enumerate(draws):
            column = wide(like, (1, count))
            for out, where in ((column, rows), (s[k : k + 1], slice(n, n + cols))):
                kernels.form(
                    out, None, law="signs", key=key, slot=slot.id, rows=where, draws=[(z.t, z.i + 1)],
                    coefs=np.ones((1, 1)),
                )  # fmt: skip
            r[:, k] = column[0]
        if len(slot.shape) < 2:
            s[:] = 1.0
        return r, s

    def learn(self, record: Record, slot: Slot, p: Array, state: State) -> None:
        """Nothing to learn: memoryless."""

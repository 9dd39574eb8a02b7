"""Coordinate directions: draw i is the i-th unit vector, counted over the slots in order.

    z_i = e_i,   i in [0, d)

What finite differences, sensitivity measurements and coordinate-wise estimators (CGE) probe along.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..protocols import Array, Mix, Record, Rows, Slot, State


class Coordinate:
    """Unit vectors; state is where each slot's numbering begins.  Memory: none."""

    memoryless = True
    scope: Literal["rows", "slot"] = "rows"
    vectors = 0

    def init(self, slots: Sequence[Slot], key: int, horizon: int = 1) -> State:
        sizes = [int(np.prod(s.shape)) for s in slots]
        return dict(zip([s.id for s in slots], np.cumsum([0, *sizes[:-1]]).tolist(), strict=True))

    def form(
        self,
        out: Array,
        slot: Slot,
        rows: Rows,
        mix: Mix,
        base: Array | None,
        state: State,
        scale: float = 1.0,
        at: Array | None = None,
    ) -> None:
        out[:] = 0 if base is None else base
        cols = out.shape[2]
        numbers = np.arange(rows.start, rows.stop) if isinstance(rows, slice) else np.asarray(rows)
        for k, z in enumerate(mix.draws):
            row, col = divmod(z.i - state[slot.id], cols)
            for r in np.flatnonzero(numbers == row) if z.i >= state[slot.id] else ():
                for p in np.flatnonzero(mix.coefs[:, k]):
                    out[int(p), int(r), col] += scale * float(mix.coefs[p, k])

    def learn(self, record: Record, slot: Slot, p: Array, state: State) -> None:
        """Nothing to learn."""

"""Two laws in one: draws numbered below `d` are the coordinates, the others those of another law.

For methods that take stock along every coordinate now and then, and step along random directions in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..protocols import Array, Directions, Mix, Record, Rows, Slot, State
from .coordinate import Coordinate


@dataclass(frozen=True)
class Either:
    """Draw (t, i) is e_i for i < d, else that of `inner`.  Memory: that of `inner`.

    Args:
        d: numbers of the parameters.
        inner: memoryless directions.
    """

    d: int
    inner: Directions
    memoryless = True
    finite = True  # of the coordinates there are d: different addresses may stand for the same one
    scope: Literal["rows", "slot"] = "rows"
    vectors = 0

    def init(self, slots: Sequence[Slot], key: int, horizon: int = 1) -> State:
        return Coordinate().init(slots, key, horizon), self.inner.init(slots, key, horizon)

    def form(
        self, out: Array, slot: Slot, rows: Rows, mix: Mix, base: Array | None, state: State,
        scale: float = 1.0, at: Array | None = None,
    ) -> None:  # fmt: skip
        low = [k for k, z in enumerate(mix.draws) if z.i < self.d]
        high = [k for k, z in enumerate(mix.draws) if z.i >= self.d]
        if low and high:
            raise ValueError("draws: a sum is of coordinates or of the other law, not of both")
        if low:
            return Coordinate().form(out, slot, rows, mix, base, state[0], scale, at)
        return self.inner.form(out, slot, rows, mix, base, state[1], scale, at)

    def learn(self, record: Record, slot: Slot, p: Array, state: State) -> None:
        """Nothing to learn."""

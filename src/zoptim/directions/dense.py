"""Dense directions: every element of every slot gets its own number, independent of all others.

z ~ Rademacher (law "signs": E z = 0, E z z' = I, fourth moment 1) or z ~ N(0, 1) (law "normal": fourth
moment 3).  Signs have the smaller estimator variance (d - 1 against d + 1 times |grad|^2) and cost one bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from .. import kernels
from ..kernels.product import product
from ..protocols import Array, Mix, Record, Rows, Slot, State

Law: TypeAlias = Literal["signs", "normal"]


@dataclass(frozen=True)
class Dense:
    """The plain law of MeZO ("normal") and FZOO ("signs").  Memory: none; state is the run key."""

    law: Law = "signs"
    memoryless = True
    scope: Literal["rows", "slot"] = "rows"
    vectors = 0

    def init(self, slots: Sequence[Slot], key: int, horizon: int = 1) -> State:
        return key

    def form(
        self, out: Array, slot: Slot, rows: Rows, mix: Mix, base: Array | None, state: State,
        scale: float = 1.0, at: Array | None = None,
    ) -> None:  # fmt: skip
        kernels.form(
            out, base, law=self.law, key=state, slot=slot.id, rows=rows,
            draws=mix.draws, coefs=mix.coefs, scale=scale,
        )  # fmt: skip

    def multiply(
        self, y: Array, x: Array, slot: Slot, mix: Mix, base: Array, state: State, scratch: Array
    ) -> bool:
        """y[p] = x[p] (base + sum of point p)^T; see `kernels.product.product`."""
        if type(self).form is not Dense.form:
            return False  # a subclass that forms otherwise must multiply otherwise
        product(
            y, x, base, scratch, law=self.law, key=state, slot=slot.id,
            draws=mix.draws, coefs=mix.coefs,
        )  # fmt: skip
        return True

    def update(
        self,
        p: Array,
        slot: Slot,
        rows: slice,
        steps: kernels.Steps,
        state: State,
        units: Array | None = None,
    ) -> bool:
        if type(self).form is not Dense.form:
            return False  # a subclass that forms otherwise must update otherwise
        kernels.update_(p, law=self.law, key=state, slot=slot.id, rows=rows, steps=steps, units=units)
        return True

    def learn(self, record: Record, slot: Slot, p: Array, state: State) -> None:
        """Nothing to learn: memoryless."""

"""One block a step: any directions, restricted to the slots of one group, the groups taking turns.

    z'_{t,i} = z_{t,i} in the slots of block t mod G, 0 elsewhere

A draw that names a group belongs to that one.  Every visit of a block has noise of its own, since t differs
(published block-wise code reuses one seed, so that blocks of one shape get the same z).  Not here: what the groups
are; a space names them (`Slot.group`; slots without one are a block together).

Block-wise zeroth-order tuning: arXiv 2402.11592, section on block-wise descent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..kernels import Steps
from ..protocols import Array, Directions, Draw, Mix, Record, Rows, Slot, State, Updates
from .over import Over


@dataclass
class Turns:
    """The inner state, and the blocks in the order of their turns."""

    inner: State
    order: tuple[str, ...]
    kept: dict[str, tuple[Steps, Steps]] = field(
        default_factory=dict
    )  # block -> steps asked, those of the block


@dataclass(frozen=True)
class Blocks(Over):
    """`inner` directions, one block a step.  Memory: that of `inner`."""

    @property
    def law(self) -> str:
        return str(getattr(self.inner, "law", ""))

    def init(self, slots: Sequence[Slot], key: int, horizon: int = 1) -> State:
        return Turns(self.inner.init(slots, key, horizon), tuple(dict.fromkeys(s.group for s in slots)))

    @property
    def begins(self) -> bool:
        return bool(getattr(self.inner, "begins", hasattr(self.inner, "begin")))

    def begin(self, slot: Slot, p: Array, state: Turns) -> None:
        begin = getattr(self.inner, "begin", None)
        if begin:
            begin(slot, p, state.inner)

    def touches(self, slot: Slot, draws: Sequence[Draw], state: Turns) -> np.ndarray:
        """Which of the draws move this slot at all, (k,) bool."""
        mine, order = slot.group, state.order
        return np.fromiter(((z.group or order[z.t % len(order)]) == mine for z in draws), bool, len(draws))

    def grouped(self, state: Turns) -> tuple[Directions, State]:
        return self, state

    def _mine(self, slot: Slot, mix: Mix, state: Turns) -> Mix:
        hit = self.touches(slot, mix.draws, state)
        if hit.all():
            return mix
        return Mix(tuple(z for z, h in zip(mix.draws, hit, strict=True) if h), mix.coefs[:, hit])

    def form(
        self, out: Array, slot: Slot, rows: Rows, mix: Mix, base: Array | None, state: Turns,
        scale: float = 1.0, at: Array | None = None,
    ) -> None:  # fmt: skip
        self.inner.form(out, slot, rows, self._mine(slot, mix, state), base, state.inner, scale, at)

    def multiply(
        self, y: Array, x: Array, slot: Slot, mix: Mix, base: Array, state: Turns, scratch: Array
    ) -> bool:
        inner = getattr(self.inner, "multiply", None)
        mine = self._mine(slot, mix, state)
        return bool(inner and inner(y, x, slot, mine, base, state.inner, scratch))

    def update(
        self, p: Array, slot: Slot, rows: slice, steps: Steps, state: Turns, units: Array | None = None
    ) -> bool:
        if not isinstance(self.inner, Updates):
            return False
        block = slot.group
        if block not in state.kept or state.kept[block][0] is not steps:
            state.kept[block] = steps, Steps(_restricted(self, slot, steps, state))
        mine = state.kept[block][1]
        return not mine or self.inner.update(p, slot, rows, mine, state.inner, units)

    def learn(self, record: Record, slot: Slot, p: Array, state: Turns) -> None:
        self.inner.learn(record, slot, p, state.inner)


Packed = tuple[Sequence[Draw], np.ndarray, float, int]


def _restricted(blocks: Blocks, slot: Slot, steps: Steps, state: Turns) -> list[Packed]:
    """The steps with the draws that move this slot, where any do."""
    found: list[Packed] = []
    for draws, coefs, scale, t in steps:
        mine = blocks._mine(slot, Mix(tuple(draws), np.asarray(coefs)[None]), state)
        if mine.draws:
            found.append((mine.draws, mine.coefs[0], scale, t))
    return found

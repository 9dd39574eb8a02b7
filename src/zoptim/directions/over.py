"""What directions over other directions say of themselves: the same as those, until they say otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..protocols import Directions, Slot, State


@dataclass(frozen=True)
class Over:
    """The part that is `inner`'s own; what forms and what learns is left to each."""

    inner: Directions

    @property
    def memoryless(self) -> bool:
        return self.inner.memoryless

    @property
    def scope(self) -> Literal["rows", "slot"]:
        return self.inner.scope

    @property
    def vectors(self) -> int:
        return self.inner.vectors

    def init(self, slots: Sequence[Slot], key: int, horizon: int = 1) -> State:
        return self.inner.init(slots, key, horizon)

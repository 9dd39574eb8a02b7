"""A rule for each slot by its name: y projected on its set, say, and x free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..protocols import Array, Rule, Stride


@dataclass(frozen=True)
class BySlot:
    """`others` for the slots that are not named.  Memory: the most that one of them keeps."""

    named: Mapping[str, Rule]
    others: Rule

    @property
    def linear(self) -> bool:
        return all(rule.linear for rule in (*self.named.values(), self.others))

    @property
    def scope(self) -> Literal["element", "slot"]:
        return "slot" if "slot" in {r.scope for r in (*self.named.values(), self.others)} else "element"

    @property
    def vectors(self) -> int:
        return max(rule.vectors for rule in (*self.named.values(), self.others))

    def scale(self, lr: float) -> float | None:
        return None

    def apply(self, p: Array, g: Array, stride: Stride, vectors: Sequence[Array]) -> None:
        rule = self.named.get(stride.slot, self.others)
        rule.apply(p, g, stride, vectors[: rule.vectors])

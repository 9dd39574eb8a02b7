"""Coordinates drawn at random: a draw is a unit vector, applied d times as long.

    Sampled      e_l, l uniform: with replacement                      E |step|^2 = (d + q - 1)/q |grad|^2
    Distinct     q different ones a step (`Rotating`, renewed)         E |step|^2 = d/q |grad|^2, 1 from q = d

The mean of q differences, so `Central` and `Forward`.  Not here: a sum over given coordinates (`Rotating` with
`Slopes`; the whole gradient, CGE, with `Coordinate`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..noise import ORDER, uniform_bits
from ..protocols import Draw, Slot, State
from .coordinate import Coordinate, Rotating, Spans
from .stretched import Stretched


@dataclass
class Lot:
    """What coordinates are drawn from."""

    key: int
    spans: Spans
    d: int
    told: tuple[Sequence[Draw], np.ndarray] = ((), np.zeros(0, np.int64))  # the draws asked about last


class Sampled(Coordinate):
    """One coordinate a draw, whatever the other draws are."""

    law = "coordinate"

    @property
    def image(self) -> Stretched:
        return Stretched(self)

    def factor(self, state: State) -> float:
        return float(state.d)

    def init(self, slots: Sequence[Slot], key: int, horizon: int = 1) -> State:
        spans = super().init(slots, key, horizon)
        return Lot(key, spans, sum(map(len, spans.values())))

    def spans(self, state: State) -> Spans:
        return state.spans  # type: ignore[no-any-return]

    def numbers(self, draws: Sequence[Draw], state: State) -> np.ndarray:
        if state.told[0] is not draws:
            numbers = np.fromiter((_uniform(state.key, z) for z in draws), np.float64, len(draws))
            state.told = draws, np.minimum(numbers * state.d, state.d - 1).astype(np.int64)
        told: np.ndarray = state.told[1]
        return told


@dataclass(frozen=True)
class Distinct(Rotating):
    """n coordinates a step, no two the same; where there are fewer, the draws beyond them stand for nothing.

    Args:
        n: draws a step.
    """

    law = "distinct coordinates"

    @property
    def image(self) -> Stretched:
        return Stretched(self)

    def factor(self, state: State) -> float:
        return float(max(self.n, sum(map(len, state.spans.values()))))


def _uniform(key: int, z: Draw) -> float:
    """In [0, 1), from 53 bits of the stream of orders (i = 2: examples have 0, rotating sets 1)."""
    low, high = uniform_bits(key, ORDER, z.t, 2, 0, 2 * z.i, 2).tolist()
    return float((low | high << 32) >> 11) * 2.0**-53

"""Directions around a remembered mean, and the step they are scaled to (ZO-AdaMU, arXiv 2312.15184, algorithm 1).

    z1 ~ N(0, a),  z2 ~ N(m_{t-1}, 1 - a),   m_t = b1 z1 + (1 - b1) z2       what is probed
    v_t = b2 z1^2 + (1 - b2) z2^2,           m_t / sqrt(v_t + 1e-8)          what is applied (the image)

a, b1, b2 are annealed over the run (eq. 7): until T1 pure noise, until T2 down half a cosine, then constant:

    y(t; phi) = 1 | (1 + cos(pi min(1, phi (t - T1)/(T2 - T1)))) / 2 | the end value,    T1 = T/20, T2 = 4T/5

with phi = 1, 0.1, 1.5 and end values 0.5, 0.9, 0.01 for a, b1, b2 as the paper's text has them; a never falls below
its end value.  One evaluation of the schedule a step (the published code's speed depends on the number of tensors),
and the update uses the m that was probed (the published code mixes it anew with other weights).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..kernels.arrays import settle, sqrt_, wide
from ..protocols import Array, Draw, Mix, Record, Rows, Slot, State
from .dense import Dense

FLOOR = 1e-8  # under the root


def annealed(t: int, horizon: int) -> tuple[float, float, float]:
    """(a, b1, b2) at step t of `horizon`.

    Example:
        >>> annealed(0, 100), annealed(90, 100)
        ((1.0, 1.0, 1.0), (0.5, 0.9, 0.01))
    """
    first, second = 0.05 * horizon, 0.8 * horizon
    ends = {1.0: 0.5, 0.1: 0.9, 1.5: 0.01}
    if t < first:
        return 1.0, 1.0, 1.0
    if t >= second:
        return 0.5, 0.9, 0.01
    x = (t - first) / (second - first)
    a, b1, b2 = (max(end, 0.5 + 0.5 * math.cos(math.pi * min(1.0, phi * x))) for phi, end in ends.items())
    return a, b1, b2


@dataclass(frozen=True)
class Remembered:
    """m_t as the direction of draw (t, 0), one draw a step.  Memory: m, one number a weight, and two scratches."""

    memoryless = False
    scope: Literal["rows", "slot"] = "rows"
    vectors = 1

    @property
    def image(self) -> Normed:
        return Normed()

    def init(self, slots: Sequence[Slot], key: int, horizon: int = 1) -> State:
        return {"key": key, "horizon": horizon}

    def form(
        self, out: Array, slot: Slot, rows: Rows, mix: Mix, base: Array | None, state: State,
        scale: float = 1.0, at: Array | None = None,
    ) -> None:  # fmt: skip
        total = wide(out, out.shape)  # out may be base, or of half precision: rounded once
        total[:] = 0.0
        for k, z in enumerate(mix.draws):
            part = self.direction(slot, rows, z, out, state)
            for p, c in enumerate(mix.coefs[:, k]):
                total[p] += part * float(c)
        settle(out, total, base, scale)

    def direction(self, slot: Slot, rows: Rows, z: Draw, like: Array, state: State) -> Array:
        """(rows, cols) of one draw."""
        first, second, b1, _ = self.parts(slot, rows, z, like, state)
        return b1 * first + (1.0 - b1) * second

    def parts(
        self, slot: Slot, rows: Rows, z: Draw, like: Array, state: State
    ) -> tuple[Array, Array, float, float]:
        """z1, z2 of these rows, b1 and b2."""
        a, b1, b2 = annealed(z.t, state["horizon"])
        made = wide(like, (2, *like.shape[1:]))
        for i, part in enumerate(made):
            Dense("normal").form(
                part[None], slot, rows, Mix.of(((Draw(z.t, 2 * z.i + i), 1.0),)), None, state["key"]
            )
        made[0] *= math.sqrt(a)
        made[1] *= math.sqrt(1.0 - a)
        if slot.id in state:
            made[1] += state[slot.id][rows]
        return made[0], made[1], b1, b2

    def learn(self, record: Record, slot: Slot, p: Array, state: State) -> None:
        z = next(z for z, _ in record.terms if isinstance(z, Draw))
        state[slot.id] = self.direction(slot, slice(0, p.shape[0]), z, p[None], state)


@dataclass(frozen=True)
class Normed(Remembered):
    """m_t / sqrt(v_t + 1e-8)."""

    def direction(self, slot: Slot, rows: Rows, z: Draw, like: Array, state: State) -> Array:
        first, second, b1, b2 = self.parts(slot, rows, z, like, state)
        v = b2 * first**2 + (1.0 - b2) * second**2
        return (b1 * first + (1.0 - b1) * second) / sqrt_(v + FLOOR)

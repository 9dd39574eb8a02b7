"""Directions on the l1 sphere, applied by their signs (Akhavan et al., arXiv 2205.13910).

    E_j = n_j^2 + n'_j^2 ~ Exp,   z = d s E / |E|_1 uniform on the l1 sphere of radius d;   applied: s = sign(z)

E z s' = I, so a radius means the same as for signs and normals, in the mean over weights; the paper's h, on the l1
sphere of radius 1, is eps d.  E |<g, z> s|^2 = 2 d^2 / (d + 1) |g|^2: what is gained is not in this number but in the
l1 geometry, where steps are measured by their largest element.

Signs s are those of `Dense`; n and n' lie behind them in the stream of the draw (elements d.. and 2d.. of a slot of
d numbers), so that no logarithm is taken.  |E|_1 runs over all slots and is summed in integers: the same anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from .. import kernels
from ..kernels.arrays import settle, wide
from ..protocols import Array, Draw, Mix, Record, Rows, Slot, State, chunks
from .dense import Dense

SIGNS = Dense("signs")
GRID = 2.0**21  # normals are multiples of 1 / GRID
CHUNK = 1 << 16
NORMS = 1 << 16  # norms that are kept


@dataclass
class Weights:
    """|E|_1 / d of the draws asked for last, inverted."""

    key: int
    slots: tuple[Slot, ...]
    over: dict[tuple[int, int], float] = field(default_factory=dict)


@dataclass(frozen=True)
class L1Sphere:
    """Uniform on the l1 sphere of radius d.

    Memory: none; three scratches of the size formed.
    Cost: of a draw, two normals and a sign; once more the normals, for the norm.
    """

    law = "l1 sphere"
    memoryless = True
    scope: Literal["rows", "slot"] = "rows"
    vectors = 0

    @property
    def image(self) -> SignsOf:
        return SignsOf()

    def init(self, slots: Sequence[Slot], key: int, horizon: int = 1) -> State:
        return Weights(key, tuple(slots))

    def form(
        self, out: Array, slot: Slot, rows: Rows, mix: Mix, base: Array | None, state: State,
        scale: float = 1.0, at: Array | None = None,
    ) -> None:  # fmt: skip
        sums = wide(out, tuple(out.shape))
        sums[:] = 0
        n = slot.shape[0] if slot.shape else 1
        first, second = _shifted(rows, n), _shifted(rows, 2 * n)
        for k, z in enumerate(mix.draws):
            points = np.flatnonzero(mix.coefs[:, k])
            if not len(points):
                continue
            size = _normal(sums, slot, first, z, state.key)
            other = _normal(sums, slot, second, z, state.key)
            size *= size
            other *= other
            size += other
            SIGNS.form(other, slot, rows, Mix.of(((z, 1.0),)), None, state.key)
            size *= other
            over = self.over(z, state)
            for p in points.tolist():
                sums[p] += size[0] * (float(mix.coefs[p, k]) * over)
        for p in range(len(mix.coefs)):
            settle(out[p], sums[p], base, scale)

    def over(self, z: Draw, state: Weights) -> float:
        """d / |E|_1 of a draw."""
        found = state.over.get((z.t, z.i))
        if found is None:
            while len(state.over) >= NORMS:
                del state.over[next(iter(state.over))]
            d = sum(math.prod(s.shape) for s in state.slots)
            total = sum(_square(s, z, state.key) for s in state.slots)
            found = state.over[z.t, z.i] = d * int(GRID**2) / total
        return found

    def learn(self, record: Record, slot: Slot, p: Array, state: State) -> None:
        """Nothing to learn: memoryless."""


@dataclass(frozen=True)
class SignsOf(L1Sphere):
    """sign(z): the image of `L1Sphere`."""

    law = "signs"

    def form(
        self, out: Array, slot: Slot, rows: Rows, mix: Mix, base: Array | None, state: State,
        scale: float = 1.0, at: Array | None = None,
    ) -> None:  # fmt: skip
        SIGNS.form(out, slot, rows, mix, base, state.key, scale)

    def update(
        self, p: Array, slot: Slot, rows: slice, steps: kernels.Steps, state: State,
        units: Array | None = None,
    ) -> bool:  # fmt: skip
        return SIGNS.update(p, slot, rows, steps, state.key, units)


def _normal(like: Array, slot: Slot, rows: Rows, z: Draw, key: int) -> Array:
    """(1, rows, cols) normals of a draw."""
    made = wide(like, (1, *like.shape[1:]))
    kernels.form(
        made, None, law="normal", key=key, slot=slot.id, rows=rows, draws=((z.t, z.i),), coefs=np.ones((1, 1))
    )
    return made


def _square(slot: Slot, z: Draw, key: int) -> int:
    """The sum of n^2 + n'^2 over a slot in units of GRID^-2, exactly."""
    total, d = 0, math.prod(slot.shape)
    for rows in chunks(2 * d, 1, CHUNK):
        n = np.empty((1, rows.stop - rows.start, 1), np.float32)
        kernels.form(
            n, None, law="normal", key=key, slot=slot.id, rows=_shifted(rows, d), draws=((z.t, z.i),),
            coefs=np.ones((1, 1)), scale=GRID,
        )  # fmt: skip
        k = n[0, :, 0].astype(np.int64)
        total += int(k @ k)
    return total


def _shifted(rows: Rows, by: int) -> Rows:
    """The same rows, so many further on."""
    return slice((rows.start or 0) + by, rows.stop + by) if isinstance(rows, slice) else np.asarray(rows) + by

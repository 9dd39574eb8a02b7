"""Directions of one length, and blocks of q of them at right angles: normals, combined with numbers of their own.

    g_1 .. g_q ~ N(0, I) over all slots,   G = their inner products = L L',   z = length L^-1 g    (Gram, Schmidt)

    Spherical     |z_i| = sqrt(d):  E z z' = I, as of normals and signs; a radius means the same for all three laws
    UnitSphere    |z_i| = 1, as papers have it: E z z' = I / d, so d z is applied (its image; see `stretched`)

A block is uniform among orthonormal frames (Haar: QR with a positive diagonal), so the mean of its q estimates has
E |.|^2 = d/q |grad|^2, against (d + q + 1)/q of q normals and 1 + (d - 1)/q of q draws on the sphere alone
(block = 1).  Draw i is the (i mod q)-th of block i // q; nothing wider than d is orthogonal, so q is at most d.

z is a sum of at most q normals, so whatever forms, multiplies or adds those serves.  G is summed in integers
(normals are multiples of 2^-21) and eliminated without a division, so its numbers are the same on every machine,
whatever the order.  Not here: directions tangent to a manifold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from .. import kernels
from ..protocols import Array, Draw, Mix, Record, Rows, Slot, State, Step, chunks
from .dense import Dense
from .stretched import Stretched

NORMAL = Dense("normal")
GRID = 2.0**21  # normals are multiples of 1 / GRID, below 4.4: 2^16 products of two fit 63 bits
CHUNK = 1 << 16
BLOCKS = 1 << 14  # blocks whose numbers are kept


@dataclass
class Frames:
    """What directions over all slots at once need to know, and the numbers of the blocks asked for last."""

    key: int
    slots: tuple[Slot, ...]
    d: int
    blocks: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)
    sums: tuple[Any, float, Any] = (
        None,
        0.0,
        None,
    )  # a mix asked for last, at which length, over the normals
    steps: tuple[Any, float, Any] = (None, 0.0, None)


@dataclass(frozen=True)
class Spherical:
    """Uniform on the sphere of radius sqrt(d).

    Args:
        block: q, draws in a row that are at right angles, at most d of them (1: all are independent).

    Raises:
        ValueError: block is not a whole number from 1.

    Memory: none; q^2 numbers a block.
    Cost: besides that of q normals a draw, once a block their inner products: d q^2 multiplications.
    """

    block: int = 1
    law = "sphere"
    memoryless = True
    scope: Literal["rows", "slot"] = "rows"
    vectors = 0

    def __post_init__(self) -> None:
        if not (isinstance(self.block, int) and self.block >= 1):
            raise ValueError(f"block={self.block!r} must be a whole number from 1")

    def length(self, d: int) -> float:
        return math.sqrt(d)

    def init(self, slots: Sequence[Slot], key: int, horizon: int = 1) -> State:
        return Frames(key, tuple(slots), sum(math.prod(s.shape) for s in slots))

    def form(
        self, out: Array, slot: Slot, rows: Rows, mix: Mix, base: Array | None, state: State,
        scale: float = 1.0, at: Array | None = None,
    ) -> None:  # fmt: skip
        NORMAL.form(out, slot, rows, self.normals(mix, state), base, state.key, scale, at)

    def multiply(
        self, y: Array, x: Array, slot: Slot, mix: Mix, base: Array, state: State, scratch: Array
    ) -> bool:
        return NORMAL.multiply(y, x, slot, self.normals(mix, state), base, state.key, scratch)

    def update(
        self, p: Array, slot: Slot, rows: slice, steps: kernels.Steps, state: State,
        units: Array | None = None,
    ) -> bool:  # fmt: skip
        length = self.length(state.d)
        if state.steps[0] is not steps or state.steps[1] != length:
            made = []
            for draws, coefs, scale, t in steps:
                raw = self.normals(Mix(tuple(draws), np.asarray(coefs)[None]), state)
                made.append(Step(raw.draws, raw.coefs[0], scale, t))
            state.steps = steps, length, kernels.Steps(made)
        return NORMAL.update(p, slot, rows, state.steps[2], state.key, units)

    def normals(self, mix: Mix, state: Frames) -> Mix:
        """The same sums, over normals."""
        length = self.length(state.d)
        if state.sums[0] is not mix or state.sums[1] != length:
            q = min(self.block, state.d)
            index: dict[Draw, int] = {}
            parts: list[tuple[int, int, float]] = []  # draw, normal, how much of it
            for k, z in enumerate(mix.draws):
                first = z.i - z.i % q
                row = self.frame(z.t, first // q, state)[z.i - first]
                for j in range(z.i - first + 1):
                    parts.append((k, index.setdefault(z._replace(i=first + j), len(index)), float(row[j])))
            coefs = np.zeros((len(mix.coefs), len(index)))
            for k, j, share in parts:
                coefs[:, j] += mix.coefs[:, k] * (share * length)
            state.sums = mix, length, Mix(tuple(index), coefs)
        return state.sums[2]  # type: ignore[no-any-return]

    def frame(self, t: int, b: int, state: Frames) -> np.ndarray:
        """L^-1 of a block, (q, q)."""
        if (t, b) not in state.blocks:
            q = min(self.block, state.d)
            products = inner(state, [(t, b * q + j) for j in range(q)])
            while len(state.blocks) >= BLOCKS:
                del state.blocks[next(iter(state.blocks))]
            state.blocks[t, b] = orthonormal(products)
        return state.blocks[t, b]

    def learn(self, record: Record, slot: Slot, p: Array, state: State) -> None:
        """Nothing to learn: memoryless."""


@dataclass(frozen=True)
class UnitSphere(Spherical):
    """Uniform on the unit sphere; what is applied is d z."""

    law = "unit sphere"

    def length(self, d: int) -> float:
        return 1.0

    def factor(self, state: State) -> float:
        return float(state.d)

    @property
    def image(self) -> Stretched:
        return Stretched(self)


def inner(state: Frames, draws: Sequence[tuple[int, int]]) -> list[list[int]]:
    """<g_j, g_k> of normals over all slots in units of GRID^-2, exactly: (q, q) integers."""
    q = len(draws)
    total = [[0] * q for _ in draws]
    for slot in state.slots:
        for rows in chunks(math.prod(slot.shape), 1, CHUNK):
            g = np.empty((q, rows.stop - rows.start, 1), np.float32)
            kernels.form(
                g, None, law="normal", key=state.key, slot=slot.id, rows=rows, draws=draws, coefs=np.eye(q),
                scale=GRID,
            )  # fmt: skip
            k = g[:, :, 0].astype(np.int64)
            part = (k @ k.T).tolist()
            total = [[a + b for a, b in zip(x, y, strict=True)] for x, y in zip(total, part, strict=True)]
    return total


def orthonormal(products: Sequence[Sequence[int]]) -> np.ndarray:
    """L^-1 of the matrix L L' = products / GRID^2, each number rounded once or twice; a row that depends on others is 0.

    Elimination without fractions (Bareiss 1968) of (products | 1): row i ends as m_i times that of the usual one, m_i
    the leading minor of order i, so that (L^-1)_ij = row_ij / sqrt(m_i m_{i+1}).

    Example:
        >>> orthonormal([[4, 2], [2, 2]]) / GRID
        array([[ 0.5,  0. ],
               [-0.5,  1. ]])
    """
    q = len(products)
    rows = [[*row, *(int(i == j) for j in range(q))] for i, row in enumerate(products)]
    found, before = np.zeros((q, q)), 1
    for i in range(q):
        minor = rows[i][i]
        if not minor:
            break
        for j in range(i + 1):
            part = rows[i][q + j]
            size = (
                math.sqrt(part * part / (before * minor)) * GRID
            )  # the integers are beyond floats, not the quotient
            found[i, j] = -size if part < 0 else size
        for k in range(i + 1, q):
            lead = rows[k][i]
            rows[k] = [(minor * a - lead * b) // before for a, b in zip(rows[k], rows[i], strict=True)]
        before = minor
    return found

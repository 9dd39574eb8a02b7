"""Directions along a fixed choice of weights (SensZOQ, arXiv 2406.02913): z is made for those alone.

    z'[positions[j]] = z_j,   j = 0 .. k - 1;   0 elsewhere

`positions` are flat element numbers of a tensor, ascending.  Number j of a tensor's stream belongs to the j-th
position, so a draw costs k numbers, not the tensor's size; where every element is chosen the noise is that of
`Dense`.  Half-precision rounding of `update` is addressed by j too.

`Chosen` is given its positions, which are data of a run (which weights matter is measured in `lm.sensitivity`);
`Choosing` takes them from the initial weights or from the run key.  Not here: masks that follow the weights (`masked`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from .. import kernels, noise
from ..kernels import Steps
from ..kernels.arrays import empty
from ..kernels.product import product
from ..protocols import Array, Mix, Record, Rows, Slot, State
from .dense import Dense

Choice: TypeAlias = Literal["magnitude", "random", "gradient", "activations"]

FORM = 8  # reading and adding a chosen weight's input costs so many times what copying a weight does


@dataclass(frozen=True)
class Chosen:
    """`inner`'s numbers at chosen positions, 0 elsewhere.

    Args:
        inner: the law of z.
        positions: slot id -> (k,) int64, ascending; a slot without does not move.

    Memory: 8 bytes a chosen weight.
    """

    inner: Dense
    positions: Mapping[int, np.ndarray]
    memoryless = True  # the choice is made before the first step and never again
    scope: Literal["rows", "slot"] = "rows"
    vectors = 0

    def init(self, slots: Sequence[Slot], key: int, horizon: int = 1) -> State:
        none = np.empty(0, np.int64)
        return {"key": key, **{s.id: self.positions.get(s.id, none) for s in slots}}

    def form(
        self, out: Array, slot: Slot, rows: Rows, mix: Mix, base: Array | None, state: State,
        scale: float = 1.0, at: Array | None = None,
    ) -> None:  # fmt: skip
        out[:] = 0.0 if base is None else base
        row, col, numbers = _within(state[slot.id], rows, out.shape[2])
        if not len(row):
            return
        old = None if base is None else out[0][row, col][:, None]
        new = empty(out, (len(out), len(row), 1))
        self._numbers(new, old, slot, numbers, mix, state, scale)
        for p in range(len(out)):
            out[p][row, col] = new[p, :, 0]

    def multiply(
        self, y: Array, x: Array, slot: Slot, mix: Mix, base: Array, state: State, scratch: Array
    ) -> bool:
        """y[p] = x[p] base^T + x[p] S_p^T, S_p the few numbers; False: so many inputs that forming is cheaper."""
        positions = state[slot.id]
        if type(self).form is not Chosen.form or len(positions) * x.shape[1] * FORM > math.prod(base.shape):
            return False
        product(y, x, base, scratch, law=self.inner.law, key=0, slot=0, draws=(), coefs=np.zeros((len(y), 0)))
        if len(positions):
            new = np.empty((len(y), len(positions), 1), np.float32)
            self._numbers(new, None, slot, slice(0, len(positions)), mix, state, 1.0)
            row, col = np.divmod(positions, base.shape[1])
            first = np.flatnonzero(np.diff(row, prepend=-1))
            for p, (out, inputs) in enumerate(zip(y.numpy(), x.numpy(), strict=True)):
                if mix.coefs[p].any():
                    out[:, row[first]] += np.add.reduceat(inputs[:, col] * new[p, :, 0], first, axis=1)
        return True

    def _numbers(
        self, new: Array, old: Array | None, slot: Slot, numbers: Rows, mix: Mix, state: State, scale: float
    ) -> None:
        """new (m, k, 1) = old + scale * the sums, of these numbers of the list."""
        kernels.form(
            new, old, law=self.inner.law, key=state["key"], slot=slot.id, rows=numbers,
            draws=[(z.t, z.i) for z in mix.draws], coefs=mix.coefs, scale=scale,
        )  # fmt: skip

    def update(
        self, p: Array, slot: Slot, rows: slice, steps: Steps, state: State, units: Array | None = None
    ) -> bool:
        if type(self).form is not Chosen.form:
            return False  # a subclass that forms otherwise must update otherwise
        row, col, numbers = _within(state[slot.id], rows, p.shape[1])
        if len(row):
            assert isinstance(numbers, slice)  # as rows are
            new = p[row, col][:, None]
            mine = None if units is None else units[row, col][:, None]
            kernels.update_(
                new, law=self.inner.law, key=state["key"], slot=slot.id, rows=numbers, steps=steps, units=mine
            )
            p[row, col] = new[:, 0]
        return True

    def learn(self, record: Record, slot: Slot, p: Array, state: State) -> None:
        """Nothing to learn: the choice is fixed."""


@dataclass(frozen=True)
class Choosing(Chosen):
    """`Chosen`, the positions being chosen as the run begins, tensor by tensor.

    Args:
        density: share of each tensor's elements; at least one.
        choice: the largest by "magnitude", or at "random", one in each of k equal stretches.  What has to be
            measured is not for here.

    Raises:
        ValueError: as the run begins, a choice that has to be measured.

    Memory: 8 bytes a chosen weight; at the start a copy of the largest tensor (by magnitude).
    """

    positions: Mapping[int, np.ndarray] = field(default_factory=dict)
    density: float = 0.001
    choice: Choice = "magnitude"

    def begin(self, slot: Slot, p: Array, state: State) -> None:
        if self.choice == "magnitude":
            state[slot.id] = largest(p, self.density)
        elif self.choice == "random":
            state[slot.id] = anywhere(state["key"], slot, p.shape[0] * p.shape[1], self.density)
        else:
            raise ValueError(
                f"mask={self.choice!r} is measured on training examples, which a fine-tuning run has; here give "
                "'magnitude' or 'random', or positions (directions.Chosen)"
            )


def _within(
    positions: np.ndarray, rows: Rows, cols: int
) -> tuple[np.ndarray, np.ndarray, slice | np.ndarray]:
    """The chosen elements among these rows: (row within them, column, number j)."""
    if isinstance(rows, slice):
        first, last = np.searchsorted(positions, (rows.start * cols, rows.stop * cols)).tolist()
        row, col = np.divmod(positions[first:last], cols)
        return row - rows.start, col, slice(first, last)
    starts = np.searchsorted(positions, rows * cols)
    counts = np.searchsorted(positions, (rows + 1) * cols) - starts
    row = np.repeat(np.arange(len(rows)), counts)
    numbers = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts) + starts[row]
    return row, positions[numbers] % cols, numbers


def count(size: int, density: float) -> int:
    """How many of `size` elements a density takes: at least one.

    Example:
        >>> count(10_000, 0.001), count(3, 0.001)
        (10, 1)
    """
    return max(1, round(density * size))


def largest(p: Array, density: float) -> np.ndarray:
    """Positions of the largest magnitudes; of equal ones the first, so that every machine takes the same.

    Example:
        >>> largest(np.array([[1.0, -4.0], [3.0, -3.0]]), 0.5)
        array([1, 2])
    """
    if not isinstance(p, np.ndarray):
        p = (p.float() if p.element_size() == 2 else p).cpu().numpy()
    return top(np.abs(p.reshape(-1)), count(p.size, density))


def top(scores: np.ndarray, k: int) -> np.ndarray:
    """Positions of the k largest scores (n,), ascending; of equal ones the first."""
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    above = np.flatnonzero(scores > least)
    level = np.flatnonzero(scores == least)[: k - len(above)]
    return np.sort(np.concatenate([above, level])).astype(np.int64)


def anywhere(key: int, slot: Slot, size: int, density: float) -> np.ndarray:
    """One position in each of k stretches of like length, at random: k numbers, not `size`."""
    k = count(size, density)
    edges = np.arange(k + 1) * size // k
    u = noise.uniforms(key, 0, 0, slot.id, 0, k)  # of the purpose INITIAL: no direction reads that stream
    return edges[:-1] + (u * np.diff(edges)).astype(np.int64)

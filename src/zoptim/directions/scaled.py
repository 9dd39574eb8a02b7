"""Scaled directions: s * z with one fixed positive number an element, whatever law z follows.

    z'_j = s_j z_j

Both probe and update are scaled, so in the coordinates theta/s this is the plain method: a change of units.
With s_j about 1/(how much the answers react to element j) every element carries a like share of a probe.
The scales are data of the run (stored, with it), never learned on the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..kernels import Steps
from ..kernels.arrays import overlap
from ..protocols import Array, Begins, Directions, Mix, Record, Rows, Slot, State, Updates
from .over import Over


@dataclass(frozen=True)
class Scaled(Over):
    """`inner` directions times `scales[slot.id]`, a (rows, cols) float32 array; slots without one are plain.

    Memory: the scales, and a scratch of the size formed.
    """

    scales: Mapping[int, np.ndarray]

    @property
    def image(self) -> Scaled:
        """What is applied where `inner` has an image; else AttributeError, as for any name it lacks."""
        return Scaled(self.inner.image, self.scales)  # type: ignore[attr-defined]

    @property
    def follows(self) -> bool:
        return getattr(self.inner, "follows", False)

    @property
    def begins(self) -> bool:
        return bool(getattr(self.inner, "begins", hasattr(self.inner, "begin")))

    def begin(self, slot: Slot, p: Array, state: State) -> None:
        if isinstance(self.inner, Begins):
            self.inner.begin(slot, p, state)

    def form(
        self, out: Array, slot: Slot, rows: Rows, mix: Mix, base: Array | None, state: State,
        scale: float = 1.0, at: Array | None = None,
    ) -> None:  # fmt: skip
        mine = self.scales.get(slot.id)
        scales = None if mine is None else like(mine[rows], out)
        form_scaled(self.inner, scales, out, slot, rows, mix, base, state, scale, at)

    def update(
        self, p: Array, slot: Slot, rows: slice, steps: Steps, state: State, units: Array | None = None
    ) -> bool:
        if units is not None or not isinstance(self.inner, Updates) or type(self).form is not Scaled.form:
            return False  # nested scales, or a law that only forms
        mine = self.scales.get(slot.id)
        return self.inner.update(p, slot, rows, steps, state, None if mine is None else mine[rows])

    def learn(self, record: Record, slot: Slot, p: Array, state: State) -> None:
        self.inner.learn(record, slot, p, state)


def form_scaled(
    inner: Directions, scales: Array | None, out: Array, slot: Slot, rows: Rows, mix: Mix, base: Array | None,
    state: State, scale: float = 1.0, at: Array | None = None,
) -> None:  # fmt: skip
    """out[p] = base + scale * (scales * sum of inner directions), each rounded; `scales` (rows, cols), None: 1."""
    if scales is None:
        return inner.form(out, slot, rows, mix, base, state, scale, at)
    if not isinstance(out, np.ndarray) and out.element_size() == 2:  # half: formed in float32, rounded once
        wide = out.float()
        start = None if base is None else base.float()
        form_scaled(inner, scales, wide, slot, rows, mix, start, state, scale, at)
        out.copy_(wide)
        return None
    start = base + 0 if base is not None and overlap(out, base) else base  # out may be base
    inner.form(out, slot, rows, mix, None, state, at=at if base is None else start)
    out *= scales
    if scale != 1.0:
        out *= scale
    if start is not None:
        out += start
    return None


def like(values: np.ndarray, out: Array) -> Array:
    """`values` as an array of `out`'s kind, in the dtype its sums are formed in."""
    if isinstance(out, np.ndarray):
        return values.astype(out.dtype, copy=False)
    return (out[:0].float() if out.element_size() == 2 else out).new_tensor(values)

"""Directions of the small weights only, chosen anew at every step (Sparse-MeZO, arXiv 2402.15751).

    z' = m(theta) o z,   m(theta) = [|theta| <= h],   h = the (1 - sparsity) quantile of |theta_0|, one a tensor

m is computed from the *unperturbed* weights wherever a direction is formed, so both probes and the step see one mask
and nothing but h is kept.  (The paper's printed GetMask compares theta and h without the absolute value.)  A weight
beyond h does not move, so it stays beyond: the mask only ever loses weights.

A tensor whose largest weights are not larger than h, as a norm of ones or a bias of zeros, is not masked: there,
magnitude tells nothing.  Not here: masks that are chosen once (`sparse`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..kernels.arrays import at_most_, wide
from ..protocols import Array, Mix, Record, Rows, Slot, State
from .dense import Dense
from .scaled import form_scaled


@dataclass(frozen=True)
class Small:
    """`inner` directions where |theta| <= h, 0 elsewhere.

    Args:
        inner: the law of z.
        sparsity: share of each tensor's weights that is frozen at the start, in [0, 1); at least one is not.

    Memory: one number a tensor, and a scratch of the size formed; at the start a copy of the largest tensor.
    """

    inner: Dense
    sparsity: float
    memoryless = False
    follows = True
    scope: Literal["rows", "slot"] = "rows"
    vectors = 0

    def init(self, slots: Sequence[Slot], key: int, horizon: int = 1) -> State:
        return {"inner": self.inner.init(slots, key, horizon)}

    def begin(self, slot: Slot, p: Array, state: State) -> None:
        state[slot.id] = threshold(p, self.sparsity)

    def form(
        self, out: Array, slot: Slot, rows: Rows, mix: Mix, base: Array | None, state: State,
        scale: float = 1.0, at: Array | None = None,
    ) -> None:  # fmt: skip
        h = state[slot.id]
        theta: Array = base if at is None else at
        mask = None if h == math.inf else at_most_(_scratch(theta, state), theta, h)
        form_scaled(self.inner, mask, out, slot, rows, mix, base, state["inner"], scale)

    def multiply(
        self, y: Array, x: Array, slot: Slot, mix: Mix, base: Array, state: State, scratch: Array
    ) -> bool:
        """As `inner` does, of a tensor that is not masked."""
        return state[slot.id] == math.inf and self.inner.multiply(
            y, x, slot, mix, base, state["inner"], scratch
        )

    def learn(self, record: Record, slot: Slot, p: Array, state: State) -> None:
        """Nothing to learn: the mask follows from the weights."""


def _scratch(like: Array, state: State) -> Array:
    """Memory for a mask of `like`'s shape, the same from call to call."""
    size, kept = like.shape[0] * like.shape[1], state.get("scratch")
    if kept is None or kept.shape[0] < size or kept.dtype != wide(like, (0,)).dtype:
        kept = state["scratch"] = wide(like, (size,))
    return kept[:size].reshape(like.shape)


def threshold(p: Array, sparsity: float) -> float:
    """The largest magnitude among the (1 - sparsity) smallest; infinity where no weight is beyond it.

    Example:
        >>> threshold(np.array([[1.0, -4.0], [3.0, -2.0]]), 0.5), threshold(np.ones((8, 1)), 0.5)
        (2.0, inf)
    """
    if not isinstance(p, np.ndarray):
        p = (p.float() if p.element_size() == 2 else p).cpu().numpy()
    sizes = np.abs(p).reshape(-1)
    kept = max(1, round((1.0 - sparsity) * sizes.size))
    h = float(np.partition(sizes, kept - 1)[kept - 1])
    return math.inf if h >= sizes.max() else h

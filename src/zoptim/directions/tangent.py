"""Tangent directions: another law's vectors, made tangent to a manifold where the parameters stand (arXiv 2003.11238).

    z = P_x u;   a sum of tangent vectors is the projected sum, so P_x is applied once

z follows the parameters: a step's directions cannot be added somewhere else.  Not here: how a visit comes back to the
manifold (`spaces.curved`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..protocols import Array, Directions, Manifold, Mix, Record, Rows, Slot, State


@dataclass(frozen=True)
class Tangent:
    """P_x of `inner`'s sums.  Memory: none.

    Args:
        inner: law of the ambient vectors; Dense("normal") in the paper.
        manifold: see `zoptim.manifolds`.
    """

    inner: Directions
    manifold: Manifold
    memoryless = False
    follows = True
    scope: Literal["rows", "slot"] = "slot"

    @property
    def vectors(self) -> int:
        return self.inner.vectors

    def init(self, slots: Sequence[Slot], key: int, horizon: int = 1) -> State:
        return self.inner.init(slots, key, horizon)

    def form(
        self, out: Array, slot: Slot, rows: Rows, mix: Mix, base: Array | None, state: State,
        scale: float = 1.0, at: Array | None = None,
    ) -> None:  # fmt: skip
        here = at if base is None else base
        assert here is not None
        sums = np.empty_like(out)
        self.inner.form(sums, slot, rows, mix, None, state)
        m = out.shape[0]
        tangent = self.manifold.project(here.ravel(), sums.reshape(m, -1)).reshape(out.shape)
        tangent *= scale
        out[:] = tangent if base is None else tangent + base

    def learn(self, record: Record, slot: Slot, p: Array, state: State) -> None:
        """Nothing to learn."""

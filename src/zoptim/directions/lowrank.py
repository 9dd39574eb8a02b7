"""Low-rank directions: a matrix's draw is a thin product, kept in one subspace for a while (LOZO).

    Z(t, i) = U V^T / sqrt(r),   U (rows, r) from the draw (t, i),   V (cols, r) from the period t // keep

arXiv 2410.07698, with V addressed by a key of its own, so that the update regenerates what was probed (the
published code shifts its generator whenever V is renewed).  All draws of a period share V.  Tensors of more
than two dimensions are matrices (first, all others); vectors get dense numbers.

With the factor 1/sqrt(r), E zz' = I whatever r is.  The paper probes along U V^T and divides the estimate by r:
the same step to O(eps^2), its eps being this one's / sqrt(r) on matrices.  For matrices of d = rows * cols
numbers, law "normal": E |<g,z> z|^2 = (d + 2 (rows + cols + r + 1) / r) |g|^2, against d + 2 for dense normals.

A visit never makes Z: `factors` hands the layer U and V, which cost r (rows + cols) numbers.  What it is not:
EGGROLL (2511.16652), whose members each have a V, nor a momentum in the subspace (LOZO-M).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .. import kernels
from ..kernels.arrays import wide
from ..kernels.outer import outer
from ..protocols import Array, Draw, Mix, Record, Rows, Slot, State
from .dense import Dense, Law


@dataclass(frozen=True)
class LowRank:
    """U V^T / sqrt(rank), V renewed every `keep` steps.

    Args:
        rank: r, from 1.
        keep: steps between renewals of V, from 1 (1: a new one every step).
        law: of the elements of U, V and of vectors: "normal" (the paper) or "signs".

    Raises:
        ValueError: rank or keep is not a whole number from 1.

    Memory: none kept; r * (rows + cols) numbers while one matrix is used.
    """

    rank: int = 2
    keep: int = 50
    law: Law = "normal"
    memoryless = True
    scope: Literal["rows", "slot"] = "rows"
    vectors = 0

    def __post_init__(self) -> None:
        for name, value in (("rank", self.rank), ("keep", self.keep)):
            if not (isinstance(value, int) and value >= 1):
                raise ValueError(f"{name}={value!r} must be a whole number from 1")

    def init(self, slots: Sequence[Slot], key: int, horizon: int = 1) -> State:
        return key

    def form(
        self, out: Array, slot: Slot, rows: Rows, mix: Mix, base: Array | None, state: State,
        scale: float = 1.0, at: Array | None = None,
    ) -> None:  # fmt: skip
        if len(slot.shape) < 2:
            return Dense(self.law).form(out, slot, rows, mix, base, state, scale)
        u, vt = self._factors(slot, rows, out.shape[1], mix, out, state)
        outer(out, base, u, vt, scale)
        return None

    def factors(self, slot: Slot, mix: Mix, like: Array, state: State) -> tuple[Array, Array] | None:
        """The sums over all rows of a slot as thin factors: U (m, rows, R) and V^T (R, cols); None: a vector.

        R is the rank times the periods the draws fall in: one, for the draws of a step.  They are of `like`'s
        kind, in the dtype sums are formed in (float64 for float64, else float32).
        """
        if len(slot.shape) < 2 or type(self).form is not LowRank.form:
            return None  # a subclass that forms otherwise is formed
        return self._factors(slot, slice(0, slot.shape[0]), slot.shape[0], mix, like, state)

    def _factors(
        self, slot: Slot, rows: Rows, count: int, mix: Mix, like: Array, key: int
    ) -> tuple[Array, Array]:
        """U of these rows, the mix's coefficients and 1/sqrt(r) in it, and V^T; periods side by side."""
        periods: dict[tuple[int, int], list[int]] = {}
        for k, z in enumerate(mix.draws):
            if mix.coefs[:, k].any():
                periods.setdefault(self.address(z), []).append(k)
        r, m = self.rank, len(mix.coefs)
        cols = math.prod(slot.shape[1:])
        u, vt = wide(like, (m, count, r * len(periods))), wide(like, (r * len(periods), cols))
        for j, (period, ks) in enumerate(periods.items()):
            own = slice(j * r, (j + 1) * r)
            part = u if len(periods) == 1 else wide(like, (m, count, r))
            kernels.form(
                part, None, law=self.law, key=key, slot=slot.id, rows=rows,
                draws=[(mix.draws[k].t, mix.draws[k].i) for k in ks], coefs=mix.coefs[:, ks],
                scale=1.0 / math.sqrt(r),
            )  # fmt: skip
            if part is not u:
                u[:, :, own] = part
            vt[own] = self.transposed(slot, period, like, key)
        return u, vt

    def address(self, z: Draw) -> tuple[int, int]:
        """The draw whose stream holds V of z."""
        return z.t // self.keep, 0

    def transposed(self, slot: Slot, address: tuple[int, int], like: Array, key: int) -> Array:
        """V^T, (r, cols): it lies behind U in the stream of that draw."""
        n, r, cols = slot.shape[0], self.rank, math.prod(slot.shape[1:])
        vt = wide(like, (r, cols))
        kernels.form(
            vt.reshape(1, r * cols), None, law=self.law, key=key, slot=slot.id,
            rows=slice(n * r, n * r + r * cols), draws=[address], coefs=np.ones((1, 1)),
        )  # fmt: skip
        return vt

    def learn(self, record: Record, slot: Slot, p: Array, state: State) -> None:
        """Nothing to learn: memoryless."""

"""A number times other directions, applied in place of what was probed: the constant of the scaling table.

    probe along z;   apply c z,   c = inner.factor(state) such that E[c <g, z> z] = g        (d of unit vectors)

So that differences stay what they are and a method reads directions + probe + coefficients + rule whatever the law:
probes and coefficients know neither the number of weights nor the law.  Laws with E z z' = I (normals, signs,
`Spherical`) need none of this.  Vectors kept by name (`named`) are sums of what is probed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .. import kernels
from ..protocols import Array, Directions, Mix, Record, Rows, Slot, State, Step, Updates
from .over import Over


class Uneven(Directions, Protocol):
    """Directions with E z z' = I / factor."""

    def factor(self, state: State) -> float:
        """c of E[c <g, z> z] = g."""
        ...


@dataclass(frozen=True)
class Stretched(Over):
    """factor * z, over the state of `inner`."""

    inner: Uneven

    def form(
        self, out: Array, slot: Slot, rows: Rows, mix: Mix, base: Array | None, state: State,
        scale: float = 1.0, at: Array | None = None,
    ) -> None:  # fmt: skip
        wider = Mix(mix.draws, mix.coefs * self.inner.factor(state))
        self.inner.form(out, slot, rows, wider, base, state, scale, at)

    def update(
        self, p: Array, slot: Slot, rows: slice, steps: kernels.Steps, state: State,
        units: Array | None = None,
    ) -> bool:  # fmt: skip
        if not isinstance(self.inner, Updates):
            return False
        c = self.inner.factor(state)
        wider = kernels.Steps([Step(tuple(z), np.asarray(coefs) * c, s, t) for z, coefs, s, t in steps])
        return self.inner.update(p, slot, rows, wider, state, units)

    def learn(self, record: Record, slot: Slot, p: Array, state: State) -> None:
        """Nothing: what `inner` learns, it learns itself."""

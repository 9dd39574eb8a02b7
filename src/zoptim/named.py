"""The vectors a method keeps by name: an anchor, a tracker, the gradient estimate held so far.

    sum     = sum of coefficient x vector, in order,  + the regenerated sum of the draws
    track   name <- sum                HERE among the terms stands for the parameters

They are a fold over records, like the parameters, and as large.  A record's tracks are done before its move, so a
step can hold on to where it was.  Not here: when to track what (coefficients say), where parameters move (`engine`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .protocols import HERE, Array, Directions, Mix, Slot, Space, State, Term, Track, Vec, chunks

CHUNK = 1 << 17  # elements of an inner product held at once


def parted(terms: Sequence[Term]) -> tuple[list[Term], list[Term]]:
    """Draws and named vectors apart, each in order."""
    draws: list[Term] = []
    vecs: list[Term] = []
    for term in terms:
        (vecs if isinstance(term[0], Vec) else draws).append(term)
    return draws, vecs


class Named:
    """A run's named vectors, zeros at first.

    Args:
        names: of the vectors.
        space: whose slots they are shaped like; in the dtype rules compute in.
        directions: of the run, with their state: for draws among the terms.

    Cost: memory of the parameters for each name.
    """

    def __init__(self, names: Sequence[str], space: Space, directions: Directions, state: State) -> None:
        self.space, self.directions, self.state = space, directions, state
        self.arrays: dict[str, dict[int, Array]] = {name: {} for name in names}
        for slot in space.slots() if names else ():  # a tensor may have to come from disk
            with space.tensor(slot) as p:
                for held in self.arrays.values():
                    held[slot.id] = space.empty_like(space.widen(p))
                    held[slot.id][:] = 0

    def vector(self, name: str, slot: Slot, rows: slice, p: Array) -> Array:
        """(rows, cols) of a named vector; `p` are the parameters' rows."""
        if name == HERE.name:
            return p
        if name not in self.arrays:
            raise ValueError(f"Vec({name!r}): the method declares {', '.join(self.arrays) or 'no vectors'}")
        return self.arrays[name][slot.id][rows]

    def base(
        self, terms: Sequence[Term], slot: Slot, rows: slice, p: Array, origin: str = ""
    ) -> Array | None:
        """What draws are added to: the origin, if any, and the vectors among the terms; None where that is nothing."""
        out = None
        for name, c in [(origin, 1.0)] * bool(origin) + [(z.name, c) for z, c in parted(terms)[1]]:  # type: ignore[union-attr]
            share = self.vector(name, slot, rows, p) * c
            if out is None:
                out = share
            else:
                out += share
        return out

    def sum(self, terms: Sequence[Term], slot: Slot, rows: slice, p: Array) -> Array:
        """The sum of draws and vectors, (rows, cols) of its own memory."""
        draws, base = parted(terms)[0], self.base(terms, slot, rows, p)
        if not draws and base is not None:
            return base
        out = self.space.empty_like(p) if base is None else base
        self.directions.form(out[None], slot, rows, Mix.of(draws), base, self.state, at=p)
        return out

    def track(self, tracks: Sequence[Track]) -> None:
        """Set each vector to its sum, in order."""
        for name, terms in tracks:
            for slot, rows, p in self._walk():
                made = self.sum(terms, slot, rows, p)
                self.vector(name, slot, rows, p)[:] = made

    def dot(self, a: Sequence[Term], b: Sequence[Term]) -> float:
        """<sum, sum> over all slots, in float64."""
        total = 0.0
        for slot, rows, p in self._walk():
            x, y = (np.asarray(self.sum(terms, slot, rows, p), np.float64).ravel() for terms in (a, b))
            total += float(x @ y)
        return total

    def _walk(self) -> Any:
        """(slot, rows, parameters there): chunks, or whole slots where directions want all rows at once."""
        for slot in self.space.slots():
            with self.space.tensor(slot) as p:
                limit = CHUNK if self.directions.scope == "rows" else p.shape[0] * p.shape[1]
                for rows in chunks(p.shape[0], p.shape[1], limit):
                    yield slot, rows, self.space.widen(p[rows])

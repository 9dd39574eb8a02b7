"""A plain numpy vector as a space: the whole of `minimize(f, x0)` and of the laws' test functions.

It is not for networks: a visit forms whole points, (m, d) numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from ..noise import slot_id
from ..protocols import Directions, Items, Mix, Point, Slot, State


@dataclass(frozen=True)
class FlatView:
    """m points as rows: x is (m, d), the objective's to keep."""

    m: int
    x: np.ndarray
    items: tuple[Items, ...] = ()


class Flat:
    """One slot named "x".

    Args:
        x: (d,) float32 or float64; trained in place.

    Raises:
        ValueError: x is not a non-empty, writable, contiguous 1-d float array.
    """

    def __init__(self, x: np.ndarray) -> None:
        if x.ndim != 1 or x.size == 0 or x.dtype not in (np.float32, np.float64):
            raise ValueError(f"x has shape {x.shape} and dtype {x.dtype}: give a non-empty 1-d float array")
        if not (x.flags.c_contiguous and x.flags.writeable):
            raise ValueError("x is strided or read-only: give x.copy(), which is trained in place")
        self.x = x
        self.slot = Slot(slot_id("x"), "x", x.shape)

    def slots(self) -> Sequence[Slot]:
        return (self.slot,)

    def groups(
        self, points: Sequence[Point], directions: Directions | None = None, state: State = None
    ) -> Sequence[Sequence[Point]]:
        return [points]

    @contextmanager
    def visit(self, points: Sequence[Point], directions: Directions, state: State) -> Iterator[FlatView]:
        out = np.empty((len(points), self.x.size, 1), dtype=self.x.dtype)
        mix = Mix.of(*(point.terms for point in points))
        directions.form(out, self.slot, slice(0, self.x.size), mix, self.x[:, None], state)
        yield FlatView(len(points), out[:, :, 0], tuple(point.items for point in points))

    @contextmanager
    def tensor(self, slot: Slot) -> Iterator[np.ndarray]:
        yield self.x[:, None]

    def widen(self, p: np.ndarray) -> np.ndarray:
        return p

    def narrow(self, p: np.ndarray, wide: np.ndarray, slot: Slot, rows: slice, key: int, t: int) -> None:
        raise AssertionError("a flat space computes in its own precision")

    def empty_like(self, p: np.ndarray) -> np.ndarray:
        return np.empty_like(p)

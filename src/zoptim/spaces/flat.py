"""A plain numpy vector as a space: the whole of `minimize(f, x0)` and of the laws' test functions.

It is not for networks: a visit forms whole points, (m, d) numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..noise import slot_id
from ..protocols import HERE, Directions, Items, Mix, Objective, Point, Slot, State, Vec

LARGE = 1 << 16  # numbers in a visit's points
HELD = 2  # the space, and the one who counts
holders = getattr(sys, "getrefcount", lambda x: HELD + 1)


def _plain(points: Sequence[Point]) -> bool:
    """Whether all are the parameters and draws alone; asked at every visit, so without delay."""
    for terms, _, order, origin in points:
        if order or origin:
            return False
        for z, _ in terms:
            if type(z) is Vec:
                return False
    return True


def _start(point: Point) -> tuple[Any, ...]:
    """Where a point's draws are added: its origin and its named vectors."""
    return point.origin, *(term for term in point.terms if isinstance(term[0], Vec))


@dataclass(frozen=True)
class FlatView:
    """m points as rows: x is (m, d), the objective's to keep; z are the directions of slopes, where they are asked."""

    m: int
    x: np.ndarray
    items: tuple[Items, ...] = ()
    z: np.ndarray | None = None

    def slopes(self, objective: Objective) -> np.ndarray:
        """(m,) derivatives along z at x, which a numpy function has to offer itself, as `objective.slopes(view)`.

        Raises:
            TypeError: it does not.
        """
        offered = getattr(objective, "slopes", None)
        if offered is None:
            raise TypeError(
                "objective: exact slopes need a differentiable objective; give the function an attribute "
                "slopes(view) -> (m,), the derivatives along view.z at view.x, or use a method of differences"
            )
        return np.asarray(offered(self), dtype=np.float64)


class Flat:
    """One slot.

    Args:
        x: (d,) float32 or float64; trained in place.
        name: of the slot: the address of its noise.
        group: of the slot, for draws that name one.

    Raises:
        ValueError: x is not a non-empty, writable, contiguous 1-d float array.
    """

    def __init__(self, x: np.ndarray, name: str = "x", group: str = "") -> None:
        if x.ndim != 1 or x.size == 0 or x.dtype not in (np.float32, np.float64):
            raise ValueError(f"x has shape {x.shape} and dtype {x.dtype}: give a non-empty 1-d float array")
        if not (x.flags.c_contiguous and x.flags.writeable):
            raise ValueError("x is strided or read-only: give x.copy(), which is trained in place")
        self.x = x
        self.slot = Slot(slot_id(name), name, x.shape, group)
        self._every, self._column = slice(0, x.size), x[:, None]
        self._tensor = nullcontext(self._column)
        self._kept: np.ndarray | None = None  # memory of the large visits' points

    def slots(self) -> Sequence[Slot]:
        return (self.slot,)

    def groups(
        self, points: Sequence[Point], directions: Directions | None = None, state: State = None
    ) -> Sequence[Sequence[Point]]:
        return [points]

    def keep(self, named: Any) -> None:
        """The vectors a method keeps by name (`zoptim.named`), which points may name."""
        self.named = named

    def visit(
        self, points: Sequence[Point], directions: Directions, state: State
    ) -> AbstractContextManager[FlatView]:
        return nullcontext(self._view(points, directions, state))  # nothing to take back

    def _view(self, points: Sequence[Point], directions: Directions, state: State) -> FlatView:
        asked = tuple([point.items for point in points])
        if not any(point.order for point in points):
            return FlatView(len(points), self.points(points, directions, state), asked)
        out, mix = self._room(len(points)), Mix.of(*(point.terms for point in points))
        directions.form(out, self.slot, self._every, mix, None, state, at=self._column)
        return FlatView(len(points), np.tile(self.x, (len(points), 1)), asked, out[:, :, 0])

    def points(self, points: Sequence[Point], directions: Directions, state: State) -> np.ndarray:
        """What a visit shows, (m, d), the asker's to keep."""
        m, base, every = len(points), self._column, self._every
        size = m * self.x.size
        out = np.empty((m, self.x.size, 1), self.x.dtype) if size < LARGE else self._room(m)
        if _plain(points):  # most
            directions.form(out, self.slot, every, Mix.of(*[point.terms for point in points]), base, state)
            return out[:, :, 0]
        for part, some in self._alike(points):
            draws = [[term for term in point.terms if not isinstance(term[0], Vec)] for point in some]
            start = base
            if some[0].origin or len(draws[0]) < len(some[0].terms):
                held = self.named.base(some[0].terms, self.slot, every, base, some[0].origin or HERE.name)
                assert held is not None
                start = held
            directions.form(out[part], self.slot, every, Mix.of(*draws), start, state)
        return out[:, :, 0]

    def displaced(self, v: np.ndarray) -> np.ndarray:
        """Where v (d,) leads from the parameters, (d,)."""
        there: np.ndarray = self.x + v
        return there

    def _room(self, m: int) -> np.ndarray:
        """(m, d, 1) to write points to: where large, the last visits' again if nobody holds any of it (fresh memory
        costs more than the noise that goes into it)."""
        shape = (m, self.x.size, 1)
        if m * self.x.size < LARGE:
            return np.empty(shape, self.x.dtype)
        if self._kept is None or len(self._kept) < m or holders(self._kept) > HELD:
            self._kept = np.empty(shape, self.x.dtype)
        return self._kept[:m]

    def _alike(self, points: Sequence[Point]) -> Iterator[tuple[slice, Sequence[Point]]]:
        """Neighbors that start from the same place: draws are added to it for all of them at once."""
        start = 0
        for stop in range(1, len(points) + 1):
            if stop == len(points) or _start(points[stop]) != _start(points[start]):
                yield slice(start, stop), points[start:stop]
                start = stop

    def tensor(self, slot: Slot) -> AbstractContextManager[np.ndarray]:
        return self._tensor

    def widen(self, p: np.ndarray) -> np.ndarray:
        return p

    def narrow(self, p: np.ndarray, wide: np.ndarray, slot: Slot, rows: slice, key: int, t: int) -> None:
        raise AssertionError("a flat space computes in its own precision")

    def empty_like(self, p: np.ndarray) -> np.ndarray:
        return np.empty_like(p)

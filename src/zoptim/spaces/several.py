"""Several plain numpy vectors as one space: the players of a game, or the levels of a problem with two.

Each is a slot of its own and a group of its own name, so that a draw can move one of them and leave the others.
`Joined` is the same in one vector, for those who ask about whole points.
Not for networks, like `flat`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..protocols import Directions, Items, Point, Slot, State
from .flat import Flat, FlatView


@dataclass(frozen=True)
class SeveralView:
    """m points: parts[name] is (m, d of that name), the objective's to keep."""

    m: int
    parts: Mapping[str, np.ndarray]
    items: tuple[Items, ...] = ()


class Several:
    """One slot a name.

    Args:
        parts: name -> (d,) float32 or float64; trained in place.
    """

    def __init__(self, **parts: np.ndarray) -> None:
        self.parts = {name: Flat(x, name, group=name) for name, x in parts.items()}

    def __getitem__(self, name: str) -> np.ndarray:
        """The vector of a name, as it stands."""
        return self.parts[name].x

    def slots(self) -> Sequence[Slot]:
        return tuple(part.slot for part in self.parts.values())

    def groups(
        self, points: Sequence[Point], directions: Directions | None = None, state: State = None
    ) -> Sequence[Sequence[Point]]:
        return [points]

    def keep(self, named: Any) -> None:
        """As of `flat`."""
        for part in self.parts.values():
            part.keep(named)

    @contextmanager
    def visit(self, points: Sequence[Point], directions: Directions, state: State) -> Iterator[SeveralView]:
        with ExitStack() as stack:
            views = {
                n: stack.enter_context(p.visit(points, directions, state)) for n, p in self.parts.items()
            }
            asked = tuple(point.items for point in points)
            yield SeveralView(len(points), {name: view.x for name, view in views.items()}, asked)

    @contextmanager
    def tensor(self, slot: Slot) -> Iterator[np.ndarray]:
        yield self.parts[slot.name].x[:, None]

    def widen(self, p: np.ndarray) -> np.ndarray:
        return p

    def narrow(self, p: np.ndarray, wide: np.ndarray, slot: Slot, rows: slice, key: int, t: int) -> None:
        raise AssertionError("a flat space computes in its own precision")

    def empty_like(self, p: np.ndarray) -> np.ndarray:
        return np.empty_like(p)


class Joined(Several):
    """Several vectors that stand in a row in one, `x`; a visit shows whole points, as `flat` does.

    Args:
        x: (d,) float32 or float64; trained in place.
        sizes: name -> numbers, in order, d in all.
    """

    def __init__(self, x: np.ndarray, /, **sizes: int) -> None:
        ends = np.cumsum(list(sizes.values()))
        super().__init__(**{n: x[end - sizes[n] : end] for n, end in zip(sizes, ends, strict=True)})
        self.x = x

    @contextmanager
    def visit(self, points: Sequence[Point], directions: Directions, state: State) -> Iterator[Any]:
        asked = tuple(point.items for point in points)
        yield FlatView(len(points), self.points(points, directions, state), asked)

    def points(self, points: Sequence[Point], directions: Directions, state: State) -> np.ndarray:
        """What a visit shows, (m, d)."""
        return np.concatenate(
            [part.points(points, directions, state) for part in self.parts.values()], axis=1
        )

    def displaced(self, v: np.ndarray) -> np.ndarray:
        there: np.ndarray = self.x + v
        return there

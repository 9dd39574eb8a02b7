"""What the numbers of a search are: a plain vector, a point of a manifold, or two players in a row (`players`).

Whatever they are, a search sees one vector (d,); its ground says how that is visited and displaced, which methods are
for it, and what shape it is given back in.  Not here: where points may lie (`region`), what is asked (`talk`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from ..directions import Tangent
from ..method import Method
from ..methods import bilevel, minimax, riemannian
from ..noise import INITIAL, signs
from ..protocols import Directions, Manifold, Point, Space, State
from ..rules import Retracted
from ..spaces.curved import Curved
from ..spaces.flat import Flat, FlatView

OUTPUTS = ("best", "last", "average", "random")
ASIDE = 0.6  # of the start's size, along a manifold: where a step size is looked for
SHARED = 8  # directions a step, at most, where nothing is said
MANIFOLDS, GAMES, LEVELS = (
    frozenset(card.name for card in family.CARDS) for family in (riemannian, minimax, bilevel)
)
ELSEWHERE = {
    **dict.fromkeys(
        MANIFOLDS, "it moves along a manifold: give manifold=, such as zoptim.manifolds.Sphere()"
    ),
    **dict.fromkeys(GAMES, "it is for two players: zoptim.minimax(f, x0, y0)"),
    **dict.fromkeys(LEVELS, "it is for a problem in a problem: zoptim.bilevel(upper, lower, x0, y0)"),
}


class Vector(Space, Protocol):
    """A space whose parameters are one vector x (d,)."""

    x: np.ndarray

    def displaced(self, v: np.ndarray) -> np.ndarray: ...

    def visit(
        self, points: Sequence[Point], directions: Directions, state: State
    ) -> AbstractContextManager[FlatView]: ...

    def points(self, points: Sequence[Point], directions: Directions, state: State) -> np.ndarray:
        """What a visit shows, (m, d), the asker's to keep."""
        ...


class Ground(Protocol):
    """What a search asks of its ground."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """What a search may return, the first where nothing is said."""
        ...

    @property
    def compares(self) -> bool:
        """Whether the lower of two values is the better."""
        ...

    @property
    def lands(self) -> dict[str, Any]:
        """What methods may be told, by their settings' names."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a point, as it is asked."""
        ...

    def space(self, x: np.ndarray) -> Vector:
        """Over x (d,), moved in place."""
        ...

    def typical(self, x: np.ndarray, key: int) -> np.ndarray:
        """Where a step size is looked for, (d,): near the start x, whose slopes may be no others' where it is critical."""
        ...

    def auto(self, d: int) -> tuple[str, dict[str, Any], str] | None:
        """(name, settings, why) where no method is named; None: that of plain vectors."""
        ...

    def refuse(self, method: Method) -> None:
        """A method that is not for it, by a ValueError."""
        ...

    def split(self, points: np.ndarray) -> tuple[np.ndarray, ...]:
        """Points (..., *shape) as those of each player."""
        ...

    def fields(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Of a result at x (d,)."""
        ...


@dataclass(frozen=True)
class Plain:
    """A vector, of any shape."""

    shape: tuple[int, ...] = ()
    outputs: ClassVar[tuple[str, ...]] = OUTPUTS
    compares = True

    @property
    def lands(self) -> dict[str, Any]:
        return {}

    def space(self, x: np.ndarray) -> Flat:
        return Flat(x)

    def typical(self, x: np.ndarray, key: int) -> np.ndarray:
        return x

    def auto(self, d: int) -> tuple[str, dict[str, Any], str] | None:
        return None

    def refuse(self, method: Method) -> None:
        if method.first is not None:
            raise ValueError(
                f"method={method.name!r}: it also takes gradients, which a black box has not; it is for zoptim.Optimizer "
                "and zoptim.finetune"
            )
        if method.name in ELSEWHERE or isinstance(method.directions, Tangent):
            raise ValueError(
                f"method={method.name!r}: it is not for a plain function of x; "
                f"{ELSEWHERE.get(method.name, 'it moves along a manifold: give manifold=')}"
            )

    def split(self, points: np.ndarray) -> tuple[np.ndarray, ...]:
        return (points,)

    def fields(self, x: np.ndarray) -> dict[str, np.ndarray]:
        return {"x": x.reshape(self.shape).copy()}


PLAIN = Plain()


@dataclass(frozen=True)
class OnManifold(Plain):
    """A point of a manifold."""

    manifold: Manifold | None = None
    outputs: ClassVar[tuple[str, ...]] = ("best", "last", "random")  # an average of points is none

    @property
    def lands(self) -> dict[str, Any]:
        return {"manifold": self.manifold}

    def space(self, x: np.ndarray) -> Flat:
        assert self.manifold is not None
        return Curved(x, self.manifold)

    def typical(self, x: np.ndarray, key: int) -> np.ndarray:
        assert self.manifold is not None
        v = signs(key, 0, 0, 0, 0, x.size, INITIAL) * (ASIDE * float(np.sqrt(np.mean(x * x))))
        there = self.manifold.retract(x, self.manifold.project(x, v.astype(x.dtype)))
        return there if np.isfinite(there).all() else x

    def auto(self, d: int) -> tuple[str, dict[str, Any], str] | None:
        n = min(SHARED, d)
        return (
            "zo_riemannian",
            {"n": n},
            f"auto chose zo_riemannian along {n} directions, for {self.manifold}",
        )

    def refuse(self, method: Method) -> None:
        along = [getattr(part, "manifold", None) for part in (method.directions, method.rule)]
        if not (isinstance(method.directions, Tangent) and isinstance(method.rule, Retracted)):
            raise ValueError(
                f"method={method.name!r}: its steps leave the manifold; name one of {', '.join(sorted(MANIFOLDS))}, or 'auto'"
            )
        if along != [self.manifold] * 2:
            raise ValueError(
                f"manifold={self.manifold!r}: {method.name} was built for {along[0]!r}; name the method, or build it for this one"
            )


def ground_of(x: np.ndarray, manifold: Manifold | None) -> Plain:
    """That of one vector.

    Raises:
        TypeError: no manifold.
    """
    if manifold is None:
        return Plain(x.shape)
    if not (hasattr(manifold, "project") and hasattr(manifold, "retract")) or isinstance(manifold, type):
        raise TypeError(
            f"manifold={manifold!r:.60}: give one of zoptim.manifolds, such as Sphere() or Stiefel(rows, cols), or an "
            "object with project(x, v) and retract(x, v)"
        )
    return OnManifold(x.shape, manifold)

"""Two players, x and y, as the ground of a search: their numbers stand in a row, each has a region of its own.

For games (x lowers f, y raises it) and problems in problems (y lowers G, x lowers F).  Values at two places do not
say which is better, so there is no best point, and no step size is looked for.

Not here: the methods (`methods.minimax`, `methods.bilevel`), functions that call functions (`minimax`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..directions import Blocks
from ..method import Method
from ..protocols import Manifold
from ..rules import BySlot
from ..spaces.several import Joined
from .ground import GAMES, LEVELS, SHARED, Ground, ground_of
from .problem import start
from .region import Region

NAMES = ("x", "y")


@dataclass(frozen=True)
class Players:
    """Shapes of x and y."""

    x: tuple[int, ...]
    y: tuple[int, ...]
    outputs = ("last", "average", "random")
    compares = False

    @property
    def sizes(self) -> tuple[int, int]:
        return math.prod(self.x), math.prod(self.y)

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(self.sizes),)

    @property
    def lands(self) -> dict[str, Any]:
        return dict(zip(("dx", "dy"), self.sizes, strict=True))

    def split(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points (..., d) as those of x (..., *shape) and y (..., *shape)."""
        (many, at) = points.shape[:-1], self.sizes[0]
        return points[..., :at].reshape(*many, *self.x), points[..., at:].reshape(*many, *self.y)

    def space(self, x: np.ndarray) -> Joined:
        return Joined(x, **dict(zip(NAMES, self.sizes, strict=True)))

    def typical(self, x: np.ndarray, key: int) -> np.ndarray:
        return x

    def auto(self, d: int) -> tuple[str, dict[str, Any], str] | None:
        nx, ny = (min(SHARED, size) for size in self.sizes)
        why = "auto chose zo_extragradient: it settles where descent and ascent turn in circles"
        return "zo_extragradient", {"law": "signs", "nx": nx, "ny": ny}, why

    def refuse(self, method: Method) -> None:
        if not isinstance(getattr(method.directions, "inner", None), Blocks) and not isinstance(
            method.directions, Blocks
        ):
            raise ValueError(
                f"method={method.name!r}: it knows one player; name one of {', '.join(sorted(GAMES))} for a game, or "
                f"{', '.join(sorted(LEVELS))} for a problem in a problem"
            )

    def fields(self, x: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(NAMES, (part.copy() for part in self.split(x)), strict=True))


@dataclass(frozen=True, eq=False)
class Sides:
    """A region for each player, as one for both."""

    parts: tuple[Region, Region]
    at: int  # where y's numbers begin
    bounds = None
    set = None
    penalty = None

    @property
    def free(self) -> bool:
        return all(part.free for part in self.parts)

    def _split(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return x[..., : self.at], x[..., self.at :]

    def holds(self, x: np.ndarray) -> bool:
        """Whether both players' numbers of x (d,) are in their regions."""
        return all(region.holds(part) for region, part in zip(self.parts, self._split(x), strict=True))

    def clip(self, x: np.ndarray) -> np.ndarray:
        """The nearest points of the regions to x (m, d), in place."""
        for part, numbers in zip(self.parts, self._split(x), strict=True):
            part.clip(numbers)
        return x

    def lands(self, x: np.ndarray, budget: int | None = None) -> dict[str, Any]:
        return {"d": x.size, "budget": budget}

    def value(self, x: np.ndarray) -> float:
        return 0.0

    def hold(self, method: Method, x: np.ndarray) -> Method:
        """The method with steps of each player that stay in its region; x (d,), its start, moved inside."""
        named = dict(method.rule.named) if isinstance(method.rule, BySlot) else {}
        others = method.rule.others if isinstance(method.rule, BySlot) else method.rule
        for name, part, numbers in zip(NAMES, self.parts, self._split(x), strict=True):
            if not part.free:
                own = replace(method, rule=named.get(name, others))
                named[name] = part.hold(own, numbers).rule
        return replace(method, rule=BySlot(named, others)) if named else method

    def plain(self) -> dict[str, Any]:
        return dict(zip(NAMES, (part.plain() for part in self.parts), strict=True))

    @staticmethod
    def arguments(data: Mapping[str, Any]) -> dict[str, Any]:
        """What a search was given, from `plain`."""
        x, y = (Region.arguments(data[name]) for name in NAMES)
        return {"bounds": x["bounds"], "constraints": x["constraints"],
                "y_bounds": y["bounds"], "y_constraints": y["constraints"]}  # fmt: skip


def laid_out(
    x0: Any, manifold: Manifold | None, within: tuple[Any, Any, Any], y0: Any, y_within: tuple[Any, Any]
) -> tuple[Ground, np.ndarray, Region | Sides]:
    """What the numbers of a search are, its start (d,) or of x0's shape, and where they stay.

    Args:
        within, y_within: bounds, constraints, and of x alone a penalty.

    Raises:
        TypeError, ValueError: wrong ones, or such as do not go together.
    """
    x = start(x0)
    region = Region.of(*within, x)
    if y0 is None:
        if y_within != (None, None):
            raise ValueError("y_bounds, y_constraints: there is no second player; give y0")
        if manifold is not None and not region.free:
            raise ValueError(
                "manifold: steps along it know no bounds, constraints or penalty; leave them out"
            )
        return ground_of(x, manifold), x, region
    if manifold is not None or region.penalty is not None:
        raise ValueError("y0: two players know neither manifold nor penalty; leave them out, or add it to f")
    try:
        y = start(y0)
        other = Region.of(*y_within, None, y)
    except (TypeError, ValueError) as error:
        raise type(error)(str(error).replace("x0", "y0")) from None
    both = np.concatenate([x.ravel(), y.ravel()])
    return Players(x.shape, y.shape), both, Sides((region, other), x.size)

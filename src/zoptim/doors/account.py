"""What evaluations cost, and what is left: a point of a finite sum costs the components it is asked on.

Not here: what is asked (`probes`), or when a search ends (`search`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..noise import permutation, places
from ..protocols import Items, Point

ALONE = 1 << 31  # steps' own orders are counted from here, epochs from 0
LONG = (
    1 << 24
)  # components: beyond, their order is never formed (24 bytes each) and another one, see `noise.places`


@dataclass(frozen=True)
class Components:
    """Which of a finite sum's n components a point is asked on: a function of (key, t); an epoch repeats none.

    Args:
        n: components of the sum; memory is that of the orders of the last epochs, none for very many components.
        batch: of them in a step's batch, at most n.

    Example:
        >>> Components(1, 5, 2)(0, Items(9))
        array([0, 1, 2, 3, 4])
    """

    key: int
    n: int
    batch: int

    def cost(self, items: Items) -> int:
        return 1 if items.own >= 0 or items.only >= 0 else min(self.n, self.batch * items.batches)

    def __call__(self, t: int, items: Items) -> np.ndarray:
        """(b,) numbers of the components.

        Raises:
            ValueError: a single component beyond the batch.
        """
        if items.only >= 0:
            return np.array([items.only])
        if items.own < 0 and items.batches * self.batch >= self.n:
            return np.arange(self.n)
        if items.batches > 1:
            return _ordered(self.key, ALONE + t, self.n, 0, items.batches * self.batch)
        epoch, place = divmod(t, self.n // self.batch)
        batch = _ordered(self.key, epoch, self.n, place * self.batch, self.batch)
        if items.own < 0:
            return batch
        if items.own >= self.batch:
            raise ValueError(
                f"batch={self.batch}: the method asks on single components, at least {items.own + 1} of them a step; "
                "give a larger batch"
            )
        return batch[items.own : items.own + 1]


@dataclass(frozen=True)
class Functions:
    """Several functions in place of a sum's components: a point is asked on one of them; the first is what is reported.

    Example:
        >>> Functions()(3, Items(0, 1))
        array([1])
    """

    n = 1  # what a value of the function itself costs
    batch = 1

    def cost(self, items: Items) -> int:
        return 1

    def __call__(self, t: int, items: Items) -> np.ndarray:
        return np.array([max(0, items.own)])


def _ordered(key: int, epoch: int, n: int, start: int, size: int) -> np.ndarray:
    """(size,) numbers of an epoch's order from place `start` on."""
    if n > LONG:
        return places(key, epoch, n, np.arange(start, start + size))
    return _order(key, epoch, n)[start : start + size]


@lru_cache(maxsize=4)
def _order(key: int, epoch: int, n: int) -> np.ndarray:
    order = permutation(key, epoch, n)
    order.flags.writeable = False  # shared by all who ask
    return order


@dataclass
class Account:
    """Evaluations spent of a budget; None: no end to it."""

    budget: int | None
    components: Components | Functions | None = None
    spent: int = 0

    @property
    def whole(self) -> int:
        """The cost of one value of the function itself."""
        return 1 if self.components is None else self.components.n

    @property
    def batch(self) -> int:
        """The cost of a point on the step's batch."""
        return 1 if self.components is None else self.components.batch

    @property
    def reserve(self) -> int:
        """What is kept for the value where the search ends; nothing where that is over a quarter of the budget."""
        return self.whole if self.budget is not None and 4 * self.whole <= self.budget else 0

    def cost(self, points: Sequence[Point]) -> int:
        if self.components is None:
            return len(points)
        return sum(self.components.cost(point.items) for point in points)

    def fits(self, cost: int) -> bool:
        return self.budget is None or self.spent + cost <= self.budget

    def affords(self, points: Sequence[Point]) -> bool:
        """Whether a round fits, with what is kept."""
        if self.budget is None:
            return True
        if self.components is None:
            return self.spent + len(points) + (self.budget >= 4) <= self.budget
        return self.fits(self.cost(points) + self.reserve)

    def left(self) -> int:
        """Evaluations for steps."""
        return 0 if self.budget is None else self.budget - self.spent - self.reserve

    def shows(self, components: Sequence[np.ndarray], p: int) -> bool:
        """Whether the answer at point p is of the function that is reported."""
        return not isinstance(self.components, Functions) or bool(components[p][0] == 0)

    def on(self, t: int, points: Sequence[Point]) -> tuple[np.ndarray, ...] | None:
        """The components of each point, where there are any."""
        c = self.components
        return None if c is None else tuple(c(t, point.items) for point in points)


def whole_number(name: str, value: Any, least: int) -> int:
    """An argument that counts, 1e4 too.

    Raises:
        ValueError: it does not.
    """
    whole = isinstance(value, int | np.integer) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole or value < least:
        raise ValueError(f"{name}={value!r} must be a whole number from {least}")
    return int(value)


def plain_numbers(settings: Any) -> Any:
    """Settings with numpy's numbers as Python's, which a journal and a state can hold."""
    if not isinstance(settings, Mapping):
        return settings
    return {key: v.item() if isinstance(v, np.generic) else v for key, v in settings.items()}

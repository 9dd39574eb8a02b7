"""A finite sum as tests ask it: named numbers for its data, and the components of a step's batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zoptim import noise
from zoptim.lm.batches import Order


def normals(key: int, what: str, *shape: int) -> np.ndarray:
    z = noise.normals(key, 0, 0, noise.slot_id(what), 0, int(np.prod(shape)), noise.INITIAL)
    return z.astype(np.float64).reshape(shape)


@dataclass
class Sum:
    """Components of step t's batches, `of(x (m, d), which (b,)) -> (m, b)`; `asked` counts them."""

    of: Callable[[np.ndarray, Any], np.ndarray]
    key: int
    n: int
    batch: int
    asked: int = 0
    order: Order = field(init=False)

    def __post_init__(self) -> None:
        self.order = Order(self.key, [1] * self.n, self.batch)

    def at(self, t: int) -> Callable[[Any], np.ndarray]:
        def ask(view: Any) -> np.ndarray:
            batches, alone = view.items[0].batches, view.items[0].only
            if alone >= 0:
                which = np.array([alone])
            else:
                which = self.order(t) if batches == 1 else self.order.several(t, batches)
            self.asked += view.m * len(which)
            return self.of(view.x, which)

        return ask

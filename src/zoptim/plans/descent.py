"""Down by differences along coordinates: what the first sweep says decides how the search goes on.

    sweep at radius r0                     2d evaluations: slopes, curvatures, three nodes a coordinate
    the best nodes together: their sum?    `separable`: d one-dimensional searches
    else                                   `newton.coarse`, and `newton.fine` where the function turns out smooth
    nothing gets better                    again from a uniform point of the box; without a box, the end, but that steps of a
                                           function of steps are looked across

Numbers with two bounds have a tenth of their width as unit, others max(1, |x|); r0 is two units, resp. a fifth.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np

from .. import noise
from .newton import Ground, coarse
from .questions import Asking, Box, Central, Move, Plan, Sum, central, value
from .separable import Nodes, separable

WIDTHS = 10.0  # units in the width of a box
BOXED, FREE = 2.0, 0.2  # first radius, in units
PLACES = 11  # names the stream of restarts among those of orders
WIDEN, WIDER = 10.0, 4  # factor of the first radius, and how often, where all values around are the same
TURNS = 1 << 10  # restarts, at most
REPEATS = 6  # evaluations more, where two at the same place differ
SWEEPS = 60  # of a sum without a budget
EXACT = 1e-11  # to which a sum of parts is the whole, relative to them and d

FLAT = (
    "all values around the start are the same: start where they differ, give bounds to look elsewhere, or name a method "
    "of ranks with a large radius, such as openai_es with settings={'eps': ...}"
)
ENDED = "no lower value is found around"
PARTS = "each number was searched on its own"


class Settings(NamedTuple):
    """What a plan knows besides the place."""

    low: np.ndarray  # (d,), infinite where there is no bound
    high: np.ndarray
    key: int
    budget: int | None


def descent(x: np.ndarray, settings: Settings) -> Plan:
    """A plan from x (d,), which is not changed.

    Cost: about (d + 2) evaluations a step, 2 (d + 2) where the function is rough; memory: 2 x 30 vectors.
    """
    box: Box = settings.low, settings.high
    boxed = bool(np.isfinite(box[0]).all() and np.isfinite(box[1]).all())
    for turn in range(1, TURNS):
        ground, r = ground_of(x, box, settings.key, turn), BOXED if boxed else FREE
        fx = yield from value(x, x)
        if turn == 1:
            ground.sigma = yield from noise_of(x, fx)
        found = yield from central(x, fx, r * ground.scale, box)
        if boxed and turn == 1 and not ground.sigma and (yield from _is_sum(x, fx, found)):
            sweeps = SWEEPS if settings.budget is None else (settings.budget - 2 * x.size - 4) // (x.size + 1)
            yield from separable(x, fx, Nodes(found.nodes, found.values), box, sweeps)
            return PARTS
        flat = not found.values.any()
        if not flat:
            x, fx = yield from coarse(x, fx, r, found, ground)
        if not boxed or ground.sigma:
            moved = (flat or ground.flat) and (yield from _across(x, fx, ground))
            return FLAT if flat and not moved else ENDED
        offset = _uniform(settings.key, turn, box).astype(x.dtype) - x
        yield Move(offset)
        x = x + offset
    return ENDED


def _across(x: np.ndarray, fx: float, ground: Ground) -> Generator[list[Sum] | Move, Any, bool]:
    """Moves from a place that shares its value with those around, from the lowest wider sweep on; whether it did."""
    if (yield from value(x, _far(x, ground))) == fx:
        return False
    moved = False
    while True:
        sweeps = []
        for r in FREE * WIDEN ** np.arange(1, WIDER + 1):
            found = yield from central(x, fx, r * ground.scale, ground.box)
            sweeps.append((float(found.values.min()), float(r), found))
        low, r, found = min(sweeps, key=lambda sweep: sweep[0])
        if low >= 0.0:
            return moved
        x, fx = yield from coarse(x, fx, r, found, ground)
        moved = True
        if not ground.flat:
            return moved


def _far(x: np.ndarray, ground: Ground) -> np.ndarray:
    """A place at which another value than x's says that the function is not the same everywhere."""
    away: np.ndarray = ground.clip(x + FREE * WIDEN**2 * ground.scale).astype(x.dtype)
    return away


def noise_of(x: np.ndarray, fx: float) -> Generator[list[Sum], np.ndarray, float]:
    """The standard deviation of values at x; 0 where a second one is the same."""
    again = yield from value(x, x)
    if again == fx:
        return 0.0
    more = yield [()] * REPEATS
    return float(np.std([fx, again, *more], ddof=1))


def _is_sum(x: np.ndarray, fx: float, found: Central) -> Asking:
    """Whether the best nodes taken together are as good as the sum of what each of them brings; one evaluation."""
    z = found.best
    fz = yield from value(x, z)
    parts, all_of_them = found.values.min(1).sum(), np.abs(found.values).sum()
    return np.sum(z != x) > 1 and abs(fz - fx - parts) <= EXACT * x.size * (abs(fx) + all_of_them)


def ground_of(x: np.ndarray, box: Box, key: int, turn: int) -> Ground:
    width = box[1] - box[0]
    size = np.maximum(1.0, np.abs(x.astype(np.float64)))
    bounded = np.isfinite(width)
    scale = np.where(bounded & (width > 0), np.where(bounded, width, 0.0) / WIDTHS, size)
    root = float(np.finfo(x.dtype).eps) ** 0.5
    asked = itertools.count(turn << 20)

    def small(at: np.ndarray) -> np.ndarray:
        found: np.ndarray = root * np.maximum(1.0, np.abs(at.astype(np.float64)))
        return found

    return Ground(box, scale, small, lambda k: noise.permutation(key, next(asked), x.size)[:k])


def _uniform(key: int, turn: int, box: Box) -> np.ndarray:
    """A uniform point of the box, (d,)."""
    d = box[0].size
    words = noise.uniform_bits(key, noise.ORDER, turn, PLACES, 0, 0, d).astype(np.float64)
    found: np.ndarray = box[0] + (words + 0.5) * 2.0**-32 * (box[1] - box[0])
    return found

"""What a plan asks, and how it says where it moves; a plan is a generator over both.

    yield [sum, ...]     points: the place + a sum of steps along coordinates each; is sent their values, (m,)
    yield Move(offset)   the place becomes place + offset, a step of the run ends; is sent nothing
    return why           the search is over

A plan's own place and the run's are the same to the bit: both are moved by adding the offset, in the place's dtype.
Not here: line searches (`line`), what a plan makes of values (`separable`, `newton`), journals (`probes.planned`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import Any, NamedTuple, TypeAlias

import numpy as np

Sum: TypeAlias = tuple[tuple[int, float], ...]  # (coordinate, step) each


class Move(NamedTuple):
    """The end of a step: where to, seen from the place, (d,); sigma: of the values' noise, as far as it was seen."""

    offset: np.ndarray
    sigma: float = 0.0


Asking: TypeAlias = Generator["list[Sum] | Move", Any, Any]
Plan: TypeAlias = Generator["list[Sum] | Move", Any, str]
Clip: TypeAlias = Callable[[np.ndarray], np.ndarray]  # (d,) to the nearest (d,) where one may be
Box: TypeAlias = "tuple[np.ndarray, np.ndarray]"  # low, high, (d,) each, infinite where there is none


HIGH = 1e300  # what is not finite


def value(x: np.ndarray, z: np.ndarray) -> Generator[list[Sum], np.ndarray, float]:
    """The value at z (d,), asked from x; what is not finite counts as very high."""
    step = z - x
    hit = np.flatnonzero(step)
    (v,) = yield [tuple(zip(hit.tolist(), step[hit].tolist(), strict=True))]
    return float(v) if math.isfinite(v) else HIGH


def sweep(x: np.ndarray, fx: float, *new: np.ndarray) -> Generator[list[Sum], np.ndarray, np.ndarray]:
    """f(x with x_i := new_i) - f(x) for every i, of each `new` (d,): (k, d).

    Cost: an evaluation for every number that differs, all in one round.
    """
    steps = np.stack(new) - x
    hit = np.nonzero(steps)
    out = np.zeros(steps.shape)
    if len(hit[0]):
        values = yield [((i, h),) for i, h in zip(hit[1].tolist(), steps[hit].tolist(), strict=True)]
        out[hit] = np.where(np.isfinite(values), values, HIGH) - fx
    return out


def forward(
    x: np.ndarray, fx: float, h: np.ndarray, box: Box
) -> Generator[list[Sum], np.ndarray, np.ndarray]:
    """The gradient by forward differences of h (d,), backward ones at the upper bound; d evaluations."""
    at = x + np.where(x + h <= box[1], h, -h).astype(x.dtype)
    (rise,) = yield from sweep(x, fx, at)
    out: np.ndarray = rise / (at.astype(np.float64) - x)
    return out


class Central(NamedTuple):
    """What a sweep on both sides says; nodes in order, values relative to f(x)."""

    slope: np.ndarray  # (d,)
    curvature: np.ndarray  # (d,)
    nodes: np.ndarray  # (d, 3)
    values: np.ndarray  # (d, 3)

    @property
    def best(self) -> np.ndarray:
        """(d,) the best node of each coordinate."""
        found: np.ndarray = self.nodes[np.arange(len(self.nodes)), self.values.argmin(1)]
        return found

    def lowest(self, x: np.ndarray, fx: float) -> tuple[np.ndarray, float]:
        """The best single point seen, and its value."""
        i = int(self.values.min(1).argmin())
        y = x.copy()
        y[i] = self.best[i]
        return y, fx + float(self.values[i].min())


def central(x: np.ndarray, fx: float, r: np.ndarray, box: Box) -> Generator[list[Sum], np.ndarray, Central]:
    """Parabolas along the coordinates through x - r, x, x + r; at a bound through r / 2 on that side.  2d evaluations."""
    r = r.astype(x.dtype)
    low, high = np.where(x - r >= box[0], x - r, x + r / 2), np.where(x + r <= box[1], x + r, x - r / 2)
    at = yield from sweep(x, fx, low, high)
    a, b = low.astype(np.float64) - x, high.astype(np.float64) - x
    with np.errstate(all="ignore"):  # a number held fast has neither slope nor curvature
        pa, pb = np.where(a == 0, 0.0, at[0] / a), np.where(b == 0, 0.0, at[1] / b)  # slopes to either side
    nodes, values = np.stack([low, x, high], 1), np.stack([at[0], np.zeros(len(x)), at[1]], 1)
    order = nodes.argsort(1)
    return Central(
        (pa * b - pb * a) / (b - a), 2.0 * (pb - pa) / (b - a),
        np.take_along_axis(nodes, order, 1), np.take_along_axis(values, order, 1),
    )  # fmt: skip

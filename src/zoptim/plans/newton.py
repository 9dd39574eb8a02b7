"""Quasi-Newton steps from values: coarse ones that see through ripples, fine ones where the function is smooth.

    coarse   central differences of radius r, their curvatures as the first metric, r shrinking where a step brings too
             little (implicit filtering; Gilmore & Kelley 1995)
    smooth?  slopes at the smallest scale, along some coordinates, agree with the coarse ones
    fine     L-BFGS over forward differences; where nothing was probed yet, as flat as the flattest of late

All in units of `scale`, so that numbers of different size are alike.  Not here: how they follow each other (`descent`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .line import search
from .questions import Asking, Box, Central, Move, Sum, central, forward, sweep
from .questions import value as value_of

AGREE, RATIO = 0.8, 3.0  # cosine, and ratio of norms, that call a function smooth
SHRINK, LITTLE = 0.4, 5e-3  # factor of r, where a step brings less than this share of what its slope promised
FLOOR = 1e-7  # of the first r
PAIRS, RECENT = 30, 5  # pairs kept, and those that say how flat the function is
STILL, STALLED = 4, 1e-11  # steps in a row that bring less than this share of the value
CURVED = 1e-12  # of |s| |y|: a pair with less says nothing
SURE = 3.0  # standard deviations


@dataclass
class Pairs:
    """What is known of the Hessian, (s, y) by (s, y)."""

    s: list[np.ndarray] = field(default_factory=list)
    y: list[np.ndarray] = field(default_factory=list)
    sy: list[float] = field(default_factory=list)  # their inner products

    def add(self, s: np.ndarray, y: np.ndarray, unsure: float = 0.0) -> None:
        """`unsure`: the standard deviation of y's numbers."""
        sy, least = float(s @ y), max(CURVED * float(np.linalg.norm(y)), SURE * unsure)
        if sy > least * float(np.linalg.norm(s)):
            for kept, new in ((self.s, s), (self.y, y), (self.sy, sy)):
                kept[:] = [*kept, new][-PAIRS:]

    def flattest(self) -> float:
        """The longest s's / s'y of late."""
        return float(max(s @ s / sy for s, sy in zip(self.s[-RECENT:], self.sy[-RECENT:], strict=True)))

    def solve(self, g: np.ndarray, first: Any) -> np.ndarray:
        """H g by the two loops of L-BFGS from the metric `first`: a number, or one for each coordinate."""
        q, shares = g.copy(), []
        for s, y, sy in zip(self.s[::-1], self.y[::-1], self.sy[::-1], strict=True):
            shares.append((s @ q) / sy)
            q -= shares[-1] * y
        q *= first
        for s, y, sy, share in zip(self.s, self.y, self.sy, shares[::-1], strict=True):
            q += (share - (y @ q) / sy) * s
        return q


@dataclass
class Ground:
    """What does not change on the way: the box, the units (d,), the smallest step (d,), and who chooses coordinates."""

    box: Box
    scale: np.ndarray
    small: Callable[[np.ndarray], np.ndarray]  # of the place
    some: Callable[[int], np.ndarray]  # that many different coordinates
    sigma: float = 0.0  # of the values' noise
    flat: bool = False  # half the values of the last coarse sweep, or more, were the place's own

    def clip(self, x: np.ndarray) -> np.ndarray:
        """The nearest point of the box."""
        found: np.ndarray = np.minimum(np.maximum(x, self.box[0]), self.box[1])
        return found

    def free(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        """The slopes that do not push against a bound."""
        return np.where(((x <= self.box[0]) & (g > 0)) | ((x >= self.box[1]) & (g < 0)), 0.0, g)

    def slopes(self, x: np.ndarray, fx: float) -> Generator[list[Sum], np.ndarray, np.ndarray]:
        g = yield from forward(x, fx, self.small(x), self.box)
        scaled: np.ndarray = g * self.scale
        return scaled


def fine(x: np.ndarray, fx: float, ground: Ground) -> Asking:
    """Moves until nothing gets better; returns where, and the value."""
    pairs, still = Pairs(), 0
    g = yield from ground.slopes(x, fx)
    while still < STILL:
        free = ground.free(x, g)
        p = -pairs.solve(free, pairs.flattest()) if pairs.s else -free
        p = np.where(free == 0, 0.0, p)
        slope = float(free @ p)
        t = 0.0
        if slope < 0:
            first = 1.0 if pairs.s else 1.0 / float(np.linalg.norm(p))
            at, value, t = yield from search(x, fx, ground.scale * p, slope, ground.clip, first)
        if t == 0.0:
            if not pairs.s:
                break
            pairs = Pairs()
            continue
        still = still + 1 if fx - value < STALLED * abs(fx) else 0
        offset = at - x
        yield Move(offset)
        x, fx, before = x + offset, value, g
        g = yield from ground.slopes(x, fx)
        pairs.add(offset / ground.scale, g - before)
    return x, fx


def smooth(x: np.ndarray, fx: float, g: np.ndarray, ground: Ground) -> Generator[list[Sum], np.ndarray, bool]:
    """Whether the smallest scale tells what the coarse slopes g do; max(5, d / 8) evaluations."""
    i = ground.some(min(x.size, max(5, x.size // 8)))
    e = (100 * ground.small(x)).astype(x.dtype)
    new = x.copy()
    new[i] += np.where(x + e <= ground.box[1], e, -e)[i]
    (rise,) = yield from sweep(x, fx, new)
    fine_ones, coarse_ones = rise[i] / (new - x)[i] * ground.scale[i], g[i]
    a, b = float(np.linalg.norm(fine_ones)), float(np.linalg.norm(coarse_ones))
    if not (a > 0 and b > 0):
        return False
    return bool(fine_ones @ coarse_ones > AGREE * a * b and 1 / RATIO < a / b < RATIO)


def coarse(x: np.ndarray, fx: float, r: float, seen: Central | None, ground: Ground) -> Asking:
    """Moves until r is at its floor, or the function is smooth (then `fine`); returns where, and the value.

    Where values are noisy the floor is where what they differ by drowns in it, and `averaged` goes on from there.

    Args:
        r: the first radius, in units of the scale.
        seen: what a sweep of that radius from x has found already.
    """
    floor, sigma, pairs, metric, before = FLOOR * r, ground.sigma, Pairs(), None, None
    while r > floor:
        found = seen or (yield from central(x, fx, r * ground.scale, ground.box))
        ground.flat = int(np.count_nonzero(found.values)) <= x.size
        seen, g = None, found.slope * ground.scale
        bend = found.curvature * ground.scale**2
        if sigma and r * r * float(np.median(np.abs(bend))) < SURE * sigma:
            yield from averaged(x, 2.0 * r, pairs, ground)
        if metric is None or before is None:
            metric, pairs = _metric(bend, g, r), pairs if sigma else Pairs()
        else:
            pairs.add((x - before[0]) / ground.scale, g - before[1], sigma / r)
        clear = not sigma and (yield from smooth(x, fx, g, ground))
        free = ground.free(x, g)
        p = np.where(free == 0, 0.0, -pairs.solve(free, metric))
        slope = float(free @ p)
        if not slope < 0:
            r, metric = r * SHRINK, None
            continue
        at, value, t = yield from search(x, fx, ground.scale * p, slope, ground.clip)
        node, low = found.lowest(x, fx)
        if not sigma and low < value:
            at, value = node, low
        before, offset = (x, g), at - x
        if t == 0.0 or fx - value < max(-LITTLE * slope, SURE * sigma):
            r, metric = r * SHRINK, None
        yield Move(offset, sigma)
        x, fx = x + offset, value
        if clear:
            ground.flat = False
            return (yield from fine(x, fx, ground))
    return x, fx


def averaged(x: np.ndarray, r: float, pairs: Pairs, ground: Ground) -> Asking:
    """Moves without end, ever shorter: x <- x - H g / k at a fixed radius, g and curvatures of the k-th sweep, so that noise
    is averaged away as far as evaluations last."""
    bend = np.zeros(x.size)
    for k in itertools.count(1):
        fx = yield from value_of(x, x)
        found = yield from central(x, fx, r * ground.scale, ground.box)
        g = ground.free(x, found.slope * ground.scale)
        bend += (found.curvature * ground.scale**2 - bend) / k
        p = np.clip(-pairs.solve(g, _metric(bend, g, r)) / k, -r, r)
        offset = ground.clip(x + ground.scale * p).astype(x.dtype) - x
        yield Move(offset, ground.sigma)
        x = x + offset


def _metric(curvature: np.ndarray, g: np.ndarray, r: float) -> np.ndarray:
    """1 / curvature, coordinate by coordinate; where it is not positive, the middle one's."""
    up = curvature > 0
    middle = float(np.median(curvature[up])) if up.any() else float(np.linalg.norm(g)) / r
    found: np.ndarray = 1.0 / np.maximum(np.where(up, curvature, middle), 1e-2 * middle or 1.0)
    return found

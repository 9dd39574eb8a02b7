"""Spectral proximal gradients from values: down by forward differences, inside a set or under a penalty psi.

    x+ = P_a(x - a g),   P_a = argmin_z a psi(z) + |z - .|^2 / 2, of a set its projection;   a = s's / s'y of the last step
    taken where f + psi is below the highest of its last values, else a quarter of a
    |x+ - x| nothing: no way is down, the search is over

(Birgin, Martinez, Raydan 2000; with penalties Wright, Nowak, Figueiredo 2009.  Steps that may go up for a while are what
makes them fast.)  Where values are noisy: x <- P_{a/k}(x - a g / k), central differences at a fixed radius.
Not here: sets and penalties (given as `Land`), the box (`descent`).
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .descent import ENDED, FREE, ground_of, noise_of
from .newton import STALLED, STILL, Ground
from .questions import Asking, Move, Plan, central, value

MEMORY, ENOUGH = 10, 1e-4  # values a step is compared with, and the share of |s|^2 / a it is to bring
BACK, TRIALS = 0.25, 20  # factor of a where it was too long, and how often
SHORT, LONG = 1e-10, 1e3  # of a, in units of the first: from farther away some sets do not project in time


class Land(NamedTuple):
    """What there is besides f: `step(y, a)` is P_a(y), `pay(x)` is psi(x)."""

    step: Callable[[np.ndarray, float], np.ndarray]
    pay: Callable[[np.ndarray], float]


def spectral(x: np.ndarray, land: Land, key: int) -> Plan:
    """A plan from x (d,), which is not changed.

    Args:
        land: a set's points so far inside that a small step to any side is in the domain of f.

    Cost: d + 2 evaluations a step or so, and P_a for each of the last two or so.
    """
    free = np.full(x.size, np.inf)
    ground = ground_of(x, (-free, free), key, 1)
    ground.scale[:] = 1.0  # P_a is in the plain metric
    at = land.step(x, 0.0).astype(x.dtype)
    fx = yield from value(x, at)  # first: a step without a question is none
    if (at != x).any():
        yield Move(at - x)
        x = x + (at - x)
    ground.sigma = yield from noise_of(x, fx)
    if ground.sigma:
        yield from _averaged(x, land, ground)
    g = yield from ground.slopes(x, fx)
    first = a = 1.0 / (float(np.linalg.norm(g)) or 1.0)
    last, still = deque([fx + land.pay(x)], MEMORY), 0
    while still < STILL:
        for _ in range(TRIALS):
            at = land.step(x - a * g, a).astype(x.dtype)
            s = (at - x).astype(np.float64)
            if not s.any():
                return ENDED
            fz = yield from value(x, at)
            total = fz + land.pay(at)
            if total <= max(last) - ENOUGH * float(s @ s) / a:
                break
            a *= BACK
        else:
            return ENDED
        still = still + 1 if abs(last[-1] - total) < STALLED * abs(last[-1]) else 0
        last.append(total)
        yield Move(at - x)
        x, fx, before = x + (at - x), fz, g
        g = yield from ground.slopes(x, fx)
        curved = float(s @ (g - before))
        a = float(np.clip(s @ s / curved if curved > 0 else np.inf, SHORT * first, LONG * first))
    return ENDED


def _averaged(x: np.ndarray, land: Land, ground: Ground) -> Asking:
    """Moves without end, ever shorter, so that noise is averaged away as far as evaluations last."""
    bend = 0.0
    for k in itertools.count(1):
        fx = yield from value(x, x)
        found = yield from central(x, fx, FREE * np.maximum(1.0, np.abs(x)), ground.box)
        bend += (float(np.abs(found.curvature).mean()) - bend) / k
        a = 1.0 / (k * bend) if bend else 0.0
        offset = land.step(x - a * found.slope, a).astype(x.dtype) - x
        yield Move(offset, ground.sigma)
        x = x + offset

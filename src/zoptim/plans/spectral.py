"""Spectral projected gradient from values: down by forward differences, inside a set that can project.

    p = P(x - a g) - x,   x <- P(x + t p), t by values alone,   a = s's / s'y of the last step
    |p| nothing: no feasible way is down, the search is over

(Birgin, Martinez, Raydan 2000, with a monotone line search.)  Where values are noisy: x <- P(x - H g / k), see `averaged`.
Not here: sets (given as a projection), the box (`descent`).
"""

from __future__ import annotations

import numpy as np

from .descent import ENDED, FREE, ground_of, noise_of
from .line import search
from .newton import STALLED, STILL, Pairs, averaged
from .questions import Clip, Move, Plan, value

SHORT, LONG = 1e-10, 1e3  # of a, in units of the first: from farther away some sets do not project in time


def spectral(x: np.ndarray, project: Clip, key: int) -> Plan:
    """A plan from x (d,), which is not changed.

    Args:
        project: the nearest point of the set, so far inside that a small step to any side is in the domain of f.

    Cost: d + 2 evaluations a step or so, and a projection for each point that a line search tries.
    """
    free = np.full(x.size, np.inf)
    ground = ground_of(x, (-free, free), key, 1)
    ground.within = project
    offset = project(x).astype(x.dtype) - x
    if offset.any():
        yield Move(offset)
        x = x + offset
    fx = yield from value(x, x)
    ground.sigma = yield from noise_of(x, fx)
    if ground.sigma:
        yield from averaged(x, FREE, Pairs(), ground)
    g = yield from ground.slopes(x, fx)
    first = a = 1.0 / (float(np.linalg.norm(g)) or 1.0)
    still = 0
    while still < STILL:
        p = project(x - a * ground.scale * g) - x
        slope = float(g @ (p / ground.scale))
        if not slope < 0:
            break
        at, v, t = yield from search(x, fx, p, slope, ground.clip)
        if t == 0.0:
            if a == first:
                break
            a = first  # once more, from a step of length 1
            continue
        still = still + 1 if fx - v < STALLED * abs(fx) else 0
        offset = at - x
        yield Move(offset)
        x, fx, before = x + offset, v, g
        g = yield from ground.slopes(x, fx)
        s = offset / ground.scale
        curved = float(s @ (g - before))
        a = float(np.clip(s @ s / curved, SHORT * first, LONG * first)) if curved > 0 else LONG * first
    return ENDED

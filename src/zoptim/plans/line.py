"""A line search from values alone: parabolas through the points seen, with guards.

    back      the parabola of slope and value, within [0.02, 0.5] t
    on        the vertex beyond the last point, within [1.2, 4] t
    between   the vertex of a bracket's three points, away from its ends

Not here: which direction (`newton`).
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Generator

import numpy as np

from .questions import Clip, Sum, value

TRIALS = 12
Seen = list[tuple[float, float]]  # (t, value) in order of t


def vertex(seen: Seen) -> float | None:
    """The minimum of the parabola through three (t, value); None where it opens downwards.

    Example:
        >>> vertex([(0.0, 1.0), (1.0, 0.0), (3.0, 4.0)])
        1.0
    """
    (a, fa), (b, fb), (c, fc) = seen
    if not (fc - fb) / (c - b) - (fb - fa) / (b - a) > 0:
        return None
    n = (b - a) ** 2 * (fb - fc) - (b - c) ** 2 * (fb - fa)
    m = (b - a) * (fb - fc) - (b - c) * (fb - fa)
    return b - 0.5 * n / m if m and np.isfinite(n / m) else None


def search(
    x: np.ndarray, fx: float, p: np.ndarray, slope: float, clip: Clip, t: float = 1.0
) -> Generator[list[Sum], np.ndarray, tuple[np.ndarray, float, float]]:
    """The best point of clip(x + t p), its value and t; x itself and t = 0 where none is lower.

    Args:
        p: (d,) a direction.
        clip: moves a point to where one may be.
        slope: of f along p at x, below 0.
        t: the first length tried.

    Cost: at most TRIALS evaluations, one after another.
    """
    best, where, seen = (0.0, fx), x, [(0.0, fx)]
    for _ in range(TRIALS):
        z = clip(x + t * p).astype(x.dtype)
        v = yield from value(x, z)
        insort(seen, (t, v))
        if v < best[1]:
            best, where = (t, v), z
        step = _next(seen, seen.index(best), slope)
        if step is None or (clip(x + step * p).astype(x.dtype) == where).all():
            break
        t = step
    return where, best[1], best[0]


def _next(seen: Seen, k: int, slope: float) -> float | None:
    """The next length, where the k-th is the best so far; None: it is good enough."""
    if k == 0:
        t, v = seen[1]
        bend = 2 * (v - seen[0][1] - slope * t)
        return float(np.clip(-slope * t * t / bend if bend > 0 else 0.1 * t, 0.02 * t, 0.5 * t))
    if k == len(seen) - 1:
        t = seen[-1][0]
        new = _beyond(seen, slope)
        if abs(new - t) < 0.1 * t:
            return None
        return float(np.clip(new, 1.2 * t, 4 * t)) if new > t else new
    (a, _), (b, _), (c, _) = seen[k - 1 : k + 2]
    found = vertex(seen[k - 1 : k + 2])
    if found is None or abs(found - b) < 0.05 * b:
        return None
    if a + 0.05 * (b - a) <= found <= c - 0.05 * (c - b):
        return found
    return 0.5 * (b + (a if b - a > c - b else c))


def _beyond(seen: Seen, slope: float) -> float:
    """Where the function may turn, seen from its last and best point."""
    t, v = seen[-1]
    if len(seen) == 2:
        bend = 2 * (v - seen[0][1] - slope * t)
        return -slope * t * t / bend if bend > 0 else 4 * t
    new = vertex(seen[-3:])
    return 4 * t if new is None or new < t else new

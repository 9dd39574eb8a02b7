"""A step size where none is given: a few steps are tried on paper from the start, each at several lengths.

    v    the method's own step from x0 at lr = 1, from its own probes
    lr_j argmin_s f(x0 + s v_j) over s = s0, 10 s0, ... or s0/10, ..., and the vertex of the parabola through the best three
    lr   the harmonic mean of the lr_j: along one random direction, lr_j = 1 / z'Hz, and steps are stable up to its mean

Nothing is moved or recorded; every evaluation counts.  Not here: line searches within a run.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator
from dataclasses import replace

import numpy as np

from ..engine import Method, Run
from ..journal import Journal
from ..protocols import Point
from ..spaces.flat import Flat

FIRST = 0.1  # rms of the first length tried, in units of max(1, rms |x0|)
TRIES = 3  # directions
LENGTHS = 12  # at most, a direction
LAST_T = (1 << 32) - 1  # of a draw: steps never come there

Asked = tuple[np.ndarray, list[Point], int]  # points (m, d), what they are asked on, t
Asking = Generator[Asked, np.ndarray, float]


def settle(
    method: Method, x: np.ndarray, key: int, clip: Callable[[np.ndarray], np.ndarray], room: int
) -> Asking:
    """Yields points, is sent their values (not finite: failed), returns lr.

    Args:
        x: (d,) the start.
        clip: moves points into the bounds.
        room: points it may ask.
    """
    scale = FIRST * max(1.0, float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))))
    found: list[float] = []
    fallback = 0.0
    at_start: float | None = None
    for j in range(TRIES):
        left = room // (TRIES - j)
        if left < method.probe.forwards + 2 and (j or fallback):
            break
        v, spent = yield from _step(copy.deepcopy(method), x, key, LAST_T - j)
        length = float(np.sqrt(np.mean(np.square(v, dtype=np.float64))))
        room -= spent
        if not 0.0 < length < np.inf:
            continue
        fallback = fallback or 0.01 * scale / length
        if at_start is None and room > 0:
            at_start = float((yield x[None], [Point(())], LAST_T)[0])
            room -= 1
        if at_start is None or not np.isfinite(at_start):
            break
        lr, spent = yield from _length(x, v, at_start, scale / length, clip, min(room, LENGTHS, left))
        room -= spent
        if lr:
            found.append(lr)
    if not found:
        return fallback or method.lr
    return float(len(found) / np.sum(1.0 / np.array(found)))


def _step(
    method: Method, x: np.ndarray, key: int, t: int
) -> Generator[Asked, np.ndarray, tuple[np.ndarray, int]]:
    """The method's step from x at lr = 1, (d,), and the points it asked."""
    space = Flat(x.copy())
    run = Run(space, method, Journal.create(None, {"key": key}))
    run.t = t
    talk, spent = run.conversation(), 0
    points = next(talk)
    while True:
        with space.visit(points, method.directions, run.state) as view:
            shown = view.x
        values = yield shown, points, t
        spent += len(points)
        if not np.isfinite(values).all():
            return np.zeros_like(x), spent
        try:
            points = talk.send((values, None))
        except StopIteration as stop:
            run.commit(replace(stop.value, lr=1.0))
            return space.x - x, spent


def _length(
    x: np.ndarray,
    v: np.ndarray,
    at_start: float,
    first: float,
    clip: Callable[[np.ndarray], np.ndarray],
    room: int,
) -> Generator[Asked, np.ndarray, tuple[float, int]]:
    """The best multiple of v, 0 where none lowers the value, and the points asked."""
    known = {0.0: at_start}
    s, factor = first, 0.0
    while len(known) <= room:
        shown = clip((x + x.dtype.type(s) * v)[None])
        value = float((yield shown, [Point(())], LAST_T)[0])
        known[s] = value if np.isfinite(value) else np.inf
        lower = known[s] < at_start
        factor = factor or (10.0 if lower else 0.1)
        if factor > 1 and (not lower or known[s] > min(known.values())):
            break
        if factor < 1 and lower:
            break
        s *= factor
    best = min(known, key=lambda k: known[k])
    return (_vertex(known, best) if best else 0.0), len(known) - 1


def _vertex(known: dict[float, float], best: float) -> float:
    """Where the parabola through 0, the best and the next length has its lowest point, near the best."""
    longer = [s for s in known if s > best and np.isfinite(known[s])]
    if not longer:
        return best
    b, c = best, min(longer)
    fb, fc = known[b] - known[0.0], known[c] - known[0.0]
    curvature = (fc / c - fb / b) / (c - b)  # f(s) = slope s + curvature s^2
    slope = fb / b - curvature * b
    if not curvature > 0.0:
        return best
    return float(min(max(-slope / (2.0 * curvature), 0.3 * best), c))

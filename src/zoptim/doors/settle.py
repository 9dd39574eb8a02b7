"""A step size where none is given: a few steps are tried on paper from the start, each at several lengths.

    v_j   the method's own step from x0 at lr = 1, from its own probes, j = 1, 2, 3 (more in few dimensions)
    lr_j  argmin_s f(x0 + s v_j) over s = s0, 10 s0, ... or s0/10, ..., then the vertex of a parabola
    lr    d / (d + 2) min lr_j: along a random direction lr_j = 1 / z'Hz, and on h |x|^2 / 2 steps along normals go
          down fastest at 1 / (h (d + 2)), up from twice that; where the first step is along all coordinates and those
          after it along n draws, n / (d + n + 1) of it

Nothing is moved or recorded; every evaluation counts.  On a sum all values are of the same components.
Not here: line searches within a run.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..directions import Either
from ..engine import Method, Run
from ..journal import Journal
from ..probes import Recursive
from ..protocols import Point, Record, many
from .ground import PLAIN, Ground

FIRST = 0.1  # rms of the first length tried, in units of max(1, rms |x0|)
TRIES = 3  # directions; in d dimensions 8 / d more, which differ more
LENGTHS = 12  # at most, a direction
LAST_T = (1 << 31) - 1  # of draws and components: steps never come there
STRAIGHT = 1e-4  # of a dual step, in units of the logarithm of a weight
SAMPLE = Point((), many(4))  # what lengths are tried on

Asked = tuple[np.ndarray, list[Point], int]  # points (m, d), what they are asked on, t
Asking = Generator[Asked, np.ndarray, Any]


class Spent(Exception):
    """There is no room for another question."""


@dataclass
class Settling:
    """Finds lr for a method at x.

    Args:
        method: with any lr.
        x: (d,) the start.
        key: of the run.
        clip: moves points (m, d) into the bounds.
        cost: what points cost.
        room: what may be spent.
        ground: what x is.
    """

    method: Method
    x: np.ndarray
    key: int
    clip: Callable[[np.ndarray], np.ndarray]
    cost: Callable[[Sequence[Point]], int]
    room: int
    ground: Ground = PLAIN

    def talk(self) -> Asking:
        """Yields points, is sent their values (not finite: failed), returns lr."""
        x, found, fallback = self.x, list[float](), 0.0
        scale = FIRST * max(1.0, _rms(x))
        try:
            at_start: float | None = None
            for j in range(TRIES + 8 // x.size):
                v = yield from self._step(LAST_T - j)
                length = _rms(v)
                if not 0.0 < length < np.inf:
                    continue
                fallback = fallback or 0.01 * scale / length
                if at_start is None:
                    at_start = yield from self._value(x)
                if np.isfinite(at_start):
                    found += yield from self._length(v, at_start, scale / length)
        except Spent:
            pass
        if not found:
            return fallback or self.method.lr
        least = (
            min(found) * x.size / (x.size + 2) / max(1.0, self.method.pace)
        )  # momentum's later steps are longer
        return least * _between(self.method, x.size)

    def _ask(self, x: np.ndarray, points: list[Point], t: int) -> Asking:
        if self.cost(points) > self.room:
            raise Spent
        self.room -= self.cost(points)
        values = yield x, points, t
        return values

    def _value(self, x: np.ndarray) -> Generator[Asked, np.ndarray, float]:
        value = float((yield from self._ask(self.clip(x[None].copy()), [SAMPLE], LAST_T))[0])
        return value if np.isfinite(value) else np.inf

    def _step(self, t: int) -> Generator[Asked, np.ndarray, np.ndarray]:
        """The method's step t from x at lr = 1, (d,); zeros where it has none."""
        method, space = copy.deepcopy(self.method), self.ground.space(self.x.copy())
        run = Run(space, method, Journal.create(None, {"key": self.key}))
        run.t = t
        talk = run.conversation()
        points = next(talk)
        while True:
            with space.visit(points, method.directions, run.state) as view:
                shown = view.x
            values = yield from self._ask(shown, points, t)
            if not np.isfinite(values).all():
                return np.zeros_like(self.x)
            try:
                points = talk.send((values, None))
            except StopIteration as stop:
                unit = _unit(method, stop.value)
                run.commit(replace(stop.value, lr=unit))
                step: np.ndarray = (space.x - self.x) / self.x.dtype.type(unit)
                return step

    def _length(
        self, v: np.ndarray, at_start: float, first: float
    ) -> Generator[Asked, np.ndarray, list[float]]:
        """The best multiple of v; none where nothing is lower than the start."""
        known, here = {0.0: at_start}, self.ground.space(self.x)
        s, factor = first, 0.0
        try:
            while len(known) <= LENGTHS:
                known[s] = yield from self._value(here.displaced(self.x.dtype.type(s) * v))
                lower = known[s] < at_start
                factor = factor or (10.0 if lower else 0.1)
                if (lower and factor < 1) or (factor > 1 and known[s] > min(known.values())):
                    break
                s *= factor
        except Spent:
            pass
        best = min(known, key=lambda k: known[k])
        return [_vertex(known, best)] if best else []


def _between(method: Method, d: int) -> float:
    """Of an lr for refreshes along all coordinates, what suits the steps between them, along n draws: n / (d + n + 1)."""
    if isinstance(method.probe, Recursive) and isinstance(method.directions, Either):
        return method.probe.n / (d + method.probe.n + 1)
    return 1.0


def _unit(method: Method, record: Record) -> float:
    """The lr of a step on paper: 1, or so little that the steps of a curved geometry are straight."""
    size = sum(abs(c) for _, c in record.terms)
    return STRAIGHT / size if size and getattr(method.rule, "bends", False) else 1.0


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def _vertex(known: dict[float, float], best: float) -> float:
    """The lowest point of the parabola through 0, the best and the next longer length, near the best."""
    longer = [s for s in known if s > best and np.isfinite(known[s])]
    if not longer:
        return best
    b, c = best, min(longer)
    fb, fc = known[b] - known[0.0], known[c] - known[0.0]
    curvature = (fc / c - fb / b) / (c - b)  # f(s) - f(0) = slope s + curvature s^2
    slope = fb / b - curvature * b
    return float(np.clip(-slope / (2.0 * curvature), 0.3 * b, c)) if curvature > 0.0 else b

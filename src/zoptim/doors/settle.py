"""A step size where none is given: a few steps are tried on paper from the start, each at several lengths.

    v_j   the method's own step from x0 at lr = 1, from its own probes, j = 1, 2, 3 (more in few dimensions)
    lr_j  argmin_s f(x0 + s v_j) over s = s0, 10 s0, ... or s0/10, ..., then the vertex of a parabola
    lr    d / (d + 2) min lr_j: along a random direction lr_j = 1 / z'Hz, and on h |x|^2 / 2 steps along normals go
          down fastest at 1 / (h (d + 2)), up from twice that

Of a finite sum a step on a few components tells little of the next ones, which it may not suit at all: there

    lr    half of argmin_s mean_j f(x0 + s v_j), 16 steps together, f on 32 components or more, 4 d where that fits; going up begins at twice that

A first step does not tell what the next ones bear where they go on along what it holds, and correct it (`held`): there

    y     lr_j v_j / 4, from which the method's next step is taken, too, on several batches I
    h     mean of y'H_I y / |y|^2, by f_I(x0), f_I(x0 + y / 2) and f_I(x0 + y)
    C y   what that step moves less what it would, were the answers at x0 + y those at x0

A table of single derivatives has a step size of its own (`entries`).
Nothing is moved or recorded; every evaluation counts.  On a sum all values are of the same components.
Not here: line searches within a run.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from ..coefficients import Central
from ..engine import Run
from ..journal import Journal
from ..method import Method
from ..probes import AnchoredProbe, Entry, TwoSided
from ..protocols import Point, Record, many
from .entries import Bends
from .ground import PLAIN, Ground
from .held import Measured, holding

FIRST = 0.1  # rms of the first length tried, in units of max(1, rms |x0|)
TRIES = 3  # directions; in d dimensions 8 / d more, which differ more
LENGTHS = 12  # at most, a direction
LAST_T = (1 << 31) - 1  # of draws and components: steps never come there
LATER = LAST_T - 1000  # of steps that follow on one of these
SHORT = 0.25  # of lr_j: further away losses may bend less, and no penalty is asked
BATCHES = 8  # they are taken on, at most
STRAIGHT = 1e-4  # of a dual step, in units of the logarithm of a weight
SAMPLE = Point((), many(4))
STEPS, COMPONENTS, LOOKED = (
    16,
    32,
    6,
)  # of a sum: steps that decide together, on how many components at least, how many lengths
FEW = 4  # components of a batch
CAUTION = 0.5  # of the length that is best in the mean, from twice which on steps go up

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
        sample: what lengths are tried on.
    """

    method: Method
    x: np.ndarray
    key: int
    clip: Callable[[np.ndarray], np.ndarray]
    cost: Callable[[Sequence[Point]], int]
    room: int
    ground: Ground = PLAIN
    sample: Point = SAMPLE

    def talk(self) -> Asking:
        """Yields points, is sent their values (not finite: failed), returns lr."""
        if isinstance(self.method.probe, Entry):
            return (yield from self._entries(self.method.probe))
        x, found, fallback, measured = self.x, list[float](), 0.0, Measured()
        scale, probe = FIRST * max(1.0, _rms(x)), holding(self.method)
        if self.cost([SAMPLE]) > 1:  # a sum
            self.sample = self._sample()
            few = self.cost([Point(())]) < FEW
            if few and isinstance(
                probe, AnchoredProbe
            ):  # its corrections are as noisy as the pairs they are made of
                self.method, probe = replace(self.method, probe=TwoSided(), coefficients=Central()), None
            if probe is None:
                return (yield from self._together(scale))
        try:
            at_start: float | None = None
            for j in range(TRIES + 8 // x.size):
                room = self.room
                v, records = yield from self._step(LAST_T - j)
                length, price = _rms(v), room - self.room
                if not 0.0 < length < np.inf:
                    continue
                fallback = fallback or 0.01 * scale / length
                if at_start is None:
                    at_start = yield from self._value(x)
                if np.isfinite(at_start):
                    best = yield from self._length(v, at_start, scale / length)
                    found += best
                    if best and probe is not None:
                        yield from self._later(records, SHORT * best[0], v, price, measured)
        except Spent:
            pass
        if not found:
            return fallback or self.method.lr
        pace = max(1.0, self.method.pace)  # momentum's later steps are longer
        if probe is not None:
            return measured.lr(self.method, probe, x.size, min(found)) / pace
        return min(found) * x.size / (x.size + 2) / pace

    def _entries(self, probe: Entry) -> Asking:
        """Of a table of single derivatives, which say nothing of how far to go."""
        bends, here = Bends(self.x.size), self.ground.space(self.x)

        def line(steps: np.ndarray) -> np.ndarray:
            ends = self.clip(np.stack([here.displaced(v.astype(self.x.dtype)) for v in steps]))
            return np.stack([self.x, *(p for end in ends for p in ((self.x + end) / 2, end))])

        with suppress(Spent):
            scale = FIRST * max(1.0, _rms(self.x))
            yield from bends.measured(probe, self.key, LAST_T, scale, line, self._ask)
        return (bends.lr or self.method.lr) / max(1.0, self.method.pace)

    def _sample(self) -> Point:
        """So many components that hardly any step suits all of them by chance, a few dozen values' worth of the room at most."""
        batch = self.cost([Point(())])
        wanted = min(max(COMPONENTS, 4 * self.x.size), max(COMPONENTS, self.room // (4 * LOOKED)))
        return Point((), many(-(-wanted // batch)))

    def _together(self, scale: float) -> Asking:
        """lr of a sum: a step on a few components tells little of the next, so what many bring in the mean decides."""
        steps: list[np.ndarray] = []
        try:
            at_start = yield from self._value(self.x)
            while len(steps) < STEPS:
                before = self.room
                v, _ = yield from self._step(LAST_T - 1 - len(steps))
                if not np.isfinite(_rms(v)):
                    break
                steps.append(v)
                if self.room < (len(steps) + 1) * LOOKED * self.cost([self.sample]) + before - self.room:
                    break
        except Spent:
            pass
        moving = np.array([v for v in steps if v.any()])
        if not len(moving):
            return self.method.lr
        fallback = 0.01 * scale / _rms(moving)
        best = (
            (yield from self._length(moving, at_start, scale / _rms(moving))) if np.isfinite(at_start) else []
        )
        return (CAUTION * best[0] if best else fallback) / max(1.0, self.method.pace)

    def _ask(self, x: np.ndarray, points: list[Point], t: int) -> Asking:
        if self.cost(points) > self.room:
            raise Spent
        self.room -= self.cost(points)
        values = yield x, points, t
        return values

    def _value(self, x: np.ndarray) -> Generator[Asked, np.ndarray, float]:
        """At a point (d,), or in the mean over several (m, d)."""
        points = self.clip(np.atleast_2d(x).copy())
        value = float((yield from self._ask(points, [self.sample] * len(points), LAST_T)).mean())
        return value if np.isfinite(value) else np.inf

    def _step(self, t: int) -> Generator[Asked, np.ndarray, tuple[np.ndarray, list[Record]]]:
        """The method's step t from x at lr = 1, (d,), and its records; zeros where it has none."""
        run = self._run()
        record, _ = yield from self._record(run, t)
        records = [record]
        if record.kind == "track":  # it took stock; what it holds, its next step is along
            run.commit(record)
            free = (k for k in range(LATER, LATER - BATCHES, -1) if not _due(run, k))
            record = _answered(run, next(free, LATER), None)
            records.append(record)
        return _moved(run, record), records

    def _later(
        self, records: Sequence[Record], s: float, v: np.ndarray, price: int, measured: Measured
    ) -> Generator[Asked, np.ndarray, None]:
        """The curvature and the corrections at y = s v, where the records lead, for about what these cost."""
        least = self.room - price
        here, square = self.ground.space(self.x), s * s * float(np.square(v, dtype=np.float64).sum())
        line = np.stack([here.displaced(self.x.dtype.type(a * s) * v) for a in (0.0, 0.5, 1.0)])
        batches = max(BATCHES, -(-COMPONENTS // max(1, self.cost([Point(())]))))
        for t in range(LATER - 1, LATER - 1 - batches, -1):
            if self.room < least:
                break
            low, middle, high = yield from self._ask(self.clip(line.copy()), [Point(())] * 3, t)
            bend = 4.0 * (low - 2.0 * middle + high) / square
            measured.bends += [bend] * bool(np.isfinite(bend))
            run = self._run(records, s)
            if _due(run, t):
                continue
            record, answers = yield from self._record(run, t)
            if record.kind != "move":
                continue
            there = answers[len(answers) // 2 :]
            alike = _answered(run, t, np.concatenate([there, there]))
            c = _moved(run, record).astype(np.float64) - _moved(self._run(records, s), alike)
            measured.squares.append(float(c @ c) / square)

    def _run(self, records: Sequence[Record] = (), s: float = 0.0) -> Run:
        """The method on paper, after these records at lr = s."""
        run = Run(
            self.ground.space(self.x.copy()),
            copy.deepcopy(self.method),
            Journal.create(None, {"key": self.key}),
        )
        for record in records:
            run.commit(record._replace(lr=s))
        return run

    def _record(self, run: Run, t: int) -> Generator[Asked, np.ndarray, tuple[Record, np.ndarray]]:
        """The run's next step, as step t, and what was answered; a skip where an evaluation fails."""
        run.t, space = t, cast(Any, run.space)
        talk = run.conversation()
        points = next(talk)
        while True:
            shown = space.points(points, run.method.directions, run.state)
            values = yield from self._ask(shown, points, t)
            if not np.isfinite(values).all():
                return Record("skip", t, 0.0), values
            try:
                points = talk.send((values, None))
            except StopIteration as stop:
                return stop.value, values

    def _length(
        self, v: np.ndarray, at_start: float, first: float
    ) -> Generator[Asked, np.ndarray, list[float]]:
        """The best multiple of v (d,), or of several (m, d) in the mean; none where nothing is lower than the start."""
        known, here = {0.0: at_start}, self.ground.space(self.x)
        s, factor = first, 0.0
        try:
            while len(known) <= LENGTHS:
                there = [here.displaced(self.x.dtype.type(s) * one) for one in np.atleast_2d(v)]
                known[s] = yield from self._value(np.array(there))
                lower = known[s] < at_start
                factor = factor or (10.0 if lower else 0.1)
                if (lower and factor < 1) or (factor > 1 and known[s] > min(known.values())):
                    break
                s *= factor
        except Spent:
            pass
        best = min(known, key=lambda k: known[k])
        return [_vertex(known, best)] if best else []


def _due(run: Run, t: int) -> bool:
    """Whether a method that holds an estimate would take it anew at step t."""
    probe = holding(run.method)
    return probe is not None and probe.due(t, run.key)


def _answered(run: Run, t: int, values: np.ndarray | None) -> Record:
    """Step t of a run whose one round is answered so; None: alike everywhere."""
    run.t = t
    talk = run.conversation()
    points = next(talk)
    try:
        talk.send((np.zeros(len(points)) if values is None else values, None))
    except StopIteration as stop:
        record: Record = stop.value
        return record
    raise AssertionError("a correction asks one round")


def _moved(run: Run, record: Record) -> np.ndarray:
    """What the record moves at lr = 1, (d,); the run has then done it."""
    space, unit = cast(Any, run.space), _unit(run.method, record)
    x = space.x.copy()
    run.commit(record._replace(lr=unit))
    step: np.ndarray = (space.x - x) / x.dtype.type(unit)
    return step


def _unit(method: Method, record: Record) -> float:
    """The lr of a step on paper: 1, or so little that the steps of a curved geometry are straight."""
    size = sum(abs(c) for _, c in record.terms)
    return STRAIGHT / size if size and getattr(method.rule, "bends", False) else 1.0


def _rms(x: np.ndarray) -> float:
    with np.errstate(over="ignore"):
        found = float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))
    if found < np.inf or not np.isfinite(x).all():
        return found
    largest = float(np.abs(x).max())  # whose square is too large
    return largest * _rms(x / largest)


def _vertex(known: dict[float, float], best: float) -> float:
    """The lowest point of the parabola through 0, the best and the next longer length, near the best."""
    longer = [s for s in known if s > best and np.isfinite(known[s])]
    if not longer:
        return best
    b, c = best, min(longer)
    fb, fc = known[b] - known[0.0], known[c] - known[0.0]
    curvature = (fc / c - fb / b) / (c - b)  # f(s) - f(0) = slope s + curvature s^2
    slope = fb / b - curvature * b
    return float(np.clip(-slope / (2.0 * curvature), 0.3 * b, c)) if 0.0 < curvature < np.inf else b

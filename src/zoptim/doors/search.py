"""A search by questions and answers: `ask` says where the function is wanted, `tell` says what it is there.

    search = zoptim.Search(x0, "mezo", budget=1000)
    while not search.done:
        X = search.ask()
        search.tell([f(x) for x in X])

`zoptim.minimize` is this loop.  Points are those of `engine.Run.conversation`; a step whose questions do not fit into
the budget is dropped, unrecorded.  Not here: calling a function (`answers`), choosing a method (`choose`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..engine import Method, Run
from ..journal import Journal
from ..noise import VERSION, key_from_seed
from ..protocols import TIES, Point, Record
from ..rules.clipped import Clipped
from ..spaces.flat import Flat
from .answers import FAILURES, number
from .choose import choose, with_lr
from .problem import Bounds, Components, start
from .results import Result, Trace
from .settle import settle

OUTPUTS = ("best", "last", "average")
SHARE = 5  # at most one evaluation in so many goes into finding a step size
TOGETHER = 1 << 22  # numbers in the points of one question
FLAT = 20  # steps whose probes all tie, before the message says so


class Question(NamedTuple):
    """Points, and what an answer costs."""

    x: np.ndarray  # (m, d)
    components: tuple[np.ndarray, ...] | None  # (b,) each, of a finite sum
    cost: int


class Failed(Exception):
    """An evaluation failed, and its step is to be left out."""


Talk = Generator[Question, np.ndarray, None]


class Search:
    """A method at work on a function it never sees.

    Args:
        x0: the start, of any shape; points have the same.
        method: a name of the shelf, a Method, or "auto".
        bounds: SciPy's Bounds, pairs (low, high), or one pair for all numbers; no point is asked outside.
        budget: evaluations in all, never exceeded; a batch of b components costs b.  None: no end.
        seed: of the directions and batches.
        n: components of a finite sum; 0: none.
        batch: components a step's points are asked on.
        failures: what to do with an evaluation that fails (told as NaN, infinite or None): "raise"; "skip" its step;
            "penalize" it with the worst value so far and the spread of all.
        output: "best" of the points asked, the "last" iterate, or the "average" of iterates.
        settings: of the named method, e.g. {"lr": 0.1}.
        journal: a new file for the steps; None: in memory.

    Raises:
        TypeError, ValueError: an argument that is none of these.

    Example:
        >>> search = Search([3.0, 4.0], "mezo", budget=200)
        >>> while not search.done:
        ...     search.tell([float(x @ x) for x in search.ask()])
        >>> search.result().fun < 1e-3, search.spent <= 200
        (True, True)
    """

    def __init__(
        self, x0: Any, method: str | Method = "auto", *, bounds: Any = None, budget: int | None = None, seed: int = 0,
        n: int = 0, batch: int = 1, failures: str = "raise", output: str | None = None,
        settings: Mapping[str, Any] | None = None, journal: str | Path | None = None,
        target: float | None = None,
    ) -> None:  # fmt: skip
        x = start(x0)
        self.shape = x.shape
        self.key = key_from_seed(seed)
        self.budget = _whole("budget", budget, 1) if budget is not None else None
        self.components = (
            Components(self.key, _whole("n", n, 1), min(_whole("batch", batch, 1), n)) if n else None
        )
        self.output = output or ("last" if n else "best")
        if self.output not in OUTPUTS:
            raise ValueError(f"output={output!r} must be one of {', '.join(OUTPUTS)}")
        if failures not in FAILURES:
            raise ValueError(f"failures={failures!r} must be one of {', '.join(FAILURES)}")
        self.bounds = None if bounds is None else Bounds.of(bounds, x)
        self.failures, self.target = failures, target
        self.trace, self.spent, self.message, self.status = Trace(), 0, "", 0
        self.space = Flat(x.ravel())
        chosen = choose(method, settings or {}, self.space.x, self.budget, n or None)
        self.method, self._finds_lr, self.why = chosen
        self._path = None if journal is None else Path(journal)
        self.run: Run | None = None
        self._best: tuple[float, np.ndarray | None] = (math.inf, None)
        self._final: tuple[np.ndarray, float] | None = None
        self._mean, self._ties = self.space.x.astype(np.float64) if self.output == "average" else None, 0
        self._talk = self._talking()
        self._question: Question | None = None
        self._ended = False
        self._check_budget()

    # -- asking and telling --------------------------------------------------------------------------

    def ask(self) -> np.ndarray:
        """(m, *shape) points whose values are wanted, the same until they are told; (0, *shape): the search is done."""
        self._advance()
        if self._question is None:
            return np.empty((0, *self.shape), self.space.x.dtype)
        return self._question.x.reshape(-1, *self.shape)

    @property
    def asked_on(self) -> tuple[np.ndarray, ...] | None:
        """Which components of a finite sum each point of `ask` is asked on, (b,) each."""
        self._advance()
        return self._question.components if self._question is not None else None

    @property
    def done(self) -> bool:
        """Whether there is nothing more to ask; `message` says why."""
        self._advance()
        return self._ended

    @property
    def steps(self) -> int:
        return self.run.done if self.run is not None else 0

    def tell(self, values: Any) -> None:
        """The values at the points of `ask`, (m,), lower is better; NaN or None where the evaluation failed.

        Raises:
            TypeError, ValueError: not one real number a point; a failed one where failures="raise".
            RuntimeError: nothing was asked.
        """
        if self._question is None:
            raise RuntimeError("tell: nothing was asked; call ask() first")
        asked = self._question
        told = np.array([np.nan if v is None else number(v, "tell: an evaluation") for v in values])
        if len(told) != len(asked.x):
            raise ValueError(
                f"tell: {len(told)} values for {len(asked.x)} points; give one each, NaN where it failed"
            )
        ok = np.isfinite(told)
        if self.failures == "raise" and not ok.all():
            where = int(np.flatnonzero(~ok)[0])
            raise ValueError(
                f"the objective is {told[where]} at evaluation {len(self.trace) + where + 1}: make it finite there, or "
                "choose failures='skip' or 'penalize'"
            )
        cost = asked.cost // len(told)
        whole = self.components is None or cost == self.components.n
        for x, value, fine in zip(asked.x, told.tolist(), ok.tolist(), strict=True):
            self.spent += cost
            self.trace.add(self.spent, value if fine else math.nan)
            if fine and whole and value < self._best[0]:
                self._best = value, x.copy()
        if self.failures == "penalize" and not ok.all():
            told[~ok] = self._penalty()
        self._question = None
        self._advance(told)

    def _penalty(self) -> float:
        """The worst finite value so far, and the spread of all, or its size."""
        known = self.trace.values
        known = known[np.isfinite(known)]
        if not known.size:
            return 1e10
        return float(known.max() + (known.max() - known.min() or max(1.0, abs(known.max()))))

    def _advance(self, told: np.ndarray | None = None) -> None:
        if self._question is not None or self._ended:
            return
        try:
            self._question = next(self._talk) if told is None else self._talk.send(told)
        except StopIteration:
            self._ended = True

    # -- the talk --------------------------------------------------------------------------------------

    def _talking(self) -> Talk:
        if self._finds_lr:
            lr = yield from self._settle()
            self.method = with_lr(self.method, lr)
        self.run = self._opened()
        while not self._met():
            try:
                record = yield from self._step()
            except Failed as failed:
                record = self._skipped(str(failed))
            if record is None:
                break
            self.run.commit(record)
            self._ties = self._ties + 1 if record.reason == TIES else 0
            if self._mean is not None:
                self._mean += (self.space.x - self._mean) / (self.run.done + 1)
        yield from self._finish()

    def _step(self) -> Generator[Question, np.ndarray, Record | None]:
        """The next step's record; None where its questions do not fit."""
        assert self.run is not None
        talk = self.run.conversation()
        points = next(talk)
        while True:
            if not self._fits(sum(map(self._cost, points)) + self._reserve):
                self._end(1, f"the budget of {self.budget} evaluations is spent")
                return None
            answers = []
            for part in self._parts(points):
                with self.space.visit(part, self.run.method.directions, self.run.state) as view:
                    question = self._asked(view.x, part, self.run.t)
                values = yield question
                if not np.isfinite(values).all():
                    raise Failed("failed evaluation")
                answers.append(values)
            try:
                points = talk.send((np.concatenate(answers), None))
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]

    def _skipped(self, reason: str) -> Record:
        assert self.run is not None
        run = self.run
        return Record(
            "skip", run.t, run.method.lr * run.method.schedule(run.done, run.horizon), reason=reason
        )

    def _settle(self) -> Generator[Question, np.ndarray, float]:
        room = self._room(self.budget) if self.budget else 10**6
        talk = settle(self.method, self.space.x, self.key, self._clip, room)
        asked = next(talk)
        while True:
            values = yield self._asked(*asked)
            try:
                asked = talk.send(values)
            except StopIteration as stop:
                return float(stop.value)

    def _room(self, budget: int) -> int:
        """Points that finding a step size may ask."""
        batch = self.components.batch if self.components else 1
        return (budget - self._reserve) // (SHARE * batch)

    def _finish(self) -> Talk:
        """The value where the search ends."""
        x = self.space.x if self._mean is None else self._mean.astype(self.space.x.dtype)
        point = self._clip(x[None].copy())
        all_of = None if self.components is None else (self.components.all,)
        cost = 1 if self.components is None else self.components.n
        if self.status == 0 or not self._fits(cost) or self.budget is None:
            return
        value = yield Question(point, all_of, cost)
        self._final = point[0], float(value[0])

    # -- what it costs ---------------------------------------------------------------------------------

    def _asked(self, x: np.ndarray, points: Sequence[Point], t: int) -> Question:
        on = None if self.components is None else tuple(self.components(t, p.items) for p in points)
        return Question(self._clip(x), on, len(points) if on is None else sum(map(len, on)))

    def _cost(self, point: Point) -> int:
        if self.components is None:
            return 1
        c = self.components
        return 1 if point.items.own >= 0 else min(c.n, c.batch * point.items.batches)

    def _fits(self, cost: int) -> bool:
        return self.budget is None or self.spent + cost <= self.budget

    @property
    def _reserve(self) -> int:
        """What is kept for the value where the search ends."""
        if self.budget is None:
            return 0
        cost = 1 if self.components is None else self.components.n
        return cost if 4 * cost <= self.budget else 0

    def _parts(self, points: Sequence[Point]) -> list[Sequence[Point]]:
        """A round's points, as many at a time as memory allows, those that cost the same together."""
        size = max(1, TOGETHER // self.space.x.size)
        parts: list[Sequence[Point]] = []
        at = 0
        for k in range(1, len(points) + 1):
            if k == len(points) or k - at == size or self._cost(points[k]) != self._cost(points[at]):
                parts.append(points[at:k])
                at = k
        return parts

    def _check_budget(self) -> None:
        """Refuse a budget in which the method takes no step."""
        first = next(
            Run(
                Flat(self.space.x.copy()), copy.deepcopy(self.method), Journal.create(None, {"key": self.key})
            ).conversation()
        )
        if any(point.order for point in first):
            raise ValueError(
                f"method={self.method.name}: it asks for exact slopes, which a black box does not answer; use another"
            )
        need = sum(map(self._cost, first)) * (2 if self._finds_lr else 1)
        if self.budget is not None and need + self._reserve > self.budget:
            raise ValueError(
                f"budget={self.budget} is too small for one step: {self.method.name} needs {need + self._reserve} evaluations"
            )

    # -- beginning and ending --------------------------------------------------------------------------

    def _clip(self, x: np.ndarray) -> np.ndarray:
        return x if self.bounds is None else self.bounds.clip(x)

    def _opened(self) -> Run:
        method = copy.deepcopy(self.method)
        if self.bounds is not None:
            law = getattr(method.directions, "law", "normal")
            inner = self.bounds.inner(method.eps * (1.0 if law == "signs" else 4.4))
            inner.clip(self.space.x[None])
            method = replace(method, rule=Clipped(method.rule, inner.low, inner.high))
        header = {
            "by": "zoptim.minimize", "key": self.key, "noise": VERSION, "shape": list(self.shape),
            "method": {"name": method.name, "arguments": dict(method.arguments)},
        }  # fmt: skip
        cost = method.forwards * (self.components.batch if self.components else 1)
        left = 0 if self.budget is None else self.budget - self.spent - self._reserve
        return Run(self.space, method, Journal.create(self._path, header), horizon=max(1, int(left // cost)))

    def _met(self) -> bool:
        if self.target is not None and self._best[0] <= self.target:
            self._end(0, f"the target {self.target:g} is reached")
            return True
        return False

    def _end(self, status: int, why: str) -> None:
        self.status, self.message = status, why

    def result(self) -> Result:
        """What is known so far, in SciPy's names."""
        value, x = self._best
        if self.output != "best" or x is None:
            value, x = (
                math.nan,
                (self.space.x if self._mean is None else self._mean.astype(self.space.x.dtype)),
            )
            if self._final is not None:
                x, value = self._final
        message = f"{self.message or 'under way'}; {self.why}"
        if self._ties >= FLAT:
            message += (
                f"; the last {self._ties} steps' probes all tie: the function is flat within eps={self.method.eps:.3g}, "
                "try settings={'eps': ...} with a larger radius"
            )
        return Result(
            x=x.reshape(self.shape).copy(), fun=value, nfev=self.spent, nit=self.steps,
            success=bool(np.isfinite(value)) and self.steps > 0, status=self.status, message=message,
            method=self.method.name, trace=self.trace, journal=None if self.run is None else self.run.journal,
        )  # fmt: skip


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name}={value!r} must be a whole number from {least}")
    return int(value)

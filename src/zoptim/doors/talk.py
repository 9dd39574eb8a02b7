"""The questions a search asks, in order: for a step size, then step by step, then where it ends.

    find lr   (only where none is given: `settle`)
    step      rounds of points from `engine.Run.conversation`; a round that does not fit into the budget drops its step,
              unrecorded; an evaluation that failed makes the step a skip
    end       the value of the last iterate, or of their average

Every question is asked by `yield` and answered by `send`, so that anyone may evaluate, any time.  Not here: what
answers may be, the trace, the best so far (`search`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..engine import Run, finite
from ..journal import Journal
from ..method import Method
from ..noise import ORDER, VERSION, uniforms
from ..probes import Entry, Recursive
from ..protocols import TIES, Ended, Point, Record
from ..rules import Descent, PNorm, Sliding
from .account import Account, Components
from .choose import with_lr
from .ground import PLAIN, Ground
from .players import Sides
from .region import Region
from .settle import Settling, Spent

SHARE = 5  # at most one evaluation in so many goes into finding a step size
UNBOUNDED = 200  # points it may ask for that where there is no budget
TOGETHER = 1 << 22  # numbers in the points of one question
KEPT = ("average", "random")  # outputs that are no place of the search
CHANCE = 4  # where the words of a random output lie in the stream of choices


class Question(NamedTuple):
    """Points, and what each is asked on and costs."""

    x: np.ndarray  # (m, d)
    components: tuple[np.ndarray, ...] | None  # (b,) each, of a finite sum
    cost: int  # of one point
    last: bool = False  # where the search ends: nothing follows from the answer


class Failed(Exception):
    """An evaluation failed, and its step is to be left out."""


Asking = Generator[Question, np.ndarray, Any]


class Talk:
    """A method on its ground, and what it asks.

    Args:
        x: (d,) the start; moved in place.
        method: with a step size, unless `finds_lr`.
        finds_lr: ask for a step size first.
        account: what evaluations cost.
        key: of the run.
        region: where points are asked; what steps stay in, or pay for.
        output: "average" or "random": what is kept of the iterates; else nothing is.
        ground: what x is.

    Raises:
        ValueError: a budget without room for a step; a method that a black box cannot answer.
    """

    def __init__(
        self, x: np.ndarray, method: Method, *, finds_lr: bool, account: Account, key: int, region: Region | Sides,
        output: str, header: dict[str, Any], ground: Ground = PLAIN,
    ) -> None:  # fmt: skip
        self.ground, self.space = ground, ground.space(x)
        self.method, self.finds_lr = method, finds_lr
        self.account, self.key, self.region, self.header = account, key, region, header
        self._clip = region.clip
        self.run: Run | None = None
        self.output = output
        self.kept = x.astype(np.float64) if output in KEPT else None  # their average, or one of them
        self._lrs = 0.0  # of all steps, where one of their places is to be kept
        self.final: float | None = None  # the value where the search ended
        self.ended = ""  # why a method has nothing more to ask
        self.ties = 0  # steps in a row whose probes all tied
        region.hold(method, x.copy())
        self._check()

    def _check(self) -> None:
        """Refuse what takes no step, before anything is asked."""
        self._table()
        trial = Run(
            self.ground.space(self.space.x.copy()),
            copy.deepcopy(self.method),
            Journal.create(None, {"key": self.key}),
        )
        first = next(trial.conversation())
        if any(point.order for point in first):
            raise ValueError(
                f"method={self.method.name}: it asks for exact slopes, which a black box does not answer; use another"
            )
        self.round = self.account.cost(first)
        steps = self.round * (2 if self.finds_lr else 1)
        if not self.account.fits(steps + self.account.reserve):
            need = steps + replace(self.account, budget=steps).reserve  # with which it does
            raise ValueError(
                f"budget={self.account.budget} is too small for one step: {self.method.name} needs {need} evaluations"
            )
        self.account.on(0, first)

    def _table(self) -> None:
        """Refuse a table of entries (`probes.Entry`) of another sum, or of none."""
        probe, name, parts = self.method.probe, self.method.name, self.account.components
        if not isinstance(probe, Entry):
            return
        if not isinstance(parts, Components):
            raise ValueError(
                f"method={name}: it asks single components of a finite sum; give n, their number"
            )
        if parts.batch > 1:
            raise ValueError(f"batch={parts.batch}: {name} asks single components; leave it out")
        if (probe.d, probe.components) != (self.space.x.size, parts.n):
            raise ValueError(
                f"d={probe.d}, components={probe.components}: the table of {name} is for {self.space.x.size} numbers and "
                f"n={parts.n} components; leave both settings out"
            )

    def open(self, journal: Journal | None, path: Any = None) -> None:
        """Begin the steps, or go on after those of a journal."""
        method = self.region.hold(copy.deepcopy(self.method), self.space.x)
        if journal is None:
            steps = self.account.left() / (self._forwards(method) * self.account.batch)
            journal = Journal.create(path, self.header | {
                "by": "zoptim.minimize", "key": self.key, "noise": VERSION, "horizon": max(1, int(steps)),
                "method": {"name": method.name, "arguments": dict(method.arguments)},
            })  # fmt: skip
        self.run = Run(self.space, method, journal, horizon=journal.header["horizon"])
        for record in journal.records if self.output == "random" else ():
            self._lrs += record.lr

    def _forwards(self, method: Method) -> float:
        """Batches a step asks in the mean; a refresh on "all there are" asks the sum, no more."""
        probe, batches = method.probe, -(-self.account.whole // self.account.batch)
        if isinstance(probe, Recursive) and probe.big > batches:
            method = replace(method, probe=replace(probe, big=batches))
        return method.forwards

    # -- asking ----------------------------------------------------------------------------------------

    def find_lr(self) -> Asking:
        """A step size, into the method."""
        account, some = self.account, max(8 * self.account.batch, self.round)
        left = account.left() if account.budget is not None else SHARE * UNBOUNDED * account.batch
        room = max(left // SHARE, min(some, left - self.round))  # a round stays for a step
        alike = isinstance(self.method.rule, Sliding | PNorm)  # whose lr is about that of the plain step
        plain = replace(self.method, rule=Descent()) if alike else self.method
        x = self.ground.typical(self.space.x, self.key)
        settling = Settling(plain, x, self.key, self._clip, account.cost, room, self.ground)
        talk = settling.talk()
        values: Any = None
        spent = False
        while True:
            try:
                asked = talk.throw(Spent()) if spent else talk.send(values)
            except StopIteration as stop:
                self.method, self.finds_lr = with_lr(self.method, float(stop.value)), False
                return
            # points told that were never asked may have used up the room
            spent = account.budget is not None and account.cost(asked[1]) > account.left()
            if not spent:
                values = yield self._question(*asked)

    def step(self) -> Generator[Question, np.ndarray, bool]:
        """One step; False: its questions do not fit into the budget, and nothing happened."""
        assert self.run is not None
        try:
            record = yield from self._record(self.run)
        except Ended as end:
            self.ended = str(end)
            return False
        except Failed:
            run = self.run
            lr = run.method.lr * run.method.schedule(run.done, run.horizon)
            record = Record("skip", run.t, lr, reason="failed evaluation")
        if record is None:
            return False
        if self.output == "random" and self._drawn(self.run.done, record.lr):
            self.kept = self.space.x.astype(np.float64)
        self.run.commit(record)
        self.ties = self.ties + 1 if record.reason == TIES else 0
        if self.output == "average" and self.kept is not None:
            self.kept += (self.space.x - self.kept) / (self.run.done + 1)
        return True

    def _drawn(self, steps: int, lr: float) -> bool:
        """Whether the place where this step begins takes that of the one kept: so chances are in proportion to lr."""
        self._lrs += lr
        return float(uniforms(self.key, steps, CHANCE, 0, 0, 1, ORDER)[0]) * self._lrs < lr

    def _record(self, run: Run) -> Generator[Question, np.ndarray, Record | None]:
        talk = run.conversation()
        points = next(talk)
        while True:
            if not self.account.affords(points):
                return None
            answers = []
            for part in self._parts(points):
                asked = [self.space.points(part, run.method.directions, run.state)]
                # only the question holds them, so that their memory is free again once they are answered
                answer = yield self._question(asked.pop(), part, run.t)
                if not finite(answer.tolist()):
                    raise Failed
                answers.append(answer)
            try:
                points = talk.send((np.concatenate(answers) if len(answers) > 1 else answers[0], None))
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]

    def end(self) -> Asking:
        """The value of the function where the search ends."""
        if self.account.budget is None or not self.account.fits(self.account.whole):
            return
        whole = None if self.account.components is None else (np.arange(self.account.whole),)
        self.final = float((yield Question(self.place()[None], whole, self.account.whole, True))[0])

    def place(self) -> np.ndarray:
        """(d,) where the search is, a copy."""
        x = self.space.x if self.kept is None else self.kept
        here: np.ndarray = self._clip(x.astype(self.space.x.dtype)[None])[0]
        return here

    # -- questions -------------------------------------------------------------------------------------

    def _question(self, x: np.ndarray, points: Sequence[Point], t: int) -> Question:
        """At points that cost the same."""
        account = self.account
        if account.components is None:
            return Question(self._clip(x), None, 1)
        return Question(self._clip(x), account.on(t, points), account.cost(points[:1]))

    def _parts(self, points: Sequence[Point]) -> list[Sequence[Point]]:
        """A round's points, as many at a time as memory allows, neighbors that cost the same together."""
        size = max(1, TOGETHER // self.space.x.size)
        if len(points) <= size and self.account.components is None:
            return [points]
        parts: list[Sequence[Point]] = []
        at = 0
        for k in range(1, len(points) + 1):
            if k == len(points) or k - at == size or points[k].items.batches != points[at].items.batches:
                parts.append(points[at:k])
                at = k
        return parts


Met = Callable[[], bool]


def talking(
    talk: Talk, mark: Callable[[], None], ended: Met, out_of_budget: Callable[[], None], path: Any
) -> Asking:
    """All of it.  `mark` is called where everything so far is kept by the journal."""
    if talk.finds_lr:
        yield from talk.find_lr()
    if talk.run is None:
        talk.open(None, path)
    mark()
    while not ended():
        if not (yield from talk.step()):
            out_of_budget()
            break
        mark()
    yield from talk.end()

"""The engine: asks a method's questions, seals the answer as a record, applies it.  Nothing else moves weights.

One step, with every part given from outside:

    points   = probe(t)                          where to look
    losses   = objective at the points           a visit never writes a weight
    coefs    = coefficients(losses)              one number a draw
    record   = (t, lr, (draw, coef) pairs)       appended to the journal before any weight changes
    theta    = rule(theta, sum coef z, lr)       regenerated, slot by slot

The engine knows neither torch nor models, draws no random number and stores no direction.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Sequence
from itertools import groupby
from typing import Any, cast

import numpy as np

from . import kernels
from .interrupts import deferred_interrupt
from .journal import Journal, canonical_json, digest, effective, next_t
from .kernels.arrays import host
from .method import Method, begun
from .named import Named
from .objective import reduced
from .processes import spread
from .protocols import (
    TIES,
    Mix,
    Now,
    Objective,
    Point,
    Record,
    Sloped,
    Slot,
    Space,
    Starts,
    Step,
    Stride,
    Term,
    Updates,
    Weighing,
    chunks,
)

BLOCK = 256  # steps a fused replay adds in one call: an interrupt waits no longer than that
MOVING = ("move", "track")  # kinds of records that change the parameters, or vectors kept beside them
SMALL = 1 << 12  # elements up to which one step is added sooner than it is packed for a sweep
CHUNK = 1 << 17  # elements an apply or a replay holds at once: 0.5 MB of float32, inside a level-2 cache

HALFWAY = "an update was interrupted half-way: these weights are unusable; open the run again, its journal rebuilds them"
UNDONE = "steps were taken back: these weights still hold them; open the run again, its journal rebuilds the weights of then"
EARLIER = "this run was opened at an earlier step: open it without `until` to continue"


def finite(values: Iterable[float]) -> bool:
    """Whether all are; for a few numbers sooner said without numpy."""
    return all(map(math.isfinite, values))


class PoisonedRun(RuntimeError):
    """An apply was interrupted: the weights in memory are neither before nor after the step."""


class Run:
    """A method at work on a space, with its journal.

    Args:
        space: where the parameters live; must hold the initial parameters.
        method: the composition to run.
        journal: its header's "key" is the run key; records already there are replayed (no forwards).
        horizon: T, the number of steps the schedules are laid over.
        until: replay only records with t < until (the weights as they were then); such a run takes no steps.
        processes: how many forked processes answer a round's visits; records are the same, to the bit.

    Raises:
        ValueError: several processes where this one computes in several threads, which do not survive a fork.

    Cost: replay of n records is one sweep over the weights, noise for each record's terms, no forward.
    """

    def __init__(
        self, space: Space, method: Method, journal: Journal, *, horizon: int = 1, until: int | None = None,
        processes: int = 1,
    ) -> None:  # fmt: skip
        if processes > 1 and kernels.threads() > 1:
            raise ValueError(
                f"processes={processes}: this process computes in {kernels.threads()} threads, which do not survive "
                "a fork; set one thread first (torch.set_num_threads(1), OMP_NUM_THREADS=1)"
            )
        self.processes = processes
        self.space, self.method, self.journal, self.horizon = space, method, journal, horizon
        self.key = int(journal.header["key"])
        self.slots = tuple(space.slots())
        self.size = sum(math.prod(slot.shape) for slot in self.slots)
        self._refuse()
        self.state = begun(method.directions, space, self.key, horizon)
        self.vectors = {s.id: self._zeros(s) for s in self.slots if method.rule.vectors}
        self.named = Named(method.vecs, space, method.directions, self.state)
        if method.vecs:
            cast(Any, space).keep(self.named)
        self._moved = 0  # moves applied
        records = effective(journal.records)
        self.t = next_t(journal.records)
        self.read_only = until is not None
        if until is not None:
            records = [r for r in records if r.t < until]
        self.done = len(records)  # steps in force: where the schedules stand, also after an undo
        if isinstance(method.probe, Starts):
            method.probe.start(self._numbers(), self.key)
        for record in records:
            method.coefficients.observe(record)
            method.probe.observe(record)
        self._applied = method.applied
        self._updates = isinstance(self._applied, Updates) and not method.vecs
        self._blocked = (
            method.directions.memoryless
            and method.rule.scope == "element"
            and not method.rule.vectors
            and not method.vecs
        )
        self._defers = bool(getattr(space, "defers", False))
        self._kept: tuple[Sequence[Mix], list[kernels.Steps]] = ((), [])  # see _fused
        self._moves: list[Record] = []  # in force, where the space defers them, and their sums
        self._mixes: list[Mix] = []
        self._rebuild([r for r in records if r.kind in MOVING])
        self._halted = EARLIER if self.read_only else ""  # why no more steps are taken

    # -- asking ------------------------------------------------------------------------------------

    def ask(self, points: Sequence[Point], objective: Objective) -> tuple[np.ndarray, np.ndarray | None]:
        """Reduced losses (m,) and, where the objective gives them, per-item losses (m, items)."""
        directions, state = self.method.directions, self.state

        def visited(group: Sequence[Point]) -> tuple[np.ndarray, np.ndarray | None]:
            with self.space.visit(group, directions, state) as view:
                answer = cast(Sloped, view).slopes(objective) if group[0].order else objective(view)
            return reduced(answer, len(group))

        visits: list[Sequence[Point]] = []
        for (_, order), alike in groupby(points, key=lambda p: (p.items.batches, p.order)):
            some = tuple(alike)
            visits += [[p] for p in some] if order else self.space.groups(some, directions, state)
        answers = spread(visited, visits, self.processes)
        losses = [values for values, _ in answers]
        items = [table for _, table in answers if table is not None]
        widths = {table.shape[1] for table in items}
        return np.concatenate(losses), np.concatenate(items) if len(widths) == 1 else None

    # -- stepping ----------------------------------------------------------------------------------

    def step(self, objective: Objective) -> Record:
        """Ask, weigh, record, apply.  A non-finite loss or an all-ties answer becomes a skip record."""
        record = self.propose(objective)
        self.commit(record)
        return record

    def propose(self, objective: Objective) -> Record:
        """Ask and weigh: the record of the next step, not yet written and moving nothing."""
        talk = self.conversation()
        asked = next(talk)
        while True:
            try:
                asked = talk.send(self.ask(asked, objective))
            except StopIteration as stop:
                return cast(Record, stop.value)

    def conversation(self) -> Generator[list[Point], tuple[np.ndarray, np.ndarray | None], Record]:
        """The next step as questions: yields points, is sent their losses (and per-item losses), returns the record.

        Points may be asked anywhere and answered at any time; nothing moves before the record is committed.
        """
        if self._halted:
            raise PoisonedRun(self._halted)
        method, t = self.method, self.t
        lr = method.lr * method.schedule(self.done, self.horizon)
        rounds = method.probe.rounds(t, Now(lr, method.eps, self.key))
        points: list[Point] = []
        losses: list[np.ndarray] = []
        tables: list[np.ndarray] = []
        asked = next(rounds)
        while True:
            answer, table = yield asked
            points += asked
            losses.append(answer)
            if table is not None:
                tables.append(table)
            try:
                asked = rounds.send(answer)
            except StopIteration as stop:
                draws = stop.value
                break
        values = np.concatenate(losses) if len(losses) > 1 else losses[0]
        whole = len(tables) == len(losses) and len({table.shape[1] for table in tables}) == 1
        return self._seal(t, lr, draws, points, values, np.concatenate(tables) if whole else None)

    def _seal(self, t: int, lr: float, draws: Any, points: Any, losses: np.ndarray, items: Any) -> Record:
        told = tuple(losses.tolist())
        if not finite(told):
            return Record("skip", t, lr, losses=told, reason="non-finite loss")
        w = Weighing.of(
            draws=draws, points=tuple(points), losses=losses, coefs=np.zeros(len(draws)), eps=self.method.eps, items=items,
            t=t, lr=lr, key=self.key, size=self.size, dot=self.named.dot,
        )  # fmt: skip
        w = self.method.coefficients.weigh(w)
        coefs = w.coefs.tolist()
        if not finite(coefs) or (w.tracks and not finite([c for _, terms in w.tracks for _, c in terms])):
            return Record("skip", t, lr, losses=told, reason="non-finite coefficient")
        if not any(coefs):
            if w.tracks:
                return Record("track", t, lr, losses=told, extra=w.extra, tracks=w.tracks)
            return Record("skip", t, lr, losses=told, extra=w.extra, reason=w.reason or TIES)
        terms: tuple[Term, ...] = tuple(zip(w.draws, coefs, strict=True))
        return Record("move", t, lr, terms, told, w.extra, tracks=w.tracks)

    def commit(self, record: Record) -> None:
        """Append, then apply; an interrupt waits until the weights are whole again."""
        if self._halted:
            raise PoisonedRun(self._halted)
        with deferred_interrupt():
            self.journal.append(record)
            self._halted = HALFWAY  # until the weights hold what the journal says
            if record.kind != "undo":
                self.t = max(self.t, record.t + 1)
                self.done += 1
                self.method.coefficients.observe(record)
                self.method.probe.observe(record)
                if record.kind in MOVING:
                    self._apply([record])
            self._halted = UNDONE if record.kind == "undo" else ""

    def undo(self, steps: int = 1) -> Record:
        """Take back the last `steps` steps in force, skipped ones counted; this run then takes no more.

        Open the run again on the initial parameters: its journal rebuilds the weights of then, bit for bit.
        t goes on from where it was, so an undone step's noise is not used again.

        Raises:
            ValueError: fewer steps are in force.

        Cost: one record; the rebuild is a replay.
        """
        force = effective(list(self.journal.records))
        if not 1 <= steps <= len(force):
            raise ValueError(f"steps={steps} must be from 1 to the {len(force)} steps in force")
        record = Record("undo", force[-steps].t, 0.0)
        self.commit(record)
        return record

    # -- applying ----------------------------------------------------------------------------------

    def _rebuild(self, records: Sequence[Record]) -> None:
        """From the initial weights to those after these moves."""
        self._apply(records)

    def _apply(self, records: Sequence[Record]) -> None:
        """The only place where weights change.

        Several records (a replay) go chunk by chunk, all records in order over one chunk while it is in the
        cache: for element-wise rules without state that is the same arithmetic as step by step.
        """
        directions = self.method.directions
        if self._defers:
            return self._defer(records)
        for batch in [records] if self._blocked else [[r] for r in records]:
            if self.method.vecs:  # then a batch is one record
                self.named.track(batch[0].tracks)
                if batch[0].kind == "track":
                    continue
            mixes = [Mix.of(r.terms) for r in batch]
            for slot in self.slots:
                with self.space.tensor(slot) as p:
                    self._write(slot, p, batch, mixes)
                    if not directions.memoryless:
                        for record in batch:  # one: what learns is not blocked
                            directions.learn(record, slot, p, self.state)
            self._moved += len(batch)

    def _write(self, slot: Slot, p: Any, records: Sequence[Record], mixes: Sequence[Mix]) -> None:
        """All of `records`, in order, into one slot's (rows, cols), chunk by chunk."""
        directions, every = self._applied, slice(0, p.shape[0])
        if len(records) == 1 and p.shape[0] * p.shape[1] <= SMALL and p.dtype.itemsize >= 4:
            return self._apply_rows(slot, p, every, records[0], mixes[0], self._moved)
        if self._updates:
            fused = self._fused(records, mixes)
            update = cast(Updates, directions).update
            if fused and all(update(p, slot, every, steps, self.state) for steps in fused):
                return  # in native code; a slot that refuses does so at the first block
        limit = CHUNK if len(records) > 1 else 8 * CHUNK
        if self.method.rule.scope != "element":
            limit = p.shape[0] * p.shape[1]
        for rows in chunks(p.shape[0], p.shape[1], limit):
            for i, (record, mix) in enumerate(zip(records, mixes, strict=True)):
                self._apply_rows(slot, p[rows], rows, record, mix, self._moved + i)

    def _fused(self, records: Sequence[Record], mixes: Sequence[Mix]) -> list[kernels.Steps]:
        """The records as steps that directions can add by themselves; empty where the rule has no such form.

        Kept from slot to slot: thousands of records are packed once.
        """
        kept = self._kept[0]
        if len(kept) != len(mixes) or any(kept[n] is not mixes[n] for n in (0, -1) if mixes):
            scales = [self.method.rule.scale(r.lr) for r in records]
            steps = [
                Step(mix.draws, mix.coefs[0], s, r.t)
                for r, mix, s in zip(records, mixes, scales, strict=True)
                if s is not None
            ]
            blocks = range(0, len(steps) if None not in scales else 0, BLOCK)
            self._kept = mixes, [kernels.Steps(steps[i : i + BLOCK]) for i in blocks]
        return self._kept[1]

    def _defer(self, records: Sequence[Record]) -> None:
        """Hand the moves to a space whose tensors pass by: it asks for those that each of them misses."""
        if not self._moves:
            self._tag = bytes.fromhex(digest(canonical_json(self.journal.header)))
        self._moves += records
        self._mixes += [Mix.of(r.terms) for r in records]
        follow: Any = self.space.follow  # type: ignore[attr-defined]
        follow(self._moves, self._catch_up, sync=self._sync, tag=self._tag)
        self._moved += len(records)

    def _zeros(self, slot: Slot) -> list[Any]:
        """The rule's vectors of a slot, in the dtype rules compute in."""
        made = []
        with self.space.tensor(slot) as p:
            for _ in range(self.method.rule.vectors):
                v = self.space.empty_like(self.space.widen(p))
                v[:] = 0
                made.append(v)
        return made

    def _numbers(self) -> np.ndarray:
        """All parameters in the order of the slots, a copy, (d,)."""
        parts = []
        for slot in self.slots:
            with self.space.tensor(slot) as p:
                parts.append(np.array(host(p)).ravel())
        return np.concatenate(parts)

    def _refuse(self) -> None:
        """What a plain run cannot do: take gradients; keep state beside weights that pass by."""
        if self.method.first is not None:
            raise ValueError(
                f"method={self.method.name}: it also takes gradients; open it with zoptim.drivers.hybrid.Hybrid"
            )
        if self.method.vecs and not hasattr(self.space, "keep"):
            raise ValueError(
                f"method={self.method.name}: it keeps vectors beside the parameters ({', '.join(self.method.vecs)}), which "
                "only zoptim.minimize has a place for; use another method here"
            )
        rule, directions = self.method.rule, self.method.directions
        still = directions.memoryless and rule.scope == "element" and not rule.vectors
        if getattr(self.space, "defers", False) and not still:
            raise ValueError(
                f"method={self.method.name}: its directions or rule keep state beside the weights, which cannot be "
                "streamed; train less (what is small stays in memory), or use a method without state"
            )

    def _catch_up(self, slot: Slot, p: Any, since: int) -> None:
        """All moves in force but the first `since`, into one slot's (rows, cols)."""
        self._write(slot, p, self._moves[since:], self._mixes[since:])

    def _sync(self) -> None:
        """Make the journal last, before anything of it is written elsewhere."""
        if not self.read_only:
            self.journal.sync()

    def _apply_rows(self, slot: Slot, p: Any, rows: slice, record: Record, mix: Mix, k: int) -> None:
        """One record, the k-th move, into some rows."""
        rule, space = self.method.rule, self.space
        directions = self._applied
        wide = space.widen(p)  # p itself, or a float32 copy where p is of half precision
        scale = None if self.method.vecs else rule.scale(record.lr)
        if scale is not None:  # p += scale * g, fused: the same bits as the lines below
            directions.form(wide[None], slot, rows, mix, wide, self.state, scale)
        else:
            if self.method.vecs:
                g = self.named.sum(record.terms, slot, rows, wide)
            else:
                g = space.empty_like(wide)
                directions.form(g[None], slot, rows, mix, None, self.state, at=wide)
            rule.apply(
                wide, g, Stride(record.lr, k, slot.name), [v[rows] for v in self.vectors.get(slot.id, ())]
            )
        if wide is not p:
            space.narrow(p, wide, slot, rows, self.key, record.t)

"""Laws of conduct, 1 to 4 and 8: what a run writes, where it looks, what it leaves behind, whom it asks."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from ..engine import PoisonedRun
from ..noise import slot_id
from ..protocols import HERE, Directions, Draw, Mix, Point, Record, Slot, State, Stride, Term, Vec
from .case import Broken, Case, formed, near, need, opened, same, weights
from .functions import objective
from .subjects import Spy, Subject, Values, made_up


class Killed(BaseException):
    """Stands for a process that ended."""


def replay(case: Case) -> str:
    """Parameters are a function of (initial parameters, journal), whenever the process ended."""
    for subject in case.subjects:
        space = subject.make()
        run, marks = case.run(space), [subject.bits(space)]
        for _ in range(5):
            run.step(subject.ask(space))
            marks.append(subject.bits(space))
        other = subject.make()
        again = case.run(other, run.journal.dump())
        need(subject.bits(other) == marks[-1], f"{subject.name}: a reopened run has other weights")
        for _ in range(2):
            a, b = run.step(subject.ask(space)), again.step(subject.ask(other))
            need(a == b, f"{subject.name}: a reopened run goes on with another record at t={a.t}")
            need(subject.bits(other) == subject.bits(space), f"{subject.name}: and with other weights")
        early = subject.make()
        case.run(early, run.journal.dump(), until=3)
        need(subject.bits(early) == marks[3], f"{subject.name}: weights as of t=3 differ")
        _replay_killed(case, subject, marks)
    return f"{len(case.subjects)} spaces, killed after append"


def _replay_killed(case: Case, subject: Subject, marks: list[bytes]) -> None:
    def killed(records: Any) -> None:
        raise Killed

    space = subject.make()
    victim = case.run(space)
    for _ in range(3):
        victim.step(subject.ask(space))
    victim._apply = killed  # type: ignore[method-assign]
    with suppress(Killed):
        victim.step(subject.ask(space))
    need(len(victim.journal.records) == 4, "a record was not written before the weights changed")
    need(subject.bits(space) == marks[3], "weights changed before the apply")
    with suppress(PoisonedRun):
        victim.step(subject.ask(space))
        raise Broken("a run whose apply was interrupted takes another step")
    after = subject.make()
    case.run(after, victim.journal.dump())
    need(subject.bits(after) == marks[4], f"{subject.name}: killed between append and apply, then reopened")


def one_direction(case: Case) -> str:
    """after == rule(before, sum) bitwise, every visit was at base + sum, and a visit of the step adds that sum.

    Directions with `factors` are visited by matrix products, which add in an order of their own: to rounding.
    """
    for subject in case.subjects:
        spy = Spy(subject)
        run = case.run(spy)
        probed = run.method.directions
        applied = run.method.applied
        equal = _to_rounding if hasattr(probed, "factors") else same
        for t in range(3):
            spy.seen.clear()
            before, state, moving, held = (
                subject.values(spy.space),
                as_arrays(run.state),
                as_arrays(run.vectors),
                as_arrays(run.named.arrays),
            )
            record = run.step(subject.ask(spy))
            if run.method.vecs:
                _along_vectors(run, subject, record, before, held, moving, spy.seen)
                continue
            need(record.kind == "move", f"{subject.name}: no step to look at: {record.reason}")
            after = subject.values(spy.space)
            if probed.memoryless:  # the whole step as a point, seen from where it led
                with spy.visit([Point(record.terms)], applied, state):
                    whole = spy.seen.pop()[1]
            for slot in run.slots:
                where, base = f"{subject.name}: {slot.name} at t={record.t}", before[slot.id]
                for points, seen in spy.seen:
                    sums = _sums(probed, slot, base, points, state)
                    for p, point in enumerate(points):
                        away = point.terms and not point.order
                        there = subject.displaced(spy.space, base, sums[p]) if away else base
                        was = equal(seen[slot.id][p], there)
                        need(was, f"{where} was not visited at base + sum")
                g = _sums(applied, slot, base, [Point(record.terms)], state)[0]
                if probed.memoryless:
                    need(equal(whole[slot.id][0], after[slot.id] + g), f"{where}: a visit adds another sum")
                run.method.rule.apply(base, g, Stride(record.lr, t, slot.name), moving.get(slot.id, []))
                need(same(after[slot.id], base), f"{where} moved along another sum")
    return "bitwise, float32 and float64"


def _along_vectors(
    run: Any, subject: Subject, record: Record, before: Values, held: Any, moving: Any, visits: Any
) -> None:
    """The same of a method that keeps vectors: they too are the sums that the record says, set before the move."""
    for slot in run.slots:
        where, base = f"{subject.name}: {slot.name} at t={record.t}", before[slot.id].copy()
        mine = {name: arrays[slot.id] for name, arrays in held.items()} | {HERE.name: base}
        tell = partial(_sum_with_vectors, run, slot, mine)
        for points, seen in visits:
            for p, point in enumerate(points):
                expected = tell([(Vec(point.origin or HERE.name), 1.0), *point.terms])
                need(same(seen[slot.id][p], expected), f"{where} was not visited at its origin + sum")
        for name, terms in record.tracks:
            mine[name] = tell(terms)
            need(name in run.named.arrays, f"{where}: {name} is not among the vectors the method declares")
        for name, arrays in run.named.arrays.items():
            need(same(arrays[slot.id], mine[name]), f"{where}: {name} is not the sum its record says")
        if record.kind == "move":
            stride = Stride(record.lr, run._moved - 1, slot.name)
            run.method.rule.apply(base, tell(record.terms), stride, moving.get(slot.id, []))
        need(same(subject.values(run.space)[slot.id], base), f"{where} moved along another sum")


def _sum_with_vectors(run: Any, slot: Slot, vectors: Any, terms: Sequence[Term]) -> np.ndarray:
    """Vectors in order, then the sum of the draws, (rows, cols)."""
    base, total = vectors[HERE.name], None
    for z, c in terms:
        if isinstance(z, Vec):
            total = vectors[z.name] * c if total is None else total + vectors[z.name] * c
    draws = [(z, c) for z, c in terms if not isinstance(z, Vec)]
    if not draws and total is not None:
        return np.asarray(total)
    added = formed(run.method.applied, slot, base.shape, [draws], run.state, base.dtype, base)[0]
    return added if total is None else np.asarray(total + added)


def as_arrays(state: Any) -> Any:
    """A copy of a state with its tensors as numpy arrays, for the laws' own arithmetic."""
    if isinstance(state, dict):
        return {name: as_arrays(part) for name, part in state.items()}
    if type(state) in (list, tuple):
        return type(state)(as_arrays(part) for part in state)
    return state.detach().numpy().copy() if hasattr(state, "detach") else copy.deepcopy(state)


def _to_rounding(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and near(a, b, 1e-6 if a.dtype == np.float32 else 1e-14)


def _sums(
    directions: Directions, slot: Slot, base: np.ndarray, points: Sequence[Point], state: State
) -> np.ndarray:
    return formed(directions, slot, base.shape, [p.terms for p in points], state, base.dtype, base)


class Stop(Exception):
    """An objective that gives up."""


def home(case: Case) -> str:
    """After a visit, and after an exception inside one, every bit is as before."""

    def fails(view: Any) -> np.ndarray:
        raise Stop

    for subject in case.subjects:
        space = subject.make()
        run, bits = case.run(space), subject.bits(space)
        points = [Point(((Draw(0, 0), s),)) for s in (0.3, -0.3)] + [Point(())]
        run.ask(points, subject.ask(space))
        need(subject.bits(space) == bits, f"{subject.name}: a visit changed a bit")
        with suppress(Stop):
            run.step(fails)
            raise Broken("an exception of the objective was swallowed")
        need(subject.bits(space) == bits, f"{subject.name}: an exception inside a visit changed a bit")
        need(not len(run.journal.records), f"{subject.name}: a step that failed was recorded")
        other = subject.make()
        need(
            run.step(subject.ask(space)) == case.run(other).step(subject.ask(other)),
            f"{subject.name}: the step after an exception is another one",
        )
    return "visits and exceptions, buffers too"


def address(case: Case) -> str:
    """Noise depends on (key, t, i, slot, element) alone; no two addresses share it."""
    method = case.make()
    directions = method.directions
    slot, shape = Slot(slot_id("a"), "a", (37, 5)), (37, 5)
    draws = [Draw(t, i) for t in (0, 1, 1000) for i in range(3)]
    state = opened(directions, slot, shape, case.key)
    whole = formed(directions, slot, shape, [((z, 1.0),) for z in draws], state)
    back = formed(directions, slot, shape, [((z, 1.0),) for z in draws[::-1]], state)
    need(same(whole, back[::-1]), "a draw's noise depends on the order of asking")
    single = formed(directions, slot, shape, [((z, 1.0),) for z in draws], state, np.float32)
    need(near(single, whole, 1e-6), "a draw's noise depends on the dtype")
    if directions.scope == "rows":
        mix = Mix.of(*[((z, 1.0),) for z in draws])
        for rows in (slice(0, 1), slice(3, 30), np.array([36, 0, 5])):
            part = np.empty(whole[:, rows].shape)
            directions.form(part, slot, rows, mix, None, state, at=weights(shape)[rows])
            need(same(part, whole[:, rows]), f"a draw's noise depends on the chunk: rows {rows}")
    if getattr(directions, "finite", False):
        return "chunks, rows, dtypes, order; unit vectors, which addresses share"
    seen = {z.tobytes() for z in whole}
    for other in (Slot(slot_id("b"), "b", shape), Slot(slot.id ^ 1 << 31, "c", shape)):
        there = opened(directions, other, shape, case.key)
        seen |= {z.tobytes() for z in formed(directions, other, shape, [((z, 1.0),) for z in draws], there)}
    elsewhere = opened(directions, slot, shape, case.key ^ 1 << 63)
    seen |= {z.tobytes() for z in formed(directions, slot, shape, [((z, 1.0),) for z in draws], elsewhere)}
    need(len(seen) == 4 * len(draws), "two addresses share their noise")
    return "chunks, rows, dtypes, order; 36 addresses apart"


def _listed(ask: Any, said: list[float], heard: Sequence[float] | None = None) -> Any:
    """What is asked, its values listed; with `heard` it answers those instead, lest a step that looks at its own
    losses carries what they are rounded by into the points it asks next."""

    def objective(view: Any) -> Any:
        own = ask(view)
        values = own.detach().numpy() if hasattr(own, "detach") else own
        start = len(said)
        said.extend(values.tolist())
        if heard is None:
            return own
        moved = heard[start : len(said)] - values  # its slopes stay
        return own + (own.new_tensor(moved) if hasattr(own, "new_tensor") else moved)

    if hasattr(ask, "slopes"):
        objective.slopes = ask.slopes  # type: ignore[attr-defined]
    return objective


def degenerate(case: Case) -> str:
    """Equal losses move nothing; per-item losses weigh as their mean; lockstep == one by one."""
    space = case.over(made_up("law", 6))
    bits = space.x.tobytes()
    record = case.run(space).step(objective(lambda x: np.full(len(x), 2.5)))
    still = record.kind == "skip" or bool(
        case.make().vecs
    )  # one that keeps vectors may move along one that is 0
    need(still and space.x.tobytes() == bits, "equal losses everywhere moved the parameters")

    def bowl(x: np.ndarray) -> np.ndarray:
        return np.asarray(((x - 1.0) ** 2).sum(axis=1))

    plain = case.step(bowl)[0]
    need(
        plain == case.step(lambda x: np.repeat(bowl(x)[:, None], 4, axis=1))[0],
        "four equal items are not one",
    )
    junk = np.array([1.0, 1.0, 0.0])

    def weighted(x: np.ndarray) -> Any:
        return np.stack([bowl(x), bowl(x), 7.0 + x[:, 0]], axis=1), junk

    need(plain == case.step(weighted)[0], "an item of weight 0 counts")
    for subject in case.subjects:
        together, apart = subject.make(), subject.make(one_by_one=True)
        a: list[float] = []
        b: list[float] = []
        once = case.run(together).step(_listed(subject.ask(together), a))
        again = case.run(apart).step(_listed(subject.ask(apart), b, heard=a))
        for x, y in ((a, b), (once.losses, again.losses)):  # the second are slopes where slopes are asked
            need(
                near(x, y, 1e-5 if "32" in subject.name else 1e-12),
                f"{subject.name}: lockstep {x}, one by one {y}",
            )
    return "equal losses, items, weights, lockstep"

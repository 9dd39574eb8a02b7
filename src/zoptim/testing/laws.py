"""The laws as tests: `check_method` runs on a method every law that applies to it and prints the verdicts.

    held                 tried, and true
    not claimed: why     the method does not promise it, or nothing was given to try it with
    failed: detail       the method breaks it, or claims a trait that has no test or is not true

A law that finds nothing wrong is no proof; a law that fails is a bug.  Not here: speed, memory, regret.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ..engine import Method, PoisonedRun, Run
from ..journal import Journal
from ..noise import key_from_seed, slot_id
from ..protocols import Directions, Draw, Mix, Point, Record, Slot, State, Term, Weighing
from ..spaces.flat import Flat
from . import functions as table
from .functions import Function, Problem
from .subjects import FlatSubject, Spy, Subject, made_up, subjects

HORIZON = 8  # of the short runs below; schedules are laid over it

Status = Literal["held", "not claimed", "failed"]
Reference = Callable[..., np.ndarray]  # (f, x0, *, key, slot, steps, horizon, **arguments) -> (steps + 1, d)


@dataclass(frozen=True)
class Trial:
    """A function to minimise at a fixed budget: how much of the first gap may be left, with one of `lrs`."""

    problem: Problem
    forwards: int = 4000
    left: float = 0.01
    lrs: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
    eps: float = 1e-3


TRIALS = (Trial(table.quadratic()), Trial(table.logistic(), left=0.05), Trial(table.finite_sum(), left=0.05))


@dataclass(frozen=True)
class Finding:
    """One law's verdict."""

    law: str
    status: Status
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.law:<28} {self.status}{': ' + self.detail if self.detail else ''}"


@dataclass(frozen=True)
class Report:
    """All verdicts on a method; printing it gives the table."""

    method: str
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.status == "failed")

    def __str__(self) -> str:
        return "\n".join([self.method, *(f"  {f}" for f in self.findings)])


class Broken(AssertionError):
    """A law does not hold."""


class Unclaimed(Exception):
    """A law does not apply; the message says why."""


def check_method(
    make: Callable[[], Method], *, functions: Sequence[Trial] = TRIALS, reference: Reference | None = None,
    traits: Iterable[str] | None = None, seed: int = 0,
) -> Report:  # fmt: skip
    """Try every law on a method.

    Args:
        make: builds the method anew; called many times, so it must not share state between calls.
        functions: what must be minimised, at which budget.
        reference: the obvious edition: (f, x0, *, key, slot, steps, horizon, **method.arguments) to the
            (steps + 1, d) trajectory, given the same noise.
        traits: what the method must claim, for shelves that pin it: a trait dropped fails.
        seed: of all the noise.

    Cost: 2 to 5 seconds; mostly the trials.

    Example:
        >>> from zoptim.methods import mezo
        >>> report = check_method(lambda: mezo(lr=0.01), functions=[])
        >>> report.failed
        ()
        >>> print(report.findings[0])
        1 replay                     held: 4 spaces, killed after append
    """
    case = Case(make, tuple(functions), reference, key_from_seed(seed))
    findings = [_try(name, law, case) for name, law in LAWS]
    claims = make().claims
    for trait in sorted(claims | set(TRAITS) | set(traits or ())):
        findings.append(_trait(trait, case, trait in claims, trait in set(traits or ())))
    return Report(make().name, tuple(findings))


@dataclass(frozen=True)
class Case:
    """What the laws share."""

    make: Callable[[], Method]
    functions: tuple[Trial, ...]
    reference: Reference | None
    key: int
    subjects: tuple[Subject, ...] = field(default_factory=subjects)

    def run(self, space: Any, dump: bytes | None = None, method: Method | None = None, **how: Any) -> Run:
        journal = Journal.create(None, {"key": self.key}) if dump is None else Journal(None, dump)
        return Run(space, method or self.make(), journal, horizon=HORIZON, **how)

    def step(self, f: Function, method: Method | None = None, d: int = 6) -> tuple[Record, list[Point]]:
        """One step on a function of d numbers in float64, and the points it asked."""
        spy = Spy(FlatSubject(np.float64))
        spy.space = Flat(made_up("law", d))
        record = self.run(spy, method=method).step(lambda view: f(view.x))
        return record, [p for points, _ in spy.seen for p in points]


def _try(name: str, law: Callable[[Case], str], case: Case) -> Finding:
    try:
        return Finding(name, "held", law(case))
    except Unclaimed as reason:
        return Finding(name, "not claimed", str(reason))
    except Exception as error:  # a method that crashes breaks the law it crashes in
        text = str(error) if isinstance(error, Broken) else f"{type(error).__name__}: {error}"
        return Finding(name, "failed", text)


def _trait(name: str, case: Case, claimed: bool, pinned: bool) -> Finding:
    law = f"trait {name}"
    if name not in TRAITS:
        return Finding(law, "failed", "claimed, but there is no test for it")
    found = _try(law, TRAITS[name], case)
    if claimed:
        return found
    if pinned:
        return Finding(law, "failed", "dropped: the method no longer claims it")
    note = "though it holds here" if found.status == "held" else found.detail
    return Finding(law, "not claimed", note)


def need(true: bool, message: str) -> None:
    if not true:
        raise Broken(message)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Bit for bit."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def near(a: Any, b: Any, tolerance: float) -> bool:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return a.shape == b.shape and bool(np.abs(a - b).max(initial=0.0) <= tolerance * np.abs(b).max(initial=0.0))


def formed(
    directions: Directions, slot: Slot, shape: tuple[int, int], sums: Sequence[Sequence[Term]], state: State,
    dtype: Any = np.float64,
) -> np.ndarray:  # fmt: skip
    """The sums themselves, (m, rows, cols), added to nothing."""
    out = np.empty((len(sums), *shape), dtype)
    directions.form(out, slot, slice(0, shape[0]), Mix.of(*sums), None, state)
    return out


def draws_of(method: Method, draws: Sequence[Any], d: int, key: int) -> np.ndarray:
    """z of some draws on a flat space of d numbers: (k, d)."""
    slot = Flat(np.zeros(d)).slot
    state = method.directions.init((slot,), key)
    return formed(method.directions, slot, (d, 1), [((z, 1.0),) for z in draws], state)[:, :, 0]


# -- 1 to 4: replay, one direction, home, address --------------------------------------------------------


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
    """after == rule(before, sum) bitwise, and every visit was at base + sum."""
    for subject in case.subjects:
        spy = Spy(subject)
        run = case.run(spy)
        method = run.method
        for _ in range(3):
            spy.seen.clear()
            before, state, moving = subject.values(spy.space), copy.deepcopy(run.state), copy.deepcopy(run.rule_states)
            record = run.step(subject.ask(spy))
            need(record.kind == "move", f"{subject.name}: no step to look at: {record.reason}")
            after = subject.values(spy.space)
            for slot in run.slots:
                base = before[slot.id]
                for points, seen in spy.seen:
                    sums = formed(method.directions, slot, base.shape, [p.terms for p in points], state, base.dtype)
                    for p, point in enumerate(points):
                        was = same(seen[slot.id][p], base + sums[p] if point.terms else base)
                        need(was, f"{subject.name}: {slot.name} was not visited at base + sum, t={record.t}")
                g = formed(method.directions, slot, base.shape, [record.terms], state, base.dtype)[0]
                method.rule.apply(base, g, record.lr, moving[slot.id])
                need(same(after[slot.id], base), f"{subject.name}: {slot.name} moved along another sum, t={record.t}")
    return "bitwise, float32 and float64"


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
    state = directions.init((slot,), case.key)
    whole = formed(directions, slot, shape, [((z, 1.0),) for z in draws], state)
    back = formed(directions, slot, shape, [((z, 1.0),) for z in draws[::-1]], state)
    need(same(whole, back[::-1]), "a draw's noise depends on the order of asking")
    single = formed(directions, slot, shape, [((z, 1.0),) for z in draws], state, np.float32)
    need(near(single, whole, 1e-6), "a draw's noise depends on the dtype")
    if directions.scope == "rows":
        mix = Mix.of(*[((z, 1.0),) for z in draws])
        for rows in (slice(0, 1), slice(3, 30), np.array([36, 0, 5])):
            part = np.empty(whole[:, rows].shape)
            directions.form(part, slot, rows, mix, None, state)
            need(same(part, whole[:, rows]), f"a draw's noise depends on the chunk: rows {rows}")
    seen = {z.tobytes() for z in whole}
    for other in (Slot(slot_id("b"), "b", shape), Slot(slot.id ^ 1 << 31, "c", shape)):
        seen |= {z.tobytes() for z in formed(directions, other, shape, [((z, 1.0),) for z in draws], state)}
    elsewhere = directions.init((slot,), case.key ^ 1 << 63)
    seen |= {z.tobytes() for z in formed(directions, slot, shape, [((z, 1.0),) for z in draws], elsewhere)}
    need(len(seen) == 4 * len(draws), "two addresses share their noise")
    return "chunks, rows, dtypes, order; 36 addresses apart"


# -- 5 to 7: exactness, moments, permutations --------------------------------------------------------------


def sidedness(points: Sequence[Point], draws: Sequence[Any]) -> Literal["two", "one"]:
    """Whether the points were pairs theta +- eps z_i, or theta and theta + eps z_i."""
    scales: dict[Any, list[float]] = {z: [] for z in draws}
    for point in points:
        if len(point.terms) > 1 or any(z not in scales for z, _ in point.terms):
            raise Unclaimed("the points are neither pairs nor a base and probes")
        for z, s in point.terms:
            scales[z].append(s)
    if all(len(s) == 2 and s[0] == -s[1] for s in scales.values()):
        return "two"
    if all(len(s) == 1 for s in scales.values()) and Point(()) in points:
        return "one"
    raise Unclaimed("the points are neither pairs nor a base and probes")


def exactness(case: Case) -> str:
    """On f = g.x coefficients are z.g; on a quadratic the one-sided ones have the bias eps/2 z'Az."""
    method = replace(case.make(), eps=1e-2)
    if method.claims & {"rank-invariant", "sign"}:
        raise Unclaimed("coefficients are not differences")
    g, a, x = made_up("g", 6), made_up("A", 6, 6), made_up("law", 6)
    a = (a + a.T) / 2
    side = ""
    for hessian, name in ((np.zeros((6, 6)), "g.x"), (a, "a quadratic")):
        record, points = case.step(lambda y, h=hessian: y @ g + 0.5 * ((y @ h) * y).sum(axis=1), method)
        draws = [z for z, _ in record.terms]
        side = sidedness(points, draws)
        z, c = draws_of(method, draws, 6, case.key), np.array([c for _, c in record.terms])
        exact = z @ (g + hessian @ x)
        if side == "one":
            exact = exact + 0.5 * method.eps * ((z @ hessian) * z).sum(axis=1)
        factor = 1 / len(draws) if "unbiased" in method.claims else float(c @ exact) / float(exact @ exact)
        need(factor > 0, f"on {name} the coefficients point uphill")
        need(near(c, factor * exact, 1e-8), f"on {name} coefficients are {c}, expected {factor * exact}")
    kind = "" if "unbiased" in method.claims else ", to a common factor"
    return f"{side}-sided{kind}" + (", bias eps/2 z'Az" if side == "one" else ", no bias on a quadratic")


SECOND = {"signs": 0.0, "normal": 2.0}  # E |<g,z> z|^2 / |g|^2 = d + this


def moments(case: Case) -> str:
    """E z = 0, E <g,z>z = g and E |<g,z>z|^2 as in the scaling table; of whole steps too if unbiased."""
    method, d = case.make(), 8
    law = getattr(method.directions, "law", None)
    if law not in SECOND:
        raise Unclaimed("no row of the scaling table for these directions")
    g = made_up("g", d)
    z = np.concatenate([draws_of(method, [Draw(t, i) for i in range(200)], d, case.key) for t in range(100)])
    _within(z, np.zeros(d), "E z")
    _within((z @ g)[:, None] * z, g, "E <g,z> z")
    _within((z @ g) ** 2 * (z**2).sum(axis=1) / (g @ g), d + SECOND[law], "E |<g,z> z|^2 / |g|^2")
    if "unbiased" not in method.claims:
        return f"{law}: directions (steps are not unbiased)"
    steps, n = _linear_steps(case, g, 1500)
    _within(steps, g, "E step")
    _within((steps**2).sum(axis=1) / (g @ g), (d + SECOND[law] + n - 1) / n, "E |step|^2 / |g|^2")
    return f"{law}: directions, and steps of {n}"


def _within(samples: np.ndarray, expected: Any, what: str) -> None:
    mean, error = samples.mean(axis=0), samples.std(axis=0) / np.sqrt(len(samples))
    off = np.abs(mean - expected) / np.maximum(error, 1e-12)
    need(bool((off < 5).all()), f"{what} is off by {off.max():.1f} standard errors")


def _linear_steps(case: Case, g: np.ndarray, count: int) -> tuple[np.ndarray, int]:
    """What `count` steps on f = g.x would move by, before the rule: (count, d), and the draws of a step."""
    space = Flat(np.zeros(len(g)))
    run = case.run(space, method=replace(case.make(), lr=1e-9))
    records = [run.step(lambda view: view.x @ g) for _ in range(count)]
    sums = [formed(run.method.directions, space.slot, (len(g), 1), [r.terms], run.state)[0, :, 0] for r in records]
    return np.stack(sums), len(records[0].terms)


def permutation(case: Case) -> str:
    """Draws have no rank: asked in another order, each gets the same coefficient."""
    record, points = case.step(lambda x: np.log1p((x**2).sum(axis=1)))
    draws = [z for z, _ in record.terms]
    if len(draws) < 2:
        raise Unclaimed("one draw a step")
    if any(len(p.terms) > 1 for p in points):
        raise Unclaimed("a point mixes draws")
    places: dict[Any, list[int]] = {}
    for p, point in enumerate(points):
        places.setdefault(point.terms[0][0] if point.terms else None, []).append(p)
    order = np.arange(len(points))
    for z, other in zip(draws, draws[::-1], strict=True):
        order[places[z]] = places[other]
    losses, eps = np.array(record.losses), case.make().eps
    told = [
        case.make().coefficients.weigh(Weighing(tuple(zs), tuple(ps), ls, np.zeros(len(zs)), eps)).coefs
        for zs, ps, ls in ((draws, points, losses), (draws, points, losses[order]))
    ]
    need(near(told[1][::-1], told[0], 1e-9), f"coefficients {told[0]} become {told[1][::-1]}")
    return f"{len(draws)} draws reversed"


# -- 8 to 10: degenerate equalities, the reference, known minima -------------------------------------------


def degenerate(case: Case) -> str:
    """Equal losses move nothing; per-item losses weigh as their mean; lockstep == one by one."""
    space = Flat(made_up("law", 6))
    bits = space.x.tobytes()
    record = case.run(space).step(lambda view: np.full(view.m, 2.5))
    need(record.kind == "skip" and space.x.tobytes() == bits, "equal losses everywhere moved the parameters")

    def bowl(x: np.ndarray) -> np.ndarray:
        return ((x - 1.0) ** 2).sum(axis=1)

    plain = case.step(bowl)[0]
    need(plain == case.step(lambda x: np.repeat(bowl(x)[:, None], 4, axis=1))[0], "four equal items are not one")
    junk = np.array([1.0, 1.0, 0.0])

    def weighted(x: np.ndarray) -> Any:
        return np.stack([bowl(x), bowl(x), 7.0 + x[:, 0]], axis=1), junk

    need(plain == case.step(weighted)[0], "an item of weight 0 counts")
    for subject in case.subjects:
        together, apart = subject.make(), subject.make(one_by_one=True)
        a, b = (case.run(s).step(subject.ask(s)).losses for s in (together, apart))
        need(near(a, b, 1e-5 if "32" in subject.name else 1e-12), f"{subject.name}: lockstep {a}, one by one {b}")
    return "equal losses, items, weights, lockstep"


def trajectory(case: Case) -> str:
    """Same z, same trajectory as the obvious edition."""
    if case.reference is None:
        raise Unclaimed("no reference edition was given")
    problem, method, worst = table.quadratic(7, 5.0), case.make(), 0.0
    space = Flat(problem.x0.copy())
    expected = case.reference(
        problem.f, problem.x0, key=case.key, slot=space.slot.id, steps=HORIZON, horizon=HORIZON, **method.arguments
    )
    run = case.run(space)
    for t in range(HORIZON):
        run.step(table.objective(problem.f))
        gap = float(np.abs(space.x - expected[t + 1]).max() / np.abs(expected[t + 1]).max())
        need(gap <= 1e-10, f"after step {t} the reference is at {expected[t + 1]}, the method at {space.x}")
        worst = max(worst, gap)
    return f"{HORIZON} steps, " + ("bitwise" if worst == 0.0 else f"to {worst:.0e}")


def minima(case: Case) -> str:
    """Known minima at a fixed budget."""
    if not case.functions:
        raise Unclaimed("no functions were given")
    reached = []
    for trial in case.functions:
        problem, left = trial.problem, 1.0
        for lr in trial.lrs:
            left = min(left, _left(case, trial, lr))
            if left <= trial.left:
                break
        need(left <= trial.left, f"{problem.name}: {left:.0%} of the gap left after {trial.forwards} forwards")
        reached.append(f"{problem.name} {left:.1g}")
    return ", ".join(reached)


def _left(case: Case, trial: Trial, lr: float) -> float:
    """Share of the first gap that is left at the end of the budget."""
    problem, method = trial.problem, replace(case.make(), lr=lr, eps=trial.eps)
    space, steps = Flat(problem.x0.copy()), trial.forwards // method.probe.forwards
    run = Run(space, method, Journal.create(None, {"key": case.key}), horizon=steps)
    with np.errstate(all="ignore"):
        for _ in range(steps):
            run.step(table.objective(problem.f))
        left = (problem.value(space.x) - problem.minimum) / (problem.value(problem.x0) - problem.minimum)
    return left if np.isfinite(left) else float("inf")


# -- traits: what a method may promise -----------------------------------------------------------------------


def _same_step(case: Case, change: Callable[[np.ndarray], np.ndarray], what: str) -> None:
    def f(x: np.ndarray) -> np.ndarray:
        return np.log1p(((x - 1.0) ** 2).sum(axis=1))

    method = replace(case.make(), eps=1e-2)
    plain, changed = (case.step(h, method)[0] for h in (f, lambda x: change(f(x))))
    a, b = ([c for _, c in record.terms] for record in (plain, changed))
    need(near(b, a, 1e-8), f"{what} change the step")


def scale_free(case: Case) -> str:
    """Losses times a positive constant give the same step."""
    for factor in (1e-3, 7.0, 1e4):
        _same_step(case, lambda y, a=factor: a * y, "losses in other units")
    return "losses times 1e-3, 7, 1e4"


def shift_free(case: Case) -> str:
    """Losses plus a constant give the same step."""
    for shift in (-5.0, 100.0):
        _same_step(case, lambda y, b=shift: y + b, "losses plus a constant")
    return "losses plus -5, 100"


def rank_invariant(case: Case) -> str:
    """Any increasing function of the losses gives the same step."""
    _same_step(case, np.exp, "losses through exp")
    _same_step(case, lambda y: y**3, "losses cubed")
    return "losses through exp, cubed"


def unbiased(case: Case) -> str:
    """On f = g.x the mean step is g."""
    g = 3.0 * made_up("unbiased", 5)
    _within(_linear_steps(case, g, 600)[0], g, "E step")
    return "E step = g over 600 steps"


def additive(case: Case) -> str:
    """Records applied in the opposite order give the same parameters, to rounding."""
    space = Flat(made_up("law", 6))
    run = case.run(space, method=replace(case.make(), lr=0.1))
    records = [run.step(lambda view: ((view.x - 1.0) ** 2).sum(axis=1)) for _ in range(5)]
    back = Flat(made_up("law", 6))
    other = case.run(back, method=replace(case.make(), lr=0.1))
    for record in records[::-1]:
        other.commit(record)
    need(near(back.x, space.x, 1e-12), "records applied in another order give other parameters")
    need(case.make().additive, "Method.additive says otherwise")
    return "5 records applied backwards"


TRAITS: dict[str, Callable[[Case], str]] = {
    "additive": additive,
    "rank-invariant": rank_invariant,
    "scale-free": scale_free,
    "shift-free": shift_free,
    "unbiased": unbiased,
}

LAWS: tuple[tuple[str, Callable[[Case], str]], ...] = (
    ("1 replay", replay),
    ("2 one direction", one_direction),
    ("3 home", home),
    ("4 address", address),
    ("5 exactness", exactness),
    ("6 moments", moments),
    ("7 permutation of draws", permutation),
    ("8 degenerate equalities", degenerate),
    ("9 reference", trajectory),
    ("10 known minima", minima),
)

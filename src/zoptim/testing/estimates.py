"""Laws of the estimate, 5 to 7, 9 and 10, and the traits: what the numbers are worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np

from ..engine import Run
from ..journal import Journal
from ..protocols import Draw, Ended, Point, Weighing
from ..spaces.flat import Flat
from . import functions as table
from .case import HORIZON, Case, Trial, Unclaimed, draws_of, formed, near, need
from .functions import Function
from .subjects import made_up


def _within(samples: np.ndarray, expected: Any, what: str) -> None:
    mean, error = samples.mean(axis=0), samples.std(axis=0) / np.sqrt(len(samples))
    off = np.abs(mean - expected) / np.maximum(error, 1e-12)
    need(bool((off < 5).all()), f"{what} is off by {off.max():.1f} standard errors")


def _linear_steps(case: Case, g: np.ndarray, count: int) -> tuple[np.ndarray, int]:
    """What `count` steps on f = g.x would move by, before the rule: (count, d), and the draws of a step."""
    case.plain()
    if case.make().vecs:
        raise Unclaimed("a step is along vectors it keeps, not along its draws alone")
    space = Flat(np.zeros(len(g)))
    run = case.run(space, method=replace(case.make(), lr=1e-9))
    records = [run.step(table.objective(lambda x: x @ g)) for _ in range(count)]
    sums = [
        formed(run.method.applied, space.slot, (len(g), 1), [r.terms], run.state)[0, :, 0] for r in records
    ]
    return np.stack(sums), len(records[0].terms)


def sidedness(points: Sequence[Point], draws: Sequence[Any]) -> Literal["two", "one", "no"]:
    """Whether the points were pairs theta +- eps z_i, or theta and theta + eps z_i."""
    if any(point.order for point in points):
        return "no"  # slopes
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


def _quadratic(g: np.ndarray, a: np.ndarray) -> Function:
    return lambda x: np.asarray(x @ g + 0.5 * ((x @ a) * x).sum(axis=1))


def exactness(case: Case) -> str:
    """On f = g.x coefficients are z.g; on a quadratic the one-sided ones have the bias eps/2 z'Az."""
    case.plain()
    method = replace(case.make(), eps=1e-2)
    if method.claims & {"rank-invariant", "sign"}:
        raise Unclaimed("coefficients are not differences")
    if not getattr(method.coefficients, "linear", True):
        raise Unclaimed("coefficients are not linear in the losses")
    if method.vecs:
        raise Unclaimed("a step is along vectors it keeps, not along its draws alone")
    g, a, x = made_up("g", 6), made_up("A", 6, 6), made_up("law", 6)
    a = (a + a.T) / 2
    side = ""
    for hessian, name in ((np.zeros((6, 6)), "g.x"), (a, "a quadratic")):
        method = replace(case.make(), eps=1e-2)
        record, points = case.step(_quadratic(g, hessian), method)
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


SECOND: dict[
    str, Callable[[int], float]
] = {  # the scaling table: d -> E |<g,z> a(z)|^2 / |g|^2, a(z) what is applied
    "signs": lambda d: d,
    "normal": lambda d: d + 2,
    "sphere": lambda d: d,
    "unit sphere": lambda d: d,
    "l1 sphere": lambda d: 2 * d**2 / (d + 1),
    "coordinate": lambda d: d,
}


def moments(case: Case) -> str:
    """E z = 0, E <g,z> a(z) = g and E |<g,z> a(z)|^2 as in the scaling table; of whole steps too if unbiased."""
    case.plain()
    method, d = case.make(), 8
    law = getattr(method.directions, "law", None)
    if law not in SECOND:
        raise Unclaimed("no row of the scaling table for these directions")
    g, second = made_up("g", d), SECOND[law](d)
    draws = [[Draw(t, i) for i in range(200)] for t in range(100)]
    z, a = (
        np.concatenate([draws_of(method, some, d, case.key, applied) for some in draws])
        for applied in (False, method.directions.memoryless)  # what remembers is no map of one draw
    )
    _within(z, np.zeros(d) if law != "coordinate" else 1 / d, "E z")
    _within((z @ g)[:, None] * a, g, "E <g,z> z")
    _within((z @ g) ** 2 * (a**2).sum(axis=1) / (g @ g), second, "E |<g,z> z|^2 / |g|^2")
    if "unbiased" not in method.claims:
        return f"{law}: directions (steps are not unbiased)"
    steps, n = _linear_steps(case, g, 1500)
    _within(steps, g, "E step")
    block = min(getattr(method.directions, "block", 1), d)
    apart = sum(i // block != j // block for i in range(n) for j in range(n))  # pairs that are independent
    _within((steps**2).sum(axis=1) / (g @ g), (n * second + apart) / n**2, "E |step|^2 / |g|^2")
    return f"{law}: directions, and steps of {n}"


def permutation(case: Case) -> str:
    """Draws have no rank: asked in another order, each gets the same coefficient."""
    record, points = case.step(lambda x: np.log1p((x**2).sum(axis=1)))
    draws = [z for z, _ in record.terms if isinstance(z, Draw)]
    if len(draws) < 2:
        raise Unclaimed("one draw a step")
    if len({z.group for z in draws}) > 1:
        raise Unclaimed("draws are of several players")
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


def trajectory(case: Case) -> str:
    """Same z, same trajectory as the obvious edition."""
    case.plain()
    if case.reference is None:
        raise Unclaimed("no reference edition was given")
    problem, method, worst = table.quadratic(7, 5.0), case.make(), 0.0
    space = Flat(problem.x0.copy())
    expected = case.reference(
        problem.f,
        problem.x0,
        key=case.key,
        slot=space.slot.id,
        steps=HORIZON,
        horizon=HORIZON,
        **method.arguments,
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
    case.plain()
    if not case.functions:
        raise Unclaimed("no functions were given")
    reached = []
    for trial in case.functions:
        problem, left = trial.problem, 1.0
        for lr in trial.lrs:
            left = min(left, _left(case, trial, lr))
            if left <= trial.left:
                break
        need(
            left <= trial.left, f"{problem.name}: {left:.0%} of the gap left after {trial.forwards} forwards"
        )
        reached.append(f"{problem.name} {left:.1g}")
    return ", ".join(reached)


def _left(case: Case, trial: Trial, lr: float) -> float:
    """Share of the first gap that is left at the end of the budget."""
    problem, method = trial.problem, replace(case.make(), lr=lr, eps=trial.eps)
    space, steps = Flat(problem.x0.copy()), int(trial.forwards // method.probe.forwards)
    run = Run(space, method, Journal.create(None, {"key": case.key}), horizon=steps)
    with np.errstate(all="ignore"):
        for _ in range(steps):
            try:
                run.step(table.objective(problem.f))
            except Ended:
                break
        left = (problem.value(space.x) - problem.minimum) / (problem.value(problem.x0) - problem.minimum)
    return left if np.isfinite(left) else float("inf")


# -- traits: what a method may promise -----------------------------------------------------


def _same_step(case: Case, change: Callable[[np.ndarray], np.ndarray], what: str) -> None:
    def f(x: np.ndarray) -> np.ndarray:
        return np.asarray(np.log1p(((x - 1.0) ** 2).sum(axis=1)))

    def g(x: np.ndarray) -> np.ndarray:
        return change(f(x))

    moves = []
    for h in (f, g):
        space = case.over(made_up("law", 6))
        before = space.x.copy()
        case.run(space, method=replace(case.make(), eps=1e-2)).step(table.objective(h))
        moves.append(space.x - before)
    need(near(moves[1], moves[0], 1e-8), f"{what} change the step")


def scale_free(case: Case) -> str:
    """Losses times a positive constant give the same step."""
    for factor in (1e-3, 7.0, 1e4):
        _same_step(case, partial(np.multiply, factor), "losses in other units")
    return "losses times 1e-3, 7, 1e4"


def shift_free(case: Case) -> str:
    """Losses plus a constant give the same step."""
    for shift in (-5.0, 100.0):
        _same_step(case, partial(np.add, shift), "losses plus a constant")
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
    space = case.over(made_up("law", 6))
    run = case.run(space, method=replace(case.make(), lr=0.1))
    records = [run.step(table.objective(lambda x: ((x - 1.0) ** 2).sum(axis=1))) for _ in range(5)]
    back = case.over(made_up("law", 6))
    other = case.run(back, method=replace(case.make(), lr=0.1))
    for record in records[::-1]:
        other.commit(record)
    need(near(back.x, space.x, 1e-12), "records applied in another order give other parameters")
    need(case.make().additive, "Method.additive says otherwise")
    return "5 records applied backwards"

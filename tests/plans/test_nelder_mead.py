"""Nelder and Mead's simplex: as written in the books, as SciPy has it, and where the function drifts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import zoptim
from zoptim import Search, minimize
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.methods.planned import nelder_mead
from zoptim.plans.simplex import Weights, begun
from zoptim.spaces.flat import Flat
from zoptim.testing import check_method, objective

FREE = (np.full(2, -np.inf), np.full(2, np.inf))


def rosenbrock(x: np.ndarray) -> float:
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


def edition(f: Any, at: np.ndarray, count: int, w: Weights) -> list[np.ndarray]:
    """The points asked, in order: the method as the textbook has it."""
    seen: list[np.ndarray] = []

    def ask(x: np.ndarray) -> float:
        seen.append(x)
        return float(f(x))

    vertices = [(ask(x), x) for x in at]
    while len(seen) < count:
        vertices.sort(key=lambda v: v[0])
        worst, center = vertices[-1], np.mean([x for _, x in vertices[:-1]], axis=0)
        new = center + w.reflect * (center - worst[1])
        there = ask(new), new
        if there[0] < vertices[0][0]:
            new = center + w.reflect * w.expand * (center - worst[1])
            there = min((ask(new), new), there, key=lambda v: v[0])
        elif there[0] >= vertices[-2][0]:
            if there[0] < worst[0]:
                new = center + w.contract * w.reflect * (center - worst[1])
                bound = there[0]
            else:
                new, bound = center - w.contract * (center - worst[1]), np.nextafter(worst[0], -np.inf)
            near = ask(new), new
            if near[0] > bound:
                first = vertices[0][1]
                moved = [first + w.shrink * (x - first) for _, x in vertices[1:]]
                vertices = [vertices[0], *((ask(x), x) for x in moved)]
                continue
            there = near
        vertices[-1] = there
    return seen[:count]


@pytest.mark.parametrize("adaptive", [True, False])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_it_asks_what_the_textbook_asks(d: int, adaptive: bool) -> None:
    x0 = np.linspace(-1.2, 0.7, d)
    f = rosenbrock if d > 1 else lambda x: float(abs(x[0] - 3.0) ** 1.5)
    asked: list[np.ndarray] = []

    def watched(x: np.ndarray) -> float:
        asked.append(x.copy())
        return f(x)

    minimize(watched, x0, method="nelder_mead", budget=250, settings={"adaptive": adaptive})
    free = (np.full(d, -np.inf), np.full(d, np.inf))
    expected = edition(f, begun(x0, 0.1, free), len(asked), Weights.of(d) if adaptive else Weights())
    np.testing.assert_allclose(asked[:120], expected[:120], rtol=0, atol=1e-9)


@pytest.mark.parametrize("adaptive", [True, False])
def test_it_ends_where_scipys_ends(adaptive: bool) -> None:
    optimize = pytest.importorskip("scipy.optimize")
    x0 = np.array([-1.2, 1.0, 0.5])
    free = (np.full(3, -np.inf), np.full(3, np.inf))
    theirs = optimize.minimize(
        rosenbrock, x0, method="Nelder-Mead",
        options={"initial_simplex": begun(x0, 0.1, free), "maxfev": 300, "adaptive": adaptive, "xatol": 0, "fatol": 0},
    )  # fmt: skip
    ours = minimize(rosenbrock, x0, method="nelder_mead", budget=theirs.nfev, settings={"adaptive": adaptive})
    assert ours.fun == pytest.approx(theirs.fun, rel=1e-3)
    np.testing.assert_allclose(ours.x, theirs.x, rtol=1e-3)


def test_laws() -> None:
    report = check_method(nelder_mead, functions=())
    assert not report.failed, str(report)
    held = {f.law for f in report.findings if f.status == "held"}
    assert {"1 replay", "2 one direction", "3 home", "4 address", "8 degenerate equalities"} <= held


def test_the_minimum_is_found_and_the_search_then_ends() -> None:
    found = minimize(rosenbrock, [-1.2, 1.0], method="nelder_mead", budget=5000)
    assert found.fun < 1e-20 and found.nfev < 1000 and "shrunk to one point" in found.message


def test_no_point_is_asked_outside_of_the_bounds_and_a_failed_one_is_not_taken() -> None:
    low, high = np.array([-2.0, -1.0]), np.array([0.5, 2.0])

    def f(x: np.ndarray) -> float:
        assert (x >= low).all() and (x <= high).all()
        return float("nan") if x[1] > 1.5 else rosenbrock(x)

    found = minimize(
        f, [0.5, 1.2], method="nelder_mead", bounds=list(zip(low, high, strict=True)), budget=600, failures="penalize"
    )  # fmt: skip
    np.testing.assert_allclose(found.x, [0.5, 0.25], atol=1e-5)


def test_a_saved_search_and_a_reopened_run_go_on_with_the_same_bits() -> None:
    def drive(search: Search, questions: int) -> Search:
        for _ in range(questions):
            if not search.done:
                search.tell([rosenbrock(x) for x in search.ask()])
        return search

    given: dict[str, Any] = {"budget": 160, "settings": {"stale": 9}}
    whole = drive(Search([-1.2, 1.0], "nelder_mead", **given), 400).result()
    for cut in (1, 7, 50):
        part = drive(Search([-1.2, 1.0], "nelder_mead", **given), cut)
        again = drive(Search.from_state(part.state()), 400).result()
        assert again.x.tobytes() == whole.x.tobytes() and again.journal.dump() == whole.journal.dump()
    ask = objective(lambda x: np.array([rosenbrock(row) for row in x]))
    run = Run(Flat(np.array([-1.2, 1.0])), nelder_mead(), Journal.create(None, {"key": 5}))
    for _ in range(20):
        run.step(ask)
    other = Run(Flat(np.array([-1.2, 1.0])), nelder_mead(), Journal(None, run.journal.dump()))
    assert run.step(ask) == other.step(ask) and run.space.x.tobytes() == other.space.x.tobytes()


@pytest.mark.parametrize("shift", [0.0, 0.002])
def test_where_the_function_drifts_old_values_mislead_and_asked_again_do_not(shift: float) -> None:
    """The minimum walks away and every value rises: a vertex of then seems better than anything now.  Begun 1 away."""

    def last(stale: int | None) -> float:
        clock = [0]

        def f(x: np.ndarray) -> float:
            clock[0] += 1
            aim = 1.0 + shift * clock[0]
            return float(((x - aim) ** 2).sum()) + shift * clock[0]

        found = minimize(
            f, [0.0, 0.0], method="nelder_mead", budget=500, output="last", settings={"stale": stale, "size": 0.5}
        )  # fmt: skip
        return float(np.abs(found.x - (1.0 + shift * clock[0])).max())

    if shift:
        assert last(None) > 0.3 and last(6) < 0.15
    else:
        assert last(None) < 1e-6 and last(6) < 0.05


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"size": 0.0}, "size=0.0"),
        ({"stale": 0}, "stale=0"),
        ({"stale": True}, "stale=True"),
        ({"bounds": [(0,)]}, "pairs"),
    ],
)
def test_settings_are_checked(setting: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        nelder_mead(**setting)
    assert zoptim.methods.BLACK_BOXES["nelder_mead"].make is nelder_mead

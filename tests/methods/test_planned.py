"""Plans as methods: a journal brings a plan back, dropped steps are asked again, the laws hold."""

from __future__ import annotations

import json

import numpy as np
import pytest

import zoptim
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.methods.planned import fd_newton, fd_spectral
from zoptim.protocols import Ended
from zoptim.sets import L1, L2Ball
from zoptim.spaces.flat import Flat
from zoptim.testing import check_method, objective


def rosenbrock(x):
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


F = objective(lambda x: np.array([rosenbrock(row) for row in x]))
X0 = np.array([-1.2, 1.0, -1.2])


def test_laws():
    report = check_method(fd_newton)
    assert not report.failed, str(report)
    held = {f.law for f in report.findings if f.status == "held"}
    assert {
        "1 replay",
        "2 one direction",
        "3 home",
        "4 address",
        "8 degenerate equalities",
        "10 known minima",
    } <= held


def test_laws_in_a_set():
    report = check_method(lambda: fd_spectral(set=L2Ball(50.0)))
    assert not report.failed, str(report)
    with pytest.raises(ValueError, match="give one"):
        fd_spectral(set=L2Ball(1.0), penalty=L1(1.0))


def test_a_reopened_run_goes_on_with_the_same_bits():
    whole = Run(Flat(X0.copy()), fd_newton(), Journal.create(None, {"key": 5}))
    for _ in range(12):
        whole.step(F)
    for cut in (1, 4, 11):
        first = Run(Flat(X0.copy()), fd_newton(), Journal.create(None, {"key": 5}))
        for _ in range(cut):
            first.step(F)
        again = Run(Flat(X0.copy()), fd_newton(), Journal(None, first.journal.dump()))
        for _ in range(12 - cut):
            again.step(F)
        assert again.space.x.tobytes() == whole.space.x.tobytes()
        assert again.journal.dump() == whole.journal.dump()


def test_a_step_that_is_dropped_half_asked_is_asked_again():
    run, other = (Run(Flat(X0.copy()), fd_newton(), Journal.create(None, {"key": 5})) for _ in range(2))
    for _ in range(3):
        run.step(F), other.step(F)
    talk = run.conversation()
    points = next(talk)
    talk.send((np.arange(float(len(points))), None))
    talk.close()
    for _ in range(3):
        run.step(F), other.step(F)
    assert run.journal.dump() == other.journal.dump()


def test_it_ends_and_says_why():
    run = Run(Flat(np.zeros(3)), fd_newton(), Journal.create(None, {"key": 5}))
    bowl = objective(lambda x: ((x - 1.0) ** 2).sum(axis=1))
    with pytest.raises(Ended, match="no lower value"):
        for _ in range(100):
            run.step(bowl)
    again = Run(Flat(np.zeros(3)), fd_newton(), Journal(None, run.journal.dump()))
    assert again.space.x.tobytes() == run.space.x.tobytes()
    with pytest.raises(Ended):
        again.step(bowl)


def test_another_version_s_journal_is_refused():
    run = Run(Flat(X0.copy()), fd_newton(), Journal.create(None, {"key": 5}))
    record = run.propose(F)
    run.commit(record._replace(losses=(*record.losses, 1.0)))
    with pytest.raises(ValueError, match="another version"):
        Run(Flat(X0.copy()), fd_newton(), Journal(None, run.journal.dump()))


def test_minimize_ends_with_status_0_and_a_reason():
    found = zoptim.minimize(rosenbrock, X0)
    assert found.fun < 1e-8 and found.status == 0 and found.message.startswith("no lower value")
    assert found.nfev < 400 and found.method == "fd_newton"


@pytest.mark.parametrize("bounds", [(-2.0, 2.0), [(-2.0, 0.5), (None, 2.0), (-1.2, None)]])
def test_bounds_and_budget_hold(bounds):
    asked = []

    def f(x):
        asked.append(x.copy())
        return rosenbrock(x)

    found = zoptim.minimize(f, X0, bounds=bounds, budget=150)
    assert found.nfev == len(asked) <= 150
    low, high = (
        np.array([[-2.0] * 3, [2.0] * 3]) if len(bounds) == 2 else ([-2, -np.inf, -1.2], [0.5, 2, np.inf])
    )
    assert all((z >= low).all() and (z <= high).all() for z in asked)


def test_a_state_resumes_in_the_middle_of_a_step():
    def ask(search, most):
        while not search.done and most > 0:
            x = search.ask()
            most -= len(x)
            search.tell([rosenbrock(z) for z in x])

    whole = zoptim.Search(X0, budget=300, bounds=(-2, 2))
    ask(whole, 1000)
    for most in (3, 40, 111):
        first = zoptim.Search(X0, budget=300, bounds=(-2, 2))
        ask(first, most)
        again = zoptim.Search.from_state(json.loads(json.dumps(first.state())))
        ask(again, 1000)
        assert again.result().fun == whole.result().fun
        np.testing.assert_array_equal(again.trace.values, whole.trace.values)


def test_noise_is_told_and_the_place_is_the_result():
    rng = np.random.default_rng(1)
    found = zoptim.minimize(lambda x: float(x @ x) + 0.01 * rng.standard_normal(), np.ones(5), budget=600)
    assert "values at one place differ by about 0.0" in found.message
    assert float(found.x @ found.x) < 5e-3
    assert found.fun != found.trace.best[-1]


@pytest.mark.parametrize("failures", ["skip", "penalize"])
def test_failed_evaluations_do_not_stop_it(failures):
    def f(x):
        return float("nan") if x[0] < -1.25 else rosenbrock(x)

    found = zoptim.minimize(f, X0, budget=400, failures=failures)
    assert found.fun < 0.1 and found.nfev <= 400 and np.isnan(found.trace.values).any()


@pytest.mark.parametrize("failures", ["skip", "penalize"])
def test_that_everything_failed_is_said(failures):
    found = zoptim.minimize(lambda x: float("nan"), X0, budget=400, failures=failures)
    assert "every evaluation failed" in found.message and not found.success and found.nfev < 20


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"bounds": [(0, 1)]}, "1 pairs for the 3 numbers"),
        ({"bounds": [(0,)] * 3}, "give pairs"),
        ({"lr": 1.0}, "no setting 'lr'"),
    ],
)
def test_wrong_settings_are_named(settings, says):
    with pytest.raises(ValueError, match=says):
        zoptim.minimize(rosenbrock, X0, method="fd_newton", settings=settings)

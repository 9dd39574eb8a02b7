"""Ctrl-C ends a search with what is known, whoever was at work: the function, a constraint, a callback, a child."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

import zoptim
from zoptim.doors.results import Trace
from zoptim.journal import Journal
from zoptim.processes import spread


class Stopped:
    """A bowl that Ctrl-C reaches at its k-th evaluation."""

    def __init__(self, k: int) -> None:
        self.left, self.values = k, []

    def __call__(self, x, *other):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)
        self.values.append(float(((np.append(x, other) - 1.0) ** 2).sum()))
        return self.values[-1]


def ended(found) -> bool:
    return (found.status, found.success) == (3, False) and found.message.startswith("interrupted by Ctrl-C")


@pytest.mark.parametrize(("method", "k"), [("mezo", 100), ("fzoo", 100), ("auto", 30)])
def test_the_best_point_so_far_is_returned(method, k, tmp_path):
    fun = Stopped(k)
    path = tmp_path / "steps.journal"
    found = zoptim.minimize(fun, np.zeros(6), method=method, budget=600, journal=path)
    assert ended(found) and k / 2 < found.nfev < k
    assert found.fun == min(fun.values[: found.nfev]) < 6.0
    assert found.fun == ((found.x - 1.0) ** 2).sum() and len(found.trace) == found.nfev
    found.journal.close()
    assert len(Journal.read(path).records) == found.nit > 0


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("k", [40, 41])  # either point of a pair
def test_while_answers_are_taken_in_too(k, before, monkeypatch):
    add, left = Trace.add, [k]

    def interrupted(trace, *told):
        left[0] -= 1
        if left[0] == 0 and before:
            raise KeyboardInterrupt
        add(trace, *told)
        if left[0] == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(Trace, "add", interrupted)
    found = zoptim.minimize(Stopped(0), np.zeros(6), method="mezo", budget=600)
    assert ended(found) and found.nfev == len(found.trace) == found.trace.queries[-1]
    assert found.fun == np.nanmin(found.trace.values) == ((found.x - 1.0) ** 2).sum()


def test_where_nothing_is_known_yet_the_start_is():
    found = zoptim.minimize(Stopped(1), np.full(6, 0.5), method="mezo", budget=600)
    assert ended(found) and found.nfev == 0 and np.isnan(found.fun)
    np.testing.assert_array_equal(found.x, np.full(6, 0.5))


def test_a_callback_may_be_interrupted_too():
    def callback(result):
        if result.nit == 5:
            raise KeyboardInterrupt

    found = zoptim.minimize(Stopped(0), np.zeros(6), method="mezo", budget=600, callback=callback)
    assert ended(found) and found.nit == 5


def test_a_sum_gives_its_last_iterate():
    fun = Stopped(50)
    found = zoptim.minimize(lambda x, i: fun(x), np.zeros(6), method="mezo", n=10, batch=2, budget=600)
    assert ended(found) and found.nit > 5 and np.isnan(found.fun)
    assert ((found.x - 1.0) ** 2).sum() < 6.0


def test_games_and_problems_in_problems():
    found = zoptim.minimax(Stopped(100), [0.0], [0.0], budget=600, settings={"lr": 0.01})
    assert ended(found) and found.nit > 10 and found.x[0] > 0.0 > found.y[0]
    found = zoptim.bilevel(Stopped(100), Stopped(10**6), [0.0], [0.0], budget=600)
    assert ended(found) and found.nit > 10


@pytest.mark.parametrize("who", ["fun", "constraint"])
@pytest.mark.parametrize(
    ("method", "k"), [("auto", 1), ("auto", 7), ("fd_newton", 1), ("fd_newton", 100), ("fd_newton", 250)]
)
def test_under_a_constraint_the_best_feasible_point(who, method, k):
    def whole(x):
        return float(((x - 1.0) ** 2).sum())

    hit = Stopped(k)
    plane = {"type": "ineq", "fun": lambda x: 1.0 - x.sum()}
    if who == "constraint":
        plane["fun"] = lambda x: 1.0 - x.sum() + 0.0 * hit(x)
    found = zoptim.minimize(
        hit if who == "fun" else whole, np.zeros(3), method=method, constraints=plane, budget=600
    )
    assert ended(found) and found.nfev < k
    if k > 1:
        assert found.fun == whole(found.x) < 3.0 and found.constr_violation == 0.0


def stopped_above(x):
    if x[0] > 0.3:
        raise KeyboardInterrupt
    return float(((x - 1.0) ** 2).sum())


def test_a_child_s_interrupt_is_the_search_s(capfd):
    found = zoptim.minimize(stopped_above, np.zeros(6), budget=600, workers=2)
    assert ended(found)
    with pytest.raises(KeyboardInterrupt):
        spread(lambda job: stopped_above(np.array([job])), [0.0, 0.1, 0.9, 0.2], 2)
    assert capfd.readouterr().err == ""  # no tracebacks of children

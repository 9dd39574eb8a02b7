"""Constraints and penalties of the doors: no point outside, the right solutions, wrong ones named."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

import zoptim
from zoptim import sets
from zoptim.doors.region import Region
from zoptim.rules import Projected, ProjectedInMetric

A = np.array([1.0, 0.5, -0.3, 0.2])
CURVED = np.array([1.0, 3.0, 10.0, 2.0])
SETS = {
    "simplex": (sets.Simplex(), np.full(4, 0.25)),
    "l1 ball": (sets.L1Ball(0.5), np.zeros(4)),
    "l2 ball": (sets.L2Ball(0.3), np.zeros(4)),
    "nuclear": (sets.NuclearBall(0.4, shape=(2, 2)), np.zeros(4)),
    "half-space and ball": ([sets.L2Ball(0.8), sets.HalfSpace([1.0, 0.0, 0.0, 0.0], 0.2)], np.zeros(4)),
}


class Asked:
    def __init__(self, fun):
        self.fun, self.points = fun, []

    def __call__(self, x):
        self.points.append(x.copy())
        return self.fun(x)


def bowl(x):
    return float((CURVED * (x - A) ** 2).sum())


def whole(of):
    return sets.Intersection(tuple(of)) if isinstance(of, list) else of


def solution(of, x):
    """By projected gradients, exact ones."""
    for _ in range(3000):
        x = of.project(x - 0.04 * 2 * CURVED * (x - A))
    return x


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(("method", "near"), [("auto", 1e-5), ("zo_sgd", 0.1)])
def test_the_solution_in_a_set_and_no_point_outside(name, method, near):
    of, x0 = SETS[name]
    fun = Asked(bowl)
    found = zoptim.minimize(fun, x0, method=method, constraints=of, budget=1000, seed=3)
    expected = solution(whole(of), x0)
    assert found.nfev == len(fun.points) <= 1000
    assert all(whole(of).contains(x) for x in fun.points)
    assert np.abs(found.x - expected).max() < near
    assert ("fd_spectral" in found.message) == (method == "auto")


def test_a_start_that_is_in_the_set_but_for_rounding():
    """1/49 times 49 is not 1: the first step of a plan is a question, not a move alone."""
    x0 = np.full(49, 1 / 49)
    assert (sets.Simplex().project(x0) != x0).any()
    c = np.cos(np.arange(49.0))
    found = zoptim.minimize(lambda x: float(c @ x), x0, constraints=sets.Simplex())
    assert "fd_spectral" in found.message and found.fun == pytest.approx(c.min(), abs=1e-9)


def test_bounds_and_a_set_together():
    fun = Asked(bowl)
    found = zoptim.minimize(fun, np.zeros(4), bounds=(-0.25, 0.25), constraints=sets.L2Ball(0.3), budget=800)
    both = sets.Intersection((sets.Box(-0.25, 0.25), sets.L2Ball(0.3)))
    assert all((np.abs(x) <= 0.25).all() and both.contains(x) for x in fun.points)
    np.testing.assert_allclose(found.x, solution(both, np.zeros(4)), atol=1e-4)


def test_linear_constraints_as_scipy_has_them():
    rows = SimpleNamespace(A=[[1, 1, 1, 1], [1, -1, 0, 0]], lb=[-np.inf, 0.0], ub=[0.5, 0.0])
    found = zoptim.minimize(bowl, np.zeros(4), constraints=rows, budget=2000)
    kept = sets.Intersection((sets.Affine([1.0, -1.0, 0, 0], 0.0), sets.HalfSpace(np.ones(4), 0.5)))
    np.testing.assert_allclose(found.x, solution(kept, np.zeros(4)), atol=1e-4)
    box = SimpleNamespace(lb=-0.1, ub=0.1)
    assert np.abs(zoptim.minimize(bowl, np.zeros(4), constraints=[box], budget=500).x).max() <= 0.1


def test_inside_scipy():
    optimize = pytest.importorskip("scipy.optimize")
    found = optimize.minimize(
        bowl,
        np.zeros(4),
        method=zoptim.scipy(budget=900),
        constraints=optimize.LinearConstraint(np.ones((1, 4)), -1, 0.5),
    )
    np.testing.assert_allclose(found.x, solution(sets.HalfSpace(np.ones(4), 0.5), np.zeros(4)), atol=1e-4)


def test_a_scaled_rule_projects_in_its_own_metric():
    region = Region.of(None, sets.L2Ball(0.3), None, np.zeros(4))
    made = {
        name: region.hold(zoptim.methods.build(name, {}), np.zeros(4)).rule for name in ("zo_adamm", "mezo")
    }
    assert isinstance(made["zo_adamm"], ProjectedInMetric) and isinstance(made["mezo"], Projected)


@pytest.mark.parametrize(("method", "near"), [("auto", 1e-9), ("zo_sgd", 1e-2)])
def test_a_penalty_is_part_of_what_is_reported(method, near):
    l1 = sets.L1(0.5)
    found = zoptim.minimize(bowl, np.zeros(4), method=method, penalty=l1, budget=3000)
    expected = A.copy()
    for _ in range(2000):
        expected = l1.prox(expected - 0.04 * 2 * CURVED * (expected - A), 0.04)
    assert found.fun == pytest.approx(bowl(found.x) + l1.value(found.x), rel=1e-12)
    assert found.fun < bowl(expected) + l1.value(expected) + near


@pytest.mark.parametrize("extra", [{"constraints": sets.L2Ball(0.3)}, {"penalty": sets.L1(0.2)}])
@pytest.mark.parametrize("method", ["auto", "mezo"])
def test_a_state_brings_them_back(extra, method):
    def ask(search, most):
        while not search.done and most > 0:
            x = search.ask()
            most -= len(x)
            search.tell([bowl(z) for z in x])

    first = zoptim.Search(np.zeros(4), method, budget=200, **extra)
    again = zoptim.Search(np.zeros(4), method, budget=200, **extra)
    ask(first, 500)
    ask(again, 60)
    again = zoptim.Search.from_state(json.loads(json.dumps(again.state())))
    ask(again, 500)
    np.testing.assert_array_equal(again.trace.values, first.trace.values)


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"constraints": sets.L2Ball(0.3, 5.0)}, ValueError, "x0 lies outside L2Ball.*set.project"),
        ({"constraints": sets.Birkhoff(side=2)}, ValueError, r"x0 lies outside Birkhoff.*set.lmo\(x0\)"),
        ({"constraints": sets.HalfSpace([1.0, 1.0], 3.0)}, ValueError, "points of 2 numbers, x0 has 4"),
        ({"constraints": [sets.HalfSpace([1.0, 0, 0, 0], 1.0), lambda x: x[0]]}, ValueError, "only queries tell"),
        ({"constraints": SimpleNamespace(A=[[1.0, 2.0]], lb=0, ub=1)}, ValueError, r"shape \(1, 2\); give \(k, 4\)"),
        ({"constraints": 3}, TypeError, "constraints=3: give a set"),
        ({"constraints": "simplex"}, TypeError, "constraints='simplex': give a set"),
        ({"constraints": sets.L1(0.1)}, TypeError, "is a penalty: give it as penalty="),
        ({"penalty": sets.L1Ball(1.0)}, TypeError, "a set is given as constraints="),
        ({"penalty": sets.L1(0.1), "bounds": (-1, 1)}, ValueError, "penalty: its proximal step knows no bounds"),
        ({"penalty": sets.L1(0.1), "method": "zo_adam"}, ValueError, "zo_adam.*a penalty needs plain descent"),
        ({"constraints": sets.L2Ball(1.0), "method": "fd_newton"}, ValueError, "fd_newton: it was not told of constraints"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(given, error, says):
    with pytest.raises(error, match=says):
        zoptim.minimize(bowl, np.zeros(4), budget=100, **given)


@pytest.mark.parametrize("method", ["auto", "mezo"])
def test_a_set_without_projection_says_which_methods_have_a_use_for_it(method):
    with pytest.raises(ValueError, match="Birkhoff: project is not offered.*Frank-Wolfe"):
        zoptim.minimize(bowl, np.full(4, 0.5), method=method, constraints=sets.Birkhoff(side=2), budget=100)


def test_a_search_does_not_ask_constraints():
    with pytest.raises(ValueError, match="only queries tell is given to `minimize`"):
        zoptim.Search(np.zeros(4), constraints={"type": "ineq", "fun": abs})


@pytest.mark.parametrize("method", ["fd_spectral", "jaguar", "fzfw"])
def test_methods_told_a_set_take_bounds_for_one(method):
    fun = Asked(bowl)
    found = zoptim.minimize(fun, np.zeros(4), method=method, bounds=(-0.25, 0.25), budget=1000)
    assert all((np.abs(x) <= 0.25).all() for x in fun.points)
    np.testing.assert_allclose(found.x, np.clip(A, -0.25, 0.25), atol=0.02)


@pytest.mark.parametrize(
    ("given", "says"),
    [({"bounds": (-1, 1)}, "told of bounds"), ({"penalty": sets.L1(0.1)}, "told of penalty"),
     ({"constraints": sets.L2Ball(1.0)}, "told of constraints")],
)  # fmt: skip
def test_a_plan_built_without_them_is_not_trusted_to_keep_them(given, says):
    with pytest.raises(ValueError, match=says):
        zoptim.minimize(bowl, np.zeros(4), method=zoptim.methods.build("fd_newton", {}), budget=100, **given)


def test_a_target_of_zero_is_not_overlooked_beside_queries():
    with pytest.raises(ValueError, match="target=0.0: not beside"):
        zoptim.minimize(bowl, np.zeros(4), constraints={"type": "ineq", "fun": lambda x: x[0]}, target=0.0)


def test_scipys_bounds_for_all_numbers_are_a_constraint_too():
    given = SimpleNamespace(lb=np.array([0.0]), ub=np.array([0.5]))
    found = zoptim.minimize(lambda x: ((x - 1) ** 2).sum(), np.zeros(3), constraints=given)
    np.testing.assert_allclose(found.x, 0.5, atol=1e-6)


@pytest.mark.parametrize(
    ("a", "lb", "ub", "says"),
    [
        ([[1, 1]], 1, -1, "lb=1 is not below ub=-1"),
        ([[1, 1]], np.nan, 1, "lb=nan is not below"),
        ([[0, 0]], -1, 1, "a row of A is 0"),
    ],
)
def test_linear_constraints_that_say_nothing(a, lb, ub, says):
    with pytest.raises(ValueError, match=says):
        zoptim.minimize(np.sum, np.zeros(2), constraints=SimpleNamespace(A=np.array(a), lb=lb, ub=ub))


def test_a_sparse_matrix_of_linear_constraints():
    sparse = SimpleNamespace(toarray=lambda: np.ones((1, 2)))
    given = SimpleNamespace(A=sparse, lb=-1.0, ub=1.0)
    found = zoptim.minimize(lambda x: ((x - 1) ** 2).sum(), np.zeros(2), constraints=given)
    np.testing.assert_allclose(found.x, 0.5, atol=1e-6)

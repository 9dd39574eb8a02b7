"""Constraints known only by queries: solutions and multipliers that are known, feasible results, counted evaluations."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import zoptim
from zoptim import sets

A = np.array([1.0, 2.0, -1.0])


def bowl(x):
    return float(((x - A) ** 2).sum())


def between(fun, lb, ub):
    return SimpleNamespace(fun=fun, lb=lb, ub=ub)


@pytest.mark.parametrize(
    ("method", "said"),
    [("auto", "auto chose quadratic programs"), ("fd_newton", "fd_newton, as named")],
)
def test_the_nearest_point_under_a_plane_and_its_multiplier(method, said):
    calls = []

    def fun(x):
        calls.append(x.copy())
        return bowl(x)

    found = zoptim.minimize(
        fun, np.zeros(3), method=method, constraints=between(lambda x: x.sum(), -np.inf, 0.5), budget=1500
    )
    np.testing.assert_allclose(found.x, A - 0.5, atol=1e-4)  # A sums to 2: 1.5 / 3 off each
    assert found.multipliers["ineq"] == pytest.approx([1.0], abs=1e-3)  # 2 (x - A) + m = 0
    assert found.success and found.constr_violation == 0.0 and found.x.sum() <= 0.5 + 1e-6
    assert found.nfev == len(calls) == len(found.trace) <= 1500
    assert found.fun == bowl(found.x) == np.nanmin(found.trace.values)
    assert found.status == 0 and found.message.startswith(f"the multipliers have settled; {said}")


def test_an_equation_and_an_inequality():
    ring = {"type": "eq", "fun": lambda x: x @ x - 1}
    right = {"type": "ineq", "fun": lambda x, c: x[0] - c, "args": (0.5,)}
    found = zoptim.minimize(
        lambda x: float(x[1]), np.array([1.0, 0.5]), constraints=[ring, right], budget=3000
    )
    np.testing.assert_allclose(found.x, [0.5, -np.sqrt(0.75)], atol=1e-3)
    assert found.constr_violation == 0.0


@pytest.mark.filterwarnings("ignore:delta_grad")
def test_it_is_scipy_s_answer():
    optimize = pytest.importorskip("scipy.optimize")

    def rosenbrock(x):
        return float((1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2)

    disk = optimize.NonlinearConstraint(lambda x: x[0] ** 2 + x[1] ** 2, -np.inf, 1.0)
    exact = optimize.minimize(
        rosenbrock, [0.0, 0.0], method="trust-constr", constraints=disk, options={"gtol": 1e-10}
    )
    found = zoptim.minimize(rosenbrock, np.zeros(2), constraints=disk, budget=3000)
    np.testing.assert_allclose(found.x, exact.x, atol=1e-3)


def test_beside_a_set_and_bounds():
    product = between(lambda x: x[0] * x[1], 0.06, np.inf)
    found = zoptim.minimize(
        lambda x: float(x[0]), np.full(3, 1 / 3), constraints=[sets.Simplex(), product], budget=2000
    )
    assert sets.Simplex().contains(found.x) and found.x[0] * found.x[1] >= 0.06 - 1e-6
    assert found.x[0] == pytest.approx(0.0641, abs=2e-3)  # x0 (1 - x0) = 0.06


@pytest.mark.parametrize("method", ["mezo", "zo_sgd"])
def test_along_random_directions_too(method):
    found = zoptim.minimize(
        bowl, np.zeros(3), method=method, constraints=between(lambda x: x.sum(), -np.inf, 0.5), budget=4000
    )
    assert found.constr_violation <= 1e-6 and found.fun < bowl(A - 0.5) + 0.1


def test_what_cannot_be_met_says_by_how_much():
    found = zoptim.minimize(
        bowl, np.zeros(3), constraints=between(lambda x: x @ x, -np.inf, -1.0), budget=1500
    )
    assert not found.success and found.constr_violation == pytest.approx(1.0, abs=0.2)
    assert found.status == 1 and "12 searches are done" in found.message
    assert "no feasible point was found, the best is off by" in found.message


@pytest.mark.parametrize(
    ("constraint", "more", "error", "says"),
    [
        ({"type": "less", "fun": abs}, {}, ValueError, "give {'type': 'ineq'"),
        (between(lambda x: "no", 0, 1), {}, TypeError, "the function returned"),
        (between(lambda x: x, 0, [1.0, 2.0]), {}, ValueError, "3 numbers for"),
        (between(lambda x: x[0], 0, 1), {"n": 4}, ValueError, "n=4: not beside"),
        (between(lambda x: x[0], 0, 1), {"penalty": sets.L1(1.0)}, ValueError, "penalty=.*not beside"),
        (between(lambda x: x[0], 0, 1), {"budget": 20}, ValueError, "budget=20 is too small"),
    ],
)
def test_what_cannot_be_is_named(constraint, more, error, says):
    with pytest.raises(error, match=says):
        zoptim.minimize(bowl, np.zeros(3), constraints=constraint, **more)


@pytest.mark.parametrize("bad", [(1.0, -1.0), (np.nan, 1.0)])
def test_reversed_bounds_of_a_constraint_are_refused(bad):
    with pytest.raises(ValueError, match="constraints: lb=.* is not below ub="):
        zoptim.minimize(bowl, np.zeros(3), constraints=between(lambda x: x.sum(), *bad))


@pytest.mark.parametrize("policy", ["skip", "penalize"])
@pytest.mark.parametrize("raises", [True, False])
def test_a_constraint_that_fails_is_a_point_that_failed(policy, raises):
    def total(x):
        if x[0] == 0.0 or x[1] > 3.0:
            if raises:
                raise ArithmeticError("no value here")
            return np.nan
        return x.sum()

    found = zoptim.minimize(
        bowl, np.zeros(3), budget=600, failures=policy, constraints=between(total, -np.inf, 1.0)
    )
    assert found.success and found.constr_violation == 0.0 and found.nfev <= 600
    assert found.fun < 0.5  # the solution has 1/3
    with pytest.raises(ArithmeticError if raises else ValueError):
        zoptim.minimize(bowl, np.zeros(3), budget=600, constraints=between(total, -np.inf, 1.0))


def test_where_every_constraint_fails_that_is_said():
    found = zoptim.minimize(
        bowl, np.zeros(3), budget=100, failures="skip", constraints=between(lambda x: np.nan, 0.0, 1.0)
    )
    assert not found.success and np.isnan(found.fun) and "no feasible point was found" in found.message


@pytest.mark.parametrize("who", ["fun", "constraint"])
def test_who_changes_x_does_not_change_the_result(who):
    def rude(x):
        x += 1.0
        return float(((x - 1.0 - A) ** 2).sum())

    def total(x):
        x += 1.0
        return x.sum() - 3.0

    found = zoptim.minimize(
        rude if who == "fun" else bowl, np.zeros(3), budget=300,
        constraints=between(total if who == "constraint" else np.sum, -np.inf, 1.0),
    )  # fmt: skip
    assert found.success and found.fun == pytest.approx(bowl(found.x)) and found.x.sum() <= 1.0 + 1e-6


def test_the_only_argument_of_a_constraint_needs_no_tuple():
    given = {"type": "eq", "fun": lambda x, a: x.sum() - a, "args": 1.0}
    assert zoptim.minimize(bowl, np.zeros(3), budget=400, constraints=given).success


def test_a_budget_that_is_not_spent_is_not_called_spent():
    found = zoptim.minimize(
        bowl, np.zeros(3), budget=9000, constraints=between(lambda x: 0.0 * x.sum(), 1.0, 1.0)
    )
    assert found.nfev < 9000 and "spent" not in found.message and "no feasible point" in found.message


def test_of_shape_and_precision_as_given_and_steps_are_told():
    seen = []
    x0 = np.zeros((2, 2), np.float32)
    found = zoptim.minimize(
        lambda x: float(((x - np.eye(2)) ** 2).sum()), x0, callback=lambda r: seen.append((r.nit, r.nfev, r.fun)),
        constraints=between(lambda x: x.sum(), -np.inf, 1.0),
    )  # fmt: skip
    assert found.x.shape == (2, 2) and found.x.dtype == np.float32 and found.success
    np.testing.assert_allclose(found.x, np.eye(2) - 0.25, atol=2e-3)
    assert [nit for nit, *_ in seen[:3]] == [1, 2, 3][: len(seen)] and seen[-1][1] <= found.nfev
    ended = zoptim.minimize(
        bowl, np.zeros(3), constraints=between(lambda x: x.sum(), -np.inf, 0.5), callback=lambda r: r.nit == 1
    )
    assert (ended.status, ended.nit) == (2, 1) and ended.message.startswith("ended by the callback")


def test_the_budget_is_kept_in_the_middle_of_a_sweep():
    ring = {"type": "eq", "fun": lambda x: x @ x - 1}
    for budget in (56, 57, 58):
        found = zoptim.minimize(
            lambda x: float((x**4).sum() - x[0]), np.full(5, 3.0), constraints=ring, budget=budget
        )
        assert found.nfev <= budget and found.status == 1 and f"budget of {budget}" in found.message


def test_a_noisy_function_ends_at_the_last_place_not_the_luckiest():
    lucky = []
    for seed in range(5):
        draws = np.random.default_rng(seed)
        found = zoptim.minimize(
            lambda x, draws=draws: bowl(x) + 0.01 * draws.normal(), np.zeros(3), budget=1500,
            constraints=between(lambda x: x.sum(), -np.inf, 0.5),
        )  # fmt: skip
        assert "not the lowest seen" in found.message and found.success and found.x.sum() <= 0.5 + 1e-6
        np.testing.assert_allclose(found.x, A - 0.5, atol=0.3)
        assert found.fun in found.trace.values
        lucky.append(found.fun == np.nanmin(found.trace.values))
    assert not all(lucky)  # the last may happen to be the lowest, not every time


def test_noisy_constraints_and_sets_are_left_to_the_lagrangian():
    draws = np.random.default_rng(5)
    loud = between(lambda x: x.sum() + 0.01 * draws.normal(), -np.inf, 0.5)
    found = zoptim.minimize(bowl, np.zeros(3), constraints=loud, budget=800)
    assert found.message.endswith("quadratic programs came to no rest") and found.method == "fd_newton"
    assert found.nfev == len(found.trace) <= 800 and found.fun < bowl(A - 0.5) + 0.5
    found = zoptim.minimize(
        bowl, np.zeros(3), constraints=[sets.L2Ball(1.0), between(lambda x: x.sum(), -np.inf, 0.5)]
    )
    assert found.method == "fd_spectral" and "quadratic programs" not in found.message


def test_what_is_not_finite_is_told_or_walked_around():
    def f(x):
        return np.nan if x[0] > 0.4 else bowl(x)

    plane = between(lambda x: x.sum(), -np.inf, 0.5)
    with pytest.raises(ValueError, match="not finite among the first"):
        zoptim.minimize(f, np.zeros(3), constraints=plane)
    found = zoptim.minimize(f, np.zeros(3), constraints=plane, failures="skip", budget=600)
    assert found.success and found.x[0] <= 0.4 and found.fun < bowl(A - 0.5) + 0.1

"""Quadratic programs: the conditions of their minima, and what is asked where constraints are known by queries."""

from __future__ import annotations

import numpy as np
import pytest

import zoptim
from zoptim.plans.program import Program, bounded


@pytest.mark.parametrize("seed", range(30))
def test_in_a_box_no_number_is_pulled_to_where_it_may_go(seed: int) -> None:
    rng = np.random.default_rng(seed)
    k = int(rng.integers(1, 9))
    a = rng.normal(size=(k, k))
    m, q = a @ a.T + 0.1 * np.eye(k), rng.normal(size=k)
    low = np.where(rng.random(k) < 0.3, -np.inf, -rng.random(k) * (rng.random(k) < 0.7))
    high = np.where(rng.random(k) < 0.5, np.inf, rng.random(k))
    x = bounded(m, q, low, high)
    assert (x >= low).all() and (x <= high).all()
    slope = m @ x + q
    inside = (x > low) & (x < high)
    np.testing.assert_allclose(slope[inside], 0.0, atol=1e-8)
    assert (slope[x == low] >= -1e-8).all() and (slope[(x == high) & (x > low)] <= 1e-8).all()


@pytest.mark.parametrize("seed", range(20))
def test_a_program_meets_its_constraints_at_no_more_than_it_costs(seed: int) -> None:
    """Feasible, and no slope of the Lagrangian left but what bounds hold; multipliers of inequalities are none where slack."""
    rng = np.random.default_rng(100 + seed)
    d, ineq, eq = 5, 2, 1
    a = rng.normal(size=(d, d))
    b = a @ a.T + np.eye(d)
    g, j = rng.normal(size=d), rng.normal(size=(ineq + eq, d))
    c = 0.3 * rng.normal(size=ineq + eq)
    wide = np.full(d, 50.0)
    p, lam = Program(g, j, np.linalg.inv(b), ineq, np.zeros(ineq + eq), (-wide, wide)).solved(c)
    left = c + j @ p
    assert (left[:ineq] <= 1e-8).all() and abs(left[ineq:]).max() <= 1e-8
    np.testing.assert_allclose(g + b @ p + j.T @ lam, 0.0, atol=1e-7)
    assert (lam[:ineq] >= -1e-10).all() and abs(lam[:ineq] * left[:ineq]).max() <= 1e-7


def test_bounds_of_a_program_hold_and_bind() -> None:
    low, high = np.array([-1.0, -0.2]), np.array([1.0, 0.2])
    program = Program(np.array([1.0, 3.0]), np.array([[1.0, 1.0]]), np.eye(2), 0, np.zeros(1), (low, high))
    p, _ = program.solved(
        np.array([0.5])
    )  # p_1 + p_2 = -0.5, of least (p + g)^2: (0.75, -1.25) without bounds
    np.testing.assert_allclose(p, [-0.3, -0.2], atol=1e-9)


def test_constraints_are_asked_where_f_is_and_nothing_more_is_counted() -> None:
    asked: dict[str, list[bytes]] = {"f": [], "c": []}

    def f(x: np.ndarray) -> float:
        asked["f"].append(x.tobytes())
        return float((x**2).sum())

    def c(x: np.ndarray) -> float:
        asked["c"].append(x.tobytes())
        return float(x.sum() - 1.0)

    found = zoptim.minimize(f, np.zeros(4), constraints=[{"type": "ineq", "fun": c}], budget=200)
    assert asked["f"] == asked["c"] and found.nfev == len(asked["f"]) <= 200
    np.testing.assert_allclose(found.x, 0.25, atol=1e-6)
    np.testing.assert_allclose(found.multipliers["ineq"], 0.5, atol=5e-3)

"""Every set against a conic solver: the same projection, in the metric too, and the same linear minimum, to 1e-6 of the value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from sets.cases import BY_NAME, CASES, CORNER, HIGH, LOW, MIDDLE, RIGHT, ROWS, Case, offering, shift

PRECISE = {"tol_gap_abs": 1e-13, "tol_gap_rel": 1e-13, "tol_feas": 1e-12, "max_iter": 500}
pytestmark = pytest.mark.filterwarnings("ignore:Solution may be inaccurate")  # to 1e-13; to 1e-6 is asked


def spectrahedron(X: Any) -> list[Any]:
    return [X == X.T, (X + X.T) / 2 >> 0, cp.trace(X) <= 1.5]


def birkhoff(X: Any) -> list[Any]:
    return [X >= 0, cp.sum(X, axis=0) == 1, cp.sum(X, axis=1) == 1]


def k_support(z: Any, k: int) -> list[Any]:
    """In its variational form: sum z_i^2 / theta_i <= 1, 0 <= theta <= 1, sum theta <= k (McDonald et al. 2014)."""
    theta = cp.Variable(z.size)
    return [sum(cp.quad_over_lin(z[i], theta[i]) for i in range(z.size)) <= 1, theta <= 1, cp.sum(theta) <= k]


CONSTRAINTS: dict[str, Callable[[Any], list[Any]]] = {
    "box": lambda z: [z >= LOW, z <= HIGH],
    "half-open box": lambda z: [z >= 0, z[::2] <= HIGH[::2]],
    "linf": lambda z: [cp.norm_inf(z - shift()) <= 0.5],
    "l2": lambda z: [cp.norm2(z - shift()) <= 1.5],
    "l2 about 0": lambda z: [cp.norm2(z) <= 0.8],
    "l1": lambda z: [cp.norm1(z - shift()) <= 1.5],
    "simplex": lambda z: [z >= 0, cp.sum(z) == 2],
    "l1.5": lambda z: [cp.pnorm(z - shift(), 1.5) <= 1.5],
    "l3": lambda z: [cp.pnorm(z, 3) <= 1.2],
    "nuclear": lambda z: [cp.normNuc(cp.reshape(z, (3, 4), "C")) <= 2],
    "nuclear, tall": lambda z: [cp.normNuc(cp.reshape(z - shift(), (6, 2), "C")) <= 2],
    "spectrahedron": lambda z: spectrahedron(cp.reshape(z, (4, 4), "C")),
    "half-space": lambda z: [shift() @ z <= -0.3],
    "affine": lambda z: [ROWS[:2] @ z == RIGHT[:2]],
    "k-support": lambda z: k_support((z - shift()) / 1.3, 3),
    "Birkhoff": lambda z: birkhoff(cp.reshape(z, (4, 4), "C")),
    "l2 in box": lambda z: [cp.norm2(z - MIDDLE) <= 0.8, z >= 0, z <= 1],
    "l2 at a corner": lambda z: [cp.norm2(z - CORNER) <= 0.8, z >= 0, z <= 1],
    "l2 beside box": lambda z: [cp.norm2(z) <= 3, z >= LOW + 1, z <= HIGH + 2],
    "l1 in box": lambda z: [cp.norm1(z - MIDDLE) <= 1.1, z >= 0, z <= 1],
    "l1 beside box": lambda z: [cp.norm1(z) <= 9, z >= LOW + 1, z <= HIGH + 2],
    "l2 and half-space": lambda z: [cp.norm2(z) <= 1.5, cp.sum(z) <= 0.5],
    "box and plane": lambda z: [z >= LOW, z <= HIGH, cp.sum(z) == 0.4],
}


def least(objective: Callable[[Any], Any], name: str) -> tuple[np.ndarray, float]:
    """The solver's minimum over the set."""
    z = cp.Variable(BY_NAME[name].d)
    problem = cp.Problem(cp.Minimize(objective(z)), CONSTRAINTS[name](z))
    problem.solve(solver="CLARABEL", **PRECISE)
    return z.value, float(problem.value)


def points(seed: int, d: int) -> list[np.ndarray]:
    r = np.random.default_rng(seed)
    return [s * r.standard_normal(d) for s in (0.3, 1.0, 3.0, 20.0)]


def test_every_set_is_compared() -> None:
    assert set(CONSTRAINTS) == set(BY_NAME)


def agree(case: Case, x: np.ndarray, v: np.ndarray, ours: np.ndarray) -> None:
    """The same least distance to 1e-6; the points themselves to 1e-5, which is the root of what the solver leaves."""
    theirs, lowest = least(lambda z: cp.sum_squares(cp.multiply(np.sqrt(v), z - x)), case.name)
    assert case.set.contains(ours, 1e-9)
    assert v @ (ours - x) ** 2 == pytest.approx(lowest, rel=1e-6, abs=1e-6)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * max(1.0, np.abs(x).max()))


@pytest.mark.parametrize("case", offering("project"), ids=lambda case: case.name)
def test_projection(case: Case) -> None:
    for x in points(1, case.d):
        agree(case, x, np.ones(case.d), case.set.project(x))


@pytest.mark.parametrize("case", offering("metric"), ids=lambda case: case.name)
def test_projection_in_a_metric(case: Case) -> None:
    for x in points(2, case.d):
        v = 10.0 ** np.random.default_rng(3).uniform(-1.5, 0.5, case.d)
        agree(case, x, v, case.set.project(x, metric=v))


@pytest.mark.parametrize("case", offering("lmo"), ids=lambda case: case.name)
def test_linear_minimum(case: Case) -> None:
    for g in points(4, case.d):
        _, lowest = least(lambda z, g=g: g @ z, case.name)
        assert g @ case.set.lmo(g) == pytest.approx(lowest, rel=1e-6, abs=1e-6)


def test_all_cases_have_one_of_the_two() -> None:
    assert all(case.set.offers & {"project", "lmo"} for case in CASES)

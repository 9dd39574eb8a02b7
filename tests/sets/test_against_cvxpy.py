"""Every set against a conic solver: the same projection, in the metric too, and the same linear minimum, to 1e-6 of the value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from sets.cases import BY_NAME, CASES, HIGH, LOW, Case, D, offering, shift

PRECISE = {"tol_gap_abs": 1e-13, "tol_gap_rel": 1e-13, "tol_feas": 1e-12, "max_iter": 500}
pytestmark = pytest.mark.filterwarnings("ignore:Solution may be inaccurate")  # to 1e-13; to 1e-6 is asked

CONSTRAINTS: dict[str, Callable[[Any], list[Any]]] = {
    "box": lambda z: [z >= LOW, z <= HIGH],
    "half-open box": lambda z: [z >= 0, z[::2] <= HIGH[::2]],
    "linf": lambda z: [cp.norm_inf(z - shift()) <= 0.5],
    "l2": lambda z: [cp.norm2(z - shift()) <= 1.5],
    "l2 about 0": lambda z: [cp.norm2(z) <= 0.8],
    "l1": lambda z: [cp.norm1(z - shift()) <= 1.5],
    "simplex": lambda z: [z >= 0, cp.sum(z) == 2],
}


def least(objective: Callable[[Any], Any], name: str) -> tuple[np.ndarray, float]:
    """The solver's minimum over the set."""
    z = cp.Variable(D)
    problem = cp.Problem(cp.Minimize(objective(z)), CONSTRAINTS[name](z))
    problem.solve(solver="CLARABEL", **PRECISE)
    return z.value, float(problem.value)


def points(seed: int) -> list[np.ndarray]:
    r = np.random.default_rng(seed)
    return [s * r.standard_normal(D) for s in (0.3, 1.0, 3.0, 20.0)]


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
    for x in points(1):
        agree(case, x, np.ones(D), case.set.project(x))


@pytest.mark.parametrize("case", offering("metric"), ids=lambda case: case.name)
def test_projection_in_a_metric(case: Case) -> None:
    for x in points(2):
        v = 10.0 ** np.random.default_rng(3).uniform(-1.5, 0.5, D)
        agree(case, x, v, case.set.project(x, metric=v))


@pytest.mark.parametrize("case", offering("lmo"), ids=lambda case: case.name)
def test_linear_minimum(case: Case) -> None:
    for g in points(4):
        _, lowest = least(lambda z, g=g: g @ z, case.name)
        assert g @ case.set.lmo(g) == pytest.approx(lowest, rel=1e-6, abs=1e-6)


def test_all_cases_have_one_of_the_two() -> None:
    assert all(case.set.offers & {"project", "lmo"} for case in CASES)

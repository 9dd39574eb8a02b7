"""Penalties: proximal steps by their optimality, against the conic solver, and in a run's resting point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cvxpy as cp
import numpy as np
import pytest

from zoptim.protocols import Stride
from zoptim.rules import Proximal
from zoptim.sets import L1, ElasticNet, GroupL1, Nuclear
from zoptim.sets.regularizers import Penalty

D = 12
GROUPS = np.repeat([4, 0, 9], [3, 4, 5])

PENALTIES: dict[str, tuple[Penalty, Callable[[Any], Any]]] = {
    "l1": (L1(0.7), lambda z: 0.7 * cp.norm1(z)),
    "elastic net": (ElasticNet(0.4, 1.5), lambda z: 0.4 * cp.norm1(z) + 0.75 * cp.sum_squares(z)),
    "ridge": (ElasticNet(0.0, 1.5), lambda z: 0.75 * cp.sum_squares(z)),
    "groups": (GroupL1(0.6, GROUPS), lambda z: 0.6 * sum(cp.norm2(z[g == GROUPS]) for g in (4, 0, 9))),
    "nuclear": (Nuclear(0.5, shape=(3, 4)), lambda z: 0.5 * cp.normNuc(cp.reshape(z, (3, 4), "C"))),
}
each = pytest.mark.parametrize("name", PENALTIES)
PRECISE = {"tol_gap_abs": 1e-13, "tol_gap_rel": 1e-13, "tol_feas": 1e-12, "max_iter": 500}


def points() -> list[np.ndarray]:
    r = np.random.default_rng(2)
    return [s * r.standard_normal(D) for s in (0.2, 1.0, 10.0)]


@each
@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")  # to 1e-13; to 1e-6 is asked
def test_the_solver_finds_the_same(name: str) -> None:
    penalty, theirs = PENALTIES[name]
    for x in points():
        for eta in (0.1, 2.0):
            z = cp.Variable(D)
            problem = cp.Problem(cp.Minimize(eta * theirs(z) + cp.sum_squares(z - x) / 2))
            problem.solve(solver="CLARABEL", **PRECISE)
            ours = penalty.prox(x, eta)
            value = eta * penalty.value(ours) + np.sum((ours - x) ** 2) / 2
            assert value == pytest.approx(problem.value, rel=1e-6, abs=1e-6)
            np.testing.assert_allclose(ours, z.value, rtol=0, atol=1e-5 * max(1.0, np.abs(x).max()))


@each
def test_no_point_is_better_and_steps_are_never_longer_apart(name: str) -> None:
    penalty, r = PENALTIES[name][0], np.random.default_rng(6)
    for x in points():
        ours = penalty.prox(x, 0.8)

        def worth(z: np.ndarray, x: np.ndarray = x) -> float:
            return 0.8 * penalty.value(z) + float(np.sum((z - x) ** 2)) / 2

        for scale in (1e-6, 1e-3, 1.0):  # strong convexity: a quadratic lies below, at the minimum
            h = scale * r.standard_normal(D)
            assert worth(ours + h) >= worth(ours) + 0.5 * (h @ h) * (1 - 1e-6) - 1e-14
        y = x + r.standard_normal(D)
        assert np.linalg.norm(ours - penalty.prox(y, 0.8)) <= np.linalg.norm(x - y) * (1 + 1e-12)


@each
def test_values_shapes_and_dtypes(name: str) -> None:
    penalty, theirs = PENALTIES[name]
    x = points()[1]
    assert penalty.value(x) == pytest.approx(theirs(cp.Constant(x)).value, rel=1e-12)
    np.testing.assert_array_equal(penalty.prox(x, 0.0), x) if name != "nuclear" else None
    for dtype in (np.float32, np.float64):
        z = penalty.prox(x.astype(dtype)[:, None], 0.3)
        assert z.shape == (D, 1) and z.dtype == dtype
        np.testing.assert_allclose(z[:, 0], penalty.prox(x, 0.3), atol=1e-6)
    with pytest.raises(ValueError, match="finite real"):
        penalty.prox(np.full(D, np.nan), 0.1)


def test_zeros_are_plain_zeros() -> None:
    assert not np.signbit(L1(1.0).prox(np.array([-0.5, 0.5]), 1.0)).any()


def test_a_run_rests_where_the_penalty_balances_the_slope() -> None:
    """min |x - a|^2/2 + psi is prox(a, 1), whatever the step."""
    a = np.linspace(-2, 2, D)[:, None]
    for penalty, _ in PENALTIES.values():
        p = np.zeros((D, 1))
        for k in range(200):
            Proximal(penalty).apply(p, p - a, Stride(0.3, k), [])
        np.testing.assert_allclose(p, penalty.prox(a, 1.0), atol=1e-9)


def test_what_makes_no_penalty_is_refused() -> None:
    bad: list[tuple[Callable[[], Any], str]] = [
        (lambda: L1(-1.0), "weight="), (lambda: L1(np.nan), "weight="), (lambda: ElasticNet(-0.1, 1.0), "l1="),
        (lambda: ElasticNet(0.1, np.inf), "l2="), (lambda: GroupL1(1.0, [0.5, 1.0]), "groups"),
        (lambda: GroupL1(1.0, [-1, 1]), "groups"), (lambda: Nuclear(1.0, shape=(0, 3)), "shape="),
        (lambda: GroupL1(1.0, GROUPS).prox(np.ones(3), 1.0), "x has 3 numbers"),
        (lambda: Nuclear(1.0, shape=(2, 2)).prox(np.ones(3), 1.0), "x has 3 numbers"),
    ]  # fmt: skip
    for make, match in bad:
        with pytest.raises(ValueError, match=match):
            make()

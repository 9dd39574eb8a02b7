"""Tr H from losses: known traces, intervals that cover them, what rounding and a wrong radius do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from zoptim.sharpness import hessian_trace, quantile
from zoptim.spaces.flat import Flat


def quadratic(d: int, dtype: Any = np.float64, seed: int = 0) -> tuple[Any, float, np.ndarray]:
    """An objective with a full Hessian, its trace, a place to stand."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((d, d)) / np.sqrt(d)
    h = (a + a.T + np.diag(np.linspace(0.0, 5.0, d))).astype(dtype)
    b, x = rng.standard_normal((2, d)).astype(dtype)
    return (lambda v: 0.5 * ((v.x @ h) * v.x).sum(1) + v.x @ b), float(np.trace(h)), x


@pytest.mark.parametrize(("dtype", "near"), [(np.float64, 1e-7), (np.float32, 2e-2)])
def test_along_coordinates_the_trace_is_exact(dtype: Any, near: float) -> None:
    f, trace, x = quadratic(60, dtype)
    found = hessian_trace(Flat(x), f)
    assert found.how == "coordinates" and found.probes == 60 and not found.warning
    assert found.trace == pytest.approx(trace, rel=near)
    assert found.low <= trace <= found.high or dtype is np.float64  # there the interval is rounding's own
    assert found.high - found.low < 0.1 * trace


def test_the_interval_of_signs_covers_the_trace_as_often_as_it_says() -> None:
    f, trace, x = quadratic(40)
    found = [hessian_trace(Flat(x), f, exact=0, probes=16, key=k, confidence=0.8) for k in range(200)]
    assert all(s.how == "signs" for s in found)
    covered = np.mean([s.low <= trace <= s.high for s in found])
    assert 0.72 < covered < 0.88  # 0.8 +- 2.8 standard errors
    mean, error = np.mean([s.trace for s in found]), np.std([s.trace for s in found]) / np.sqrt(200)
    assert abs(mean - trace) < 4 * error


def test_signs_are_exact_on_a_diagonal_and_one_point_is_no_minimum() -> None:
    weights = np.linspace(-1.0, 3.0, 2000)
    found = hessian_trace(Flat(np.ones(2000)), lambda v: (v.x**2 @ weights) / 2 + v.x.sum(1))
    assert found.how == "signs" and found.trace == pytest.approx(weights.sum(), rel=1e-8)


@pytest.mark.parametrize("exact", [1000, 0])
def test_among_some_numbers_it_is_their_trace(exact: int) -> None:
    weights, x = np.linspace(-1.0, 3.0, 500), np.ones(500)
    x[100:] = 1e6  # numbers that are not trained say nothing of the radius
    some = np.array([0, 3, 40, 99])
    space = Flat(x)
    slot = space.slots()[0].id
    found = hessian_trace(
        space, lambda v: ((v.x - x) ** 2 @ weights) / 2, exact=exact, probes=8, among={slot: some}
    )
    assert found.numbers == 4 and found.how == ("signs", "coordinates")[exact > 0]
    assert found.trace == pytest.approx(weights[some].sum(), rel=1e-6) and found.radius <= 1.0
    with pytest.raises(ValueError, match="among names none"):
        hessian_trace(space, lambda v: v.x.sum(1), among={}, exact=exact)


def test_nothing_is_written_and_the_points_are_counted() -> None:
    f, _, x = quadratic(30)
    before, asked = x.copy(), 0

    def counted(v: Any) -> Any:
        nonlocal asked
        asked += v.m
        return f(v)

    found = hessian_trace(Flat(x), counted, exact=0, probes=8)
    assert np.array_equal(x, before) and found.forwards == asked == 9 + 7 * 9 + 9 + 17
    asked = 0
    assert hessian_trace(Flat(x), counted, exact=0, probes=8, radius=0.1).forwards == asked == 9 + 17


def test_rounding_is_measured_where_it_decides() -> None:
    """FlatZero's radius of 1e-4 in float32: the trace drowns, and that is said; at the chosen one it does not."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal(1500).astype(np.float32)

    def f(v: Any) -> Any:
        return np.cosh(v.x).sum(1)

    true = float(np.cosh(x.astype(np.float64)).sum())
    small = hessian_trace(Flat(x), f, radius=1e-4, probes=32)
    assert small.rounding > 0.1 * true and "rounding" in small.warning
    chosen = hessian_trace(Flat(x), f, probes=32)
    assert not chosen.warning and chosen.trace == pytest.approx(true, rel=0.01)
    assert chosen.radius > 1e-3
    spread = np.std([hessian_trace(Flat(x), f, radius=1e-3, probes=8, key=k).trace for k in range(30)])
    told = np.mean([hessian_trace(Flat(x), f, radius=1e-3, probes=8, key=k).rounding for k in range(30)])
    assert 0.1 < spread / told < 3  # f(x)'s own rounding is the same for all keys, so less may be seen


def test_what_a_radius_leaves_out_is_estimated() -> None:
    x = np.zeros(50)
    wide = hessian_trace(Flat(x), lambda v: (v.x**2 + 1e4 * v.x**4).sum(1), exact=0)
    assert wide.truncation == pytest.approx(wide.trace - 100.0, rel=0.01) and wide.truncation > 0.5
    kink = hessian_trace(Flat(np.zeros(50)), lambda v: np.abs(v.x).sum(1), exact=0)  # no Hessian at all
    assert "not quadratic" in kink.warning


def test_losses_that_are_not_finite_are_said() -> None:
    found = hessian_trace(Flat(np.full(5, 2.0)), lambda v: np.full(v.m, np.nan), radius=0.1)
    assert "not finite" in found.warning


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"probes": 7}, "probes=7"), ({"radius": 0.0}, "radius=0.0"), ({"confidence": 1.0}, "confidence=1.0"),
     ({"objective": None}, "objective and ask")],
)  # fmt: skip
def test_what_is_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        hessian_trace(Flat(np.ones(3)), **{"objective": lambda v: v.x.sum(1), **settings})


def test_students_quantiles() -> None:
    for freedom, wanted in ((7, 2.3646), (15, 2.1314), (31, 2.0395), (120, 1.9799)):
        assert quantile(freedom, 0.95) == pytest.approx(wanted, abs=1e-3)
    assert quantile(20, 0.99) == pytest.approx(2.8453, abs=1e-3)

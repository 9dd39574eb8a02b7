"""What makes a projection a projection and a linear minimum one, for every set, by inequalities alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sets.cases import CASES, Case, offering

from zoptim.sets import BallInBox, Set

seeds = st.integers(0, 2**32 - 1)
spreads = st.sampled_from([1e-3, 1.0, 30.0, 1e4])
TIGHT = 1e-9


def named(cases: list[Case]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


def random(seed: int) -> Any:
    return np.random.default_rng(seed)


def edge(K: Set, g: np.ndarray) -> np.ndarray:
    """A point where the set ends."""
    return K.lmo(g) if "lmo" in K.offers else K.project(4 * g)


def test_there_are_cases_of_each_operation() -> None:
    assert all(len(offering(name)) >= 4 for name in ("project", "metric", "lmo", "shrunk", "inner"))


@named(CASES)
def test_what_is_inside_is_contained_and_a_step_outside_is_not(case: Case) -> None:
    r = random(3)
    for _ in range(20):
        assert case.set.contains(case.inside(r), 1e-9)
    far = np.linspace(1e3, 3e3, case.d)
    assert not (case.set.contains(far) and case.set.contains(-far))
    assert (
        not case.set.contains(np.full(case.d, np.nan)) and case.set.excess(np.full(case.d, np.inf)) == np.inf
    )


@named(offering("project"))
@given(seed=seeds, spread=spreads)
@settings(max_examples=25, deadline=None)
def test_projections(case: Case, seed: int, spread: float) -> None:
    """In the set; obtuse to all of it (the variational inequality); twice is once; never farther apart than before."""
    r = random(seed)
    x, y = spread * r.standard_normal((2, case.d))
    before = x.copy()
    z, other = case.set.project(x), case.set.project(y)
    assert case.set.contains(z, TIGHT * (1 + spread / 1e3)) and (x == before).all()
    np.testing.assert_allclose(case.set.project(z), z, rtol=0, atol=TIGHT * (1 + spread / 1e3))
    assert np.linalg.norm(z - other) <= np.linalg.norm(x - y) * (1 + TIGHT) + TIGHT
    for _ in range(10):
        inside = case.inside(r)
        assert (x - z) @ (inside - z) <= TIGHT * (1 + spread)


@named(offering("project"))
def test_points_inside_stay_where_they_are(case: Case) -> None:
    r = random(5)
    for _ in range(10):
        x = case.inside(r)
        np.testing.assert_allclose(case.set.project(x), x, rtol=0, atol=1e-12)


@named(offering("metric"))
@given(seed=seeds, spread=spreads, decades=st.sampled_from([0, 2, 8]))
@settings(max_examples=25, deadline=None)
def test_projections_in_a_metric(case: Case, seed: int, spread: float, decades: int) -> None:
    r = random(seed)
    x, v = spread * r.standard_normal(case.d), 10.0 ** r.uniform(-decades, 0, case.d)
    z = case.set.project(x, metric=v)
    assert case.set.contains(z, TIGHT)
    for _ in range(10):
        assert (v * (x - z)) @ (case.inside(r) - z) <= TIGHT * (1 + spread)
    np.testing.assert_allclose(case.set.project(x, metric=7.0 * v), z, rtol=0, atol=TIGHT * (1 + spread))
    plain = case.set.project(x, metric=np.full(case.d, 3.0))
    np.testing.assert_allclose(plain, case.set.project(x), rtol=0, atol=TIGHT * (1 + spread))


@named(offering("lmo"))
@given(seed=seeds, spread=st.sampled_from([1e-200, 1e-3, 1.0, 1e200]))
@settings(max_examples=25, deadline=None)
def test_linear_minima(case: Case, seed: int, spread: float) -> None:
    """In the set, and no point of it lies lower; so also where g is flat in places, or is 0."""
    r = random(seed)
    for g in (
        r.standard_normal(case.d),
        r.standard_normal(case.d) * r.integers(0, 2, case.d),
        np.zeros(case.d),
    ):
        s = case.set.lmo(spread * g)
        assert case.set.contains(s, TIGHT)
        for _ in range(10):
            assert g @ s <= g @ case.inside(r) + TIGHT


@named(offering("project", "lmo"))
@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_the_linear_minimum_supports_the_projection(case: Case, seed: int) -> None:
    """<x - z, .> is greatest over the set at z itself: the two operations agree on where the set ends."""
    x = 3.0 * random(seed).standard_normal(case.d)
    z = case.set.project(x)
    assert (x - z) @ (case.set.lmo(z - x) - z) <= 1e-8


@named(offering("project"))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shape_and_dtype_come_back(case: Case, dtype: Any) -> None:
    x = (3.0 * random(8).standard_normal(case.d)).astype(dtype)
    for shape in [(case.d,), (case.d, 1), (2, case.d // 2)]:
        z = case.set.project(x.reshape(shape))
        assert z.shape == shape and z.dtype == dtype and case.set.contains(z)
        np.testing.assert_allclose(z.ravel(), case.set.project(x.astype(np.float64)), rtol=1e-6, atol=1e-6)
    assert case.set.project(np.arange(case.d)).dtype == np.float64
    if "lmo" in case.set.offers:
        assert case.set.lmo(x).dtype == dtype


@named(offering("shrunk"))
def test_balls_fit_around_the_points_of_a_shrunk_set(case: Case) -> None:
    r, alpha = random(9), 0.3
    small, room = case.set.shrunk(alpha), alpha * case.set.inradius(case.d)
    assert room > 0
    for _ in range(50):
        x, u = edge(small, r.standard_normal(case.d)), r.standard_normal(case.d)
        assert case.set.contains(x + room * u / np.linalg.norm(u), TIGHT)


@named(offering("inner"))
def test_probes_from_an_inner_set_stay_inside(case: Case) -> None:
    r = random(10)
    distance = 0.02
    small = case.set.inner(distance, case.d)
    assert case.set.inner(0.0, case.d).contains(case.inside(r), 1e-9)
    for _ in range(50):
        x, u = edge(small, r.standard_normal(case.d)), r.standard_normal(case.d)
        assert case.set.contains(x + distance * u / np.linalg.norm(u), TIGHT)


@named(offering("lmo"))
def test_no_two_points_are_farther_apart_than_the_diameter(case: Case) -> None:
    r = random(11)
    points = [case.inside(r) for _ in range(40)]
    far = [case.set.lmo(g) - case.set.lmo(-g) for g in r.standard_normal((200, case.d))]
    far += [
        case.set.lmo(g) - case.set.lmo(-g)
        for g in np.vstack([np.eye(case.d), np.sign(r.standard_normal((50, case.d)))])
    ]
    span = max(np.linalg.norm(z) for z in far)
    assert max(np.linalg.norm(a - b) for a in points for b in points) <= case.set.diameter(case.d) * (
        1 + 1e-12
    )
    assert span <= case.set.diameter(case.d) * (1 + 1e-12)
    assert isinstance(case.set, BallInBox) or span >= 0.7 * case.set.diameter(
        case.d
    )  # of which it is a bound


@named(CASES)
def test_what_is_not_offered_is_refused_with_a_remedy(case: Case) -> None:
    calls = {
        "project": lambda: case.set.project(np.ones(case.d)),
        "metric": lambda: case.set.project(np.ones(case.d), metric=np.ones(case.d)),
        "lmo": lambda: case.set.lmo(np.ones(case.d)),
        "shrunk": lambda: case.set.shrunk(0.5),
        "inner": lambda: case.set.inner(1e-3, case.d),
    }
    for name, call in calls.items():
        if name in case.set.offers:
            call()
            continue
        with pytest.raises(ValueError, match=rf"{type(case.set).__name__}: \w+ is not offered, .+; \w+"):
            call()


@named(CASES)
def test_bad_points_are_refused(case: Case) -> None:
    name = "project" if "project" in case.set.offers else "lmo"
    ask = getattr(case.set, name)
    with pytest.raises(ValueError, match="give real numbers"):
        ask(np.full(case.d, 1j))
    with pytest.raises(ValueError, match="give real numbers"):
        ask(["a"] * case.d)
    if case.set.size is not None:
        with pytest.raises(ValueError, match=f"shape \\({case.d + 1},\\), the set's points {case.d} numbers"):
            ask(np.ones(case.d + 1))
    if "metric" in case.set.offers:
        for v in (np.zeros(case.d), -np.ones(case.d), np.ones(3), np.full(case.d, np.inf)):
            with pytest.raises(ValueError, match="metric"):
                case.set.project(np.ones(case.d), metric=v)
    if "inner" in case.set.offers:
        for distance in (-1.0, np.nan, 1e9):
            if distance < case.set.inradius(case.d) or np.isnan(distance):
                with pytest.raises(ValueError, match="distance"):
                    case.set.inner(distance if distance < 1e9 else -2.0, case.d)
    if "shrunk" in case.set.offers:
        for alpha in (-0.1, 1.0, np.nan):
            with pytest.raises(ValueError, match="alpha"):
                case.set.shrunk(alpha)

"""Sets by hand: closed forms, corners, degenerate equalities, and what makes no set."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoptim.sets import (
    Affine,
    BallInBox,
    Birkhoff,
    Box,
    HalfSpace,
    Intersection,
    KSupportBall,
    L1Ball,
    L2Ball,
    LpBall,
    NuclearBall,
    Simplex,
    Spectrahedron,
    linf_ball,
)
from zoptim.sets.atoms import assignment
from zoptim.sets.solve import falling_root, threshold

seeds = st.integers(0, 2**32 - 1)


# -- what is solved in one dimension ------------------------------------------------------------


@given(seed=seeds, total=st.sampled_from([1e-6, 1.0, 1e6]), weighted=st.booleans())
@settings(deadline=None)
def test_thresholds_leave_the_total(seed: int, total: float, weighted: bool) -> None:
    r = np.random.default_rng(seed)
    a = r.standard_normal(r.integers(1, 30)) * 10.0 ** r.uniform(-3, 3)
    w = 10.0 ** r.uniform(-3, 3, a.size) if weighted else None
    lam = threshold(a, w, total)
    kept = np.maximum(a - lam * (1.0 if w is None else w), 0.0)
    assert kept.sum() == pytest.approx(total, rel=1e-9)


@given(root=st.floats(-30, 30), steep=st.sampled_from([1e-9, 1.0, 1e9]), power=st.sampled_from([1, 3]))
def test_falling_roots_over_many_orders_of_magnitude(root: float, steep: float, power: int) -> None:
    at, asked = 10.0**root, []

    def f(x: float) -> float:
        asked.append(x)
        return steep * ((at / (x + at)) ** power - 0.5**power)

    x = falling_root(f, 0.0, 1e31)
    assert x == pytest.approx(at, rel=1e-14) and len(asked) < 120 and f(x) <= 0.0


@given(seed=seeds, n=st.integers(1, 6))
@settings(deadline=None)
def test_assignments_are_the_cheapest_of_all(seed: int, n: int) -> None:
    r = np.random.default_rng(seed)
    cost = r.integers(-3, 4, (n, n)) * 1.0 if seed % 2 else r.standard_normal((n, n))
    columns = assignment(cost)
    assert sorted(columns) == list(range(n))
    best = min(cost[np.arange(n), list(p)].sum() for p in permutations(range(n)))
    assert cost[np.arange(n), columns].sum() == pytest.approx(best, abs=1e-12)


@given(seed=seeds, d=st.integers(1, 7))
@settings(deadline=None)
def test_the_k_support_norm_and_its_dual(seed: int, d: int) -> None:
    """<x, g> <= |x| |g|*, with equality at g's best point; |g|* is the largest length of k of its numbers."""
    r = np.random.default_rng(seed)
    x, g = r.standard_normal((2, d)) if seed % 3 else r.integers(-1, 2, (2, d)) * 1.0
    for k in range(1, d + 2):
        K = KSupportBall(1.0, k=k)
        dual = max(np.linalg.norm(g[list(some)]) for some in combinations(range(d), min(k, d)))
        assert x @ g <= K.norm(x) * dual + 1e-9
        assert -g @ K.lmo(g) == pytest.approx(dual, abs=1e-12)
    assert KSupportBall(1.0, k=1).norm(x) == pytest.approx(np.abs(x).sum())
    assert KSupportBall(1.0, k=d).norm(x) == pytest.approx(np.linalg.norm(x))


# -- the same set by two names ------------------------------------------------------------------


@given(seed=seeds)
@settings(deadline=None, max_examples=30)
def test_families_meet_where_they_are_one_set(seed: int) -> None:
    r = np.random.default_rng(seed)
    x, c, v = 3 * r.standard_normal(9), r.standard_normal(9), 10.0 ** r.uniform(-2, 0, 9)
    square, wide = (3, 3), Box(-1e3, 1e3)
    pairs = [
        (LpBall(1.1, c, p=2.0), L2Ball(1.1, c)),
        (BallInBox(L2Ball(1.1, c), wide), L2Ball(1.1, c)),
        (BallInBox(L1Ball(1.1, c), wide), L1Ball(1.1, c)),
        (BallInBox(L2Ball(1e3), Box(-1.0, 0.5)), Box(-1.0, 0.5)),
        (BallInBox(L1Ball(1e4), Box(-1.0, 0.5)), Box(-1.0, 0.5)),
        (KSupportBall(1.1, c, k=1), L1Ball(1.1, c)),
        (KSupportBall(1.1, c, k=9), L2Ball(1.1, c)),
        (NuclearBall(1.1, c, shape=(1, 9)), L2Ball(1.1, c)),
        (Intersection((L2Ball(1.1, c), wide)), L2Ball(1.1, c)),
        (Intersection((wide, HalfSpace(c, 0.2))), HalfSpace(c, 0.2)),
        (linf_ball(1.5).within(Box(0.0, 9.0)), Box(0.0, 1.5)),
    ]
    for a, b in pairs:
        if "project" in a.offers:
            np.testing.assert_allclose(a.project(x), b.project(x), rtol=0, atol=1e-8)
        if "metric" in a.offers:
            np.testing.assert_allclose(a.project(x, metric=v), b.project(x, metric=v), rtol=0, atol=1e-8)
        if "lmo" in a.offers:
            np.testing.assert_allclose(a.lmo(x), b.lmo(x), rtol=0, atol=1e-8)
    diagonal = np.diag(np.abs(c[:3])).ravel() + np.diag([1.0, 2.0, 3.0]).ravel()
    ours = NuclearBall(1.1, shape=square).project(diagonal).reshape(square)
    np.testing.assert_allclose(
        np.diag(ours), L1Ball(1.1).project(np.diag(diagonal.reshape(square))), atol=1e-12
    )


def test_large_and_tiny_numbers() -> None:
    for scale in (1e-150, 1.0, 1e150):
        for K in (L2Ball(scale), L1Ball(scale), LpBall(scale, p=3), LpBall(scale, p=1.2), Simplex(scale)):
            z = K.project(scale * np.array([3.0, -1.0, 2.0, 0.0]))
            assert K.contains(z, 1e-9) and np.abs(z).max() > 0.1 * scale
    z = L2Ball(1.0).project([1e12, 1e-3], metric=[1e-12, 1.0])  # lambda is 1: the second number halves
    np.testing.assert_allclose(z, [1.0, 5e-4], rtol=1e-6)


def test_many_numbers() -> None:
    x = np.random.default_rng(1).standard_normal(200_000)
    v = 0.1 + np.random.default_rng(2).uniform(size=x.size)
    for K in (L2Ball(10.0), L1Ball(10.0), Simplex(10.0), BallInBox(L2Ball(10.0), Box(-0.01, 0.02))):
        for z in (K.project(x), K.project(x, metric=v), K.project(x.astype(np.float32))):
            assert K.contains(z)


# -- room ---------------------------------------------------------------------------------------


def test_inner_sets_by_hand() -> None:
    box = Box([0.0, -np.inf], [1.0, 0.0]).inner(0.25, 2)
    np.testing.assert_array_equal(box.low, [0.25, -np.inf])
    np.testing.assert_array_equal(box.high, [0.75, -0.25])
    assert L1Ball(1.0).inner(0.1, 4).radius == pytest.approx(0.8) and L2Ball(1.0).inner(0.1, 4).radius == 0.9
    assert HalfSpace([3.0, 4.0], 1.0).inner(0.1, 2).b == pytest.approx(0.5)
    part = BallInBox(L2Ball(1.0), Box(0.0, 2.0)).inner(0.25, 3)
    assert part.ball.radius == 0.75 and (float(part.box.low), float(part.box.high)) == (0.25, 1.75)
    for K in (L2Ball(1.0), Box(0.0, 1.0), BallInBox(L2Ball(1.0), Box(0.0, 2.0))):
        with pytest.raises(ValueError, match=r"distance=1\.5 must be .* smaller eps"):
            K.inner(1.5, 3)
    with pytest.raises(ValueError, match="do not meet"):
        BallInBox(L2Ball(1.0, -0.6), Box(0.0, 2.0)).inner(0.3, 1)


# -- what makes no set --------------------------------------------------------------------------

BAD: list[tuple[Callable[[], Any], str]] = [
    (lambda: Box(1.0, 0.0), r"low=1 and high=0 in coordinate 0"),
    (lambda: Box([0.0, 2.0], [1.0, 1.0]), r"low=2 and high=1 in coordinate 1"),
    (lambda: Box([0.0, 0.0], [1.0, 1.0, 1.0]), "low has 2 numbers, high 3"),
    (lambda: Box(np.nan, 1.0), "low holds NaN"),
    (lambda: Box(np.inf, np.inf), "leave nothing between"),
    (lambda: Box("0", 1.0), "low must be a number"),
    (lambda: Box(0.0, 1.0).within(Box(2.0, 3.0)), "low=2 and high=1"),
    (lambda: L2Ball(0.0), "radius=0.0"),
    (lambda: L2Ball(-1.0), "radius=-1.0"),
    (lambda: L2Ball(True), "radius=True"),
    (lambda: L2Ball(1.0, [np.inf, 0.0]), "center holds"),
    (lambda: L1Ball(np.inf), "radius=inf"),
    (lambda: LpBall(1.0, p=1), "use L1Ball"),
    (lambda: LpBall(1.0, p=np.inf), "use linf_ball"),
    (lambda: LpBall(1.0, p=0.5), "p=0.5"),
    (lambda: Simplex(0.0), "scale=0.0"),
    (lambda: NuclearBall(1.0, shape=(2,)), "shape="),
    (lambda: NuclearBall(1.0, np.zeros(3), shape=(2, 2)), "center has 3 numbers"),
    (lambda: Spectrahedron(1.0, side=0), "side="),
    (lambda: Birkhoff(side=2.5), "side="),
    (lambda: KSupportBall(1.0, k=0), "k="),
    (lambda: HalfSpace([0.0, 0.0], 1.0), "that is not 0"),
    (lambda: HalfSpace(1.0, 1.0), "a must be a vector"),
    (lambda: Affine([[1.0, 1.0], [2.0, 2.0]], [1.0, 3.0]), "contradict"),
    (lambda: Affine([[1.0, 1.0]], [1.0, 3.0]), r"A has shape \(1, 2\) and b \(2,\)"),
    (lambda: BallInBox(L2Ball(1.0), Box(2.0, 3.0)), "ball and box do not meet"),
    (lambda: BallInBox(L2Ball(1.0, [0.0, 0.0]), Box([0.0] * 3, 1.0)), "vectors of 2 and 3 numbers"),
    (lambda: BallInBox(NuclearBall(1.0, shape=(2, 2)), Box(0.0, 1.0)), "Intersection"),
    (lambda: Intersection((L2Ball(1.0),)), "two or more"),
    (lambda: Intersection((L2Ball(1.0), Birkhoff(side=2))), "project is not offered"),
    (lambda: Intersection((L2Ball(1.0, [0.0, 0.0]), HalfSpace([1.0, 1.0, 1.0], 0.0))), "numbers"),
    (lambda: Intersection((L2Ball(1.0), HalfSpace([1.0, 1.0], -9.0)), 50).project([0.0, 0.0]), "do not meet"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "match"), BAD, ids=[match for _, match in BAD])
def test_what_makes_no_set_is_refused(make: Callable[[], Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make()


def test_a_point_whose_square_overflows_is_outside():
    far = np.full(3, 1e160)
    for of in (HalfSpace(np.ones(3), 1.0), Affine(np.ones((1, 3)), [1.0])):
        assert not of.contains(far) and 0.0 < of.excess(far) < np.inf
    assert HalfSpace(-np.ones(3), 1.0).contains(far)

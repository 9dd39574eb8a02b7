"""Rules with sets: where they come to rest, that they never leave the set, that a run of them is replayed bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from zoptim.coefficients import Central
from zoptim.directions import Dense
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.method import Method
from zoptim.probes import TwoSided
from zoptim.protocols import Rule, Stride
from zoptim.rules import (
    AmsGrad,
    Descent,
    FrankWolfe,
    Momentum,
    Projected,
    ProjectedInMetric,
    Proximal,
    SignDescent,
    Sliding,
)
from zoptim.sets import Birkhoff, Box, KSupportBall, L1Ball, L2Ball, Set, Simplex
from zoptim.spaces import Flat

D = 8
AIM = np.linspace(-2.0, 3.0, D)
UNITS = np.geomspace(0.1, 10.0, D)
SETS: list[Set] = [Box(-1.0, 0.5), L2Ball(1.0), L1Ball(1.0, np.full(D, 0.1)), Simplex()]
each_set = pytest.mark.parametrize("K", SETS, ids=lambda K: type(K).__name__)


def walk(rule: Rule, p: np.ndarray, steps: int, lr: float, units: Any = 1.0) -> np.ndarray:
    """So many steps along exact gradients of sum units (p - AIM)^2 / 2."""
    vectors = [np.zeros((D, 1)) for _ in range(rule.vectors)]
    p = p[:, None].copy()
    for k in range(steps):
        rule.apply(p, units * (p - AIM[:, None]), Stride(lr, k), vectors)
    return p[:, 0]


def method(rule: Rule, lr: float) -> Method:
    n = (
        100 if isinstance(rule, FrankWolfe) else 4
    )  # it keeps no average: its estimates must be good themselves
    return Method("toy", Dense("normal"), TwoSided(n), Central(), rule, lr, 1e-4)


def distance(view: Any) -> np.ndarray:
    return ((view.x - AIM) ** 2).sum(axis=1) / 2


def run_of(rule: Rule, lr: float, x: np.ndarray, journal: Journal | None = None) -> Run:
    return Run(Flat(x.copy()), method(rule, lr), journal or Journal.create(None, {"key": 5}), horizon=400)


RULES: dict[str, Any] = {
    "projected": lambda K: (Projected(Descent(), K), 0.03),
    "projected momentum": lambda K: (Projected(Momentum(0.5), K), 0.02),
    "in metric": lambda K: (ProjectedInMetric(AmsGrad(0.5, 0.9), K), 0.01),
    "proximal": lambda K: (Proximal(K), 0.03),
    "frank-wolfe": lambda K: (FrankWolfe(K), 1.0),
}


@each_set
@pytest.mark.parametrize("name", RULES)
def test_a_run_ends_at_the_constrained_minimum_without_leaving_the_set(K: Set, name: str) -> None:
    rule, lr = RULES[name](K)
    run = run_of(rule, lr, K.project(np.zeros(D)))
    for _ in range(400):
        run.step(distance)
        assert K.contains(run.space.x, 1e-9)
    best = K.project(AIM)
    gap = np.sum((run.space.x - AIM) ** 2) - np.sum((best - AIM) ** 2)
    assert gap + 1e-9 >= 0 and gap < 0.05 * np.sum(AIM**2)
    again = run_of(rule, lr, K.project(np.zeros(D)), Journal(None, run.journal.dump()))
    assert again.space.x.tobytes() == run.space.x.tobytes()


@each_set
def test_projected_descent_comes_to_rest_at_the_nearest_point(K: Set) -> None:
    np.testing.assert_allclose(
        walk(Projected(Descent(), K), np.zeros(D), 300, 0.2), K.project(AIM), atol=1e-9
    )


@each_set
def test_a_start_outside_is_inside_after_one_step(K: Set) -> None:
    p = walk(Projected(SignDescent(), K), np.full(D, 50.0), 1, 1e-3)
    assert K.contains(p, 1e-12)


@each_set
def test_proximal_of_a_set_is_projected_descent(K: Set) -> None:
    a = walk(Proximal(K), np.ones(D), 20, 0.1)
    b = walk(Projected(Descent(), K), np.ones(D), 20, 0.1)
    assert a.tobytes() == b.tobytes()


def test_a_set_far_away_changes_nothing() -> None:
    for rule in (Descent(), Momentum(0.9), AmsGrad()):
        for K in (L2Ball(1e6), Box(-1e6, np.inf)):
            wrapped = Projected(rule, K) if rule.vectors < 3 else ProjectedInMetric(AmsGrad(), K)
            assert walk(wrapped, np.ones(D), 9, 0.1).tobytes() == walk(rule, np.ones(D), 9, 0.1).tobytes()


def test_only_the_metric_of_the_step_has_the_minimum_as_its_resting_point() -> None:
    """ZO-AdaMM's point: after a scaled step, the plain projection onto a set that is no box rests elsewhere."""
    units = UNITS[:, None]
    for K in (L2Ball(1.0), L1Ball(2.0), Simplex()):
        best = walk(Projected(Descent(), K), np.zeros(D), 4000, 0.05, units)
        rule = AmsGrad(0.0, 0.5)
        right = walk(ProjectedInMetric(rule, K), np.zeros(D), 4000, 0.02, units)
        wrong = walk(Projected(rule, K), np.zeros(D), 4000, 0.02, units)
        np.testing.assert_allclose(right, best, atol=1e-6)
        assert np.abs(wrong - best).max() > 0.05
    K = Box(-1.0, 0.5)
    both = [walk(make(rule, K), np.zeros(D), 500, 0.02, units) for make in (ProjectedInMetric, Projected)]
    assert both[0].tobytes() == both[1].tobytes()


def test_weights_without_estimates_stay_in_the_metric_projection() -> None:
    rule, K = ProjectedInMetric(AmsGrad(), L2Ball(1.0)), L2Ball(1.0)
    p, g, vectors = np.full((4, 1), 0.5), np.array([[1.0], [0.0], [2.0], [0.0]]), [np.zeros((4, 1))] * 3
    vectors = [v.copy() for v in vectors]
    rule.apply(p, g, Stride(0.1, 0), vectors)
    assert K.contains(p) and (p[[1, 3]] == 0.5).all()
    p, vectors = np.full((4, 1), 2.0), [np.zeros((4, 1)) for _ in range(3)]
    rule.apply(p, np.zeros((4, 1)), Stride(0.1, 0), vectors)
    np.testing.assert_allclose(p, 0.5)


@pytest.mark.parametrize(
    ("gamma", "lr", "expected"),
    [
        ("2/(t+2)", 1.0, [1.0, 2 / 3, 0.5]),
        ("2/(t+8)", 1.0, [2 / 8, 2 / 9, 2 / 10]),
        ("6/(t+5)", 1.0, [1.0, 1.0, 6 / 7]),
        ("constant", 0.25, [0.25, 0.25, 0.25]),
        ("2/(t+2)", 0.5, [0.5, 1 / 3, 0.25]),
    ],
)
def test_frank_wolfe_by_hand(gamma: str, lr: float, expected: list[float]) -> None:
    rule, p = FrankWolfe(Box(0.0, 1.0), gamma), np.full((2, 1), 0.25)
    g = np.array([[1.0], [-3.0]])
    for k, share in enumerate(expected):
        before = p.copy()
        rule.apply(p, g.copy(), Stride(lr, k), [])
        np.testing.assert_allclose(p, before + share * (np.array([[0.0], [1.0]]) - before), rtol=1e-15)


def test_what_a_set_cannot_do_is_said_when_the_rule_is_made() -> None:
    with pytest.raises(ValueError, match=r"Box: lmo is not offered, .*unbounded.*Projected"):
        FrankWolfe(Box(0.0, np.inf))
    with pytest.raises(ValueError, match="gamma='1/t'"):
        FrankWolfe(Box(0.0, 1.0), "1/t")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sets_serve_torch_on_the_cpu(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    for rule in (Projected(Descent(), L1Ball(1.0)), FrankWolfe(L2Ball(1.0)), Proximal(Box(-0.1, 0.1))):
        p, g = np.linspace(-1, 2, 10).astype(dtype)[:, None], np.linspace(2, -1, 10).astype(dtype)[:, None]
        a, b = torch.from_numpy(p.copy()), torch.from_numpy(g.copy())
        rule.apply(p, g, Stride(0.3, 0), [])
        rule.apply(a, b, Stride(0.3, 0), [])
        assert a.numpy().tobytes() == p.tobytes()
    with pytest.raises(TypeError, match="on the CPU"):
        away = torch.ones(3, 1, device="meta")
        Projected(Descent(), Box(0.0, 1.0)).apply(away, away.clone(), Stride(0.1, 0), [])


@each_set
def test_sliding_is_projected_descent_to_within_its_gap(K: Set) -> None:
    start, g, lr = K.project(np.full(D, 0.1)), 0.3 * AIM, 0.5
    for gap in (1e-2, 1e-5):
        p = start[:, None].copy()
        Sliding(K, gap, 100_000).apply(p, g[:, None].copy(), Stride(lr, 0), [])
        exact = K.project(start - lr * g)
        assert K.contains(p, 1e-12) and np.sum((p[:, 0] - exact) ** 2) <= 2 * lr * gap  # strong convexity
    with pytest.raises(ValueError, match="gap="):
        Sliding(K, 0.0)


@pytest.mark.parametrize("K", [Birkhoff(side=3), KSupportBall(1.0, k=2)], ids=lambda K: type(K).__name__)
def test_sets_without_a_projection_say_what_works_and_work_with_it(K: Set) -> None:
    for make in (lambda: Projected(Descent(), K), lambda: ProjectedInMetric(AmsGrad(), K)):
        with pytest.raises(ValueError, match="project is not offered.*needs lmo alone"):
            make()
    aim = np.linspace(0.0, 1.0, 9)
    ends = []
    for rule, lr in ((FrankWolfe(K), 1.0), (Sliding(K, 1e-6, 10_000), 0.5)):
        p = K.lmo(np.ones(9))[:, None]
        for k in range(300):
            rule.apply(p, p - aim[:, None], Stride(lr, k), [])
            assert K.contains(p, 1e-9)
        ends.append(p[:, 0])
        assert K.gap(ends[-1], ends[-1] - aim) < 0.05
    np.testing.assert_allclose(*ends, atol=0.1)

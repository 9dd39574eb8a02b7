"""Estimates of a smoothed loss: exact where they should be, equal to their neighbors at the ends, and the theory's steps."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from zoptim.coefficients import (
    Central,
    CentralSlopes,
    Curvature,
    Forward,
    HessianTimes,
    OnePoint,
    Repeated,
    Residual,
    Slopes,
)
from zoptim.directions import Coordinate, Dense, Distinct, L1Sphere, Sampled, Spherical, UnitSphere
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.method import Method
from zoptim.methods import mezo
from zoptim.methods.plain import zo_sgd
from zoptim.methods.smooth import (
    one_point_residual,
    rgf,
    rgf_step,
    rsgf,
    rsgf_step,
    stopped_at,
    two_point,
    two_point_step,
)
from zoptim.probes import OnePoint as OnePoints
from zoptim.probes import OneSided, ThreePoint, TwoSided
from zoptim.probes import Repeated as RepeatedProbe
from zoptim.probes import Residual as Residuals
from zoptim.protocols import Draw, Mix, Record, Vec, Weighing
from zoptim.rules import Descent
from zoptim.spaces.flat import Flat
from zoptim.testing import functions, objective
from zoptim.testing.subjects import Subject, made_up, subjects

SUBJECTS = pytest.mark.parametrize("subject", subjects(), ids=lambda s: s.name)
D = 5
A = made_up("A", D, D)
H, G, X = A @ A.T, made_up("g", D), made_up("x", D)


def journal(key: int = 7) -> Journal:
    return Journal.create(None, {"key": key})


def linear(x: np.ndarray) -> np.ndarray:
    return np.asarray(x @ G)


def bowl(x: np.ndarray) -> np.ndarray:
    return np.asarray(x @ G + 0.5 * ((x @ H) * x).sum(axis=1))


def estimate(directions: Any, probe: Any, coefficients: Any, f: Any, eps: float) -> tuple[np.ndarray, Record]:
    """What a step of lr 1 moves by, backwards."""
    space = Flat(X.copy())
    method = Method("a composition", directions, probe, coefficients, Descent(), 1.0, eps)
    record = Run(space, method, journal()).step(objective(f))
    return X - space.x, record


def end(subject: Subject, method: Method, count: int = 4) -> bytes:
    space = subject.make()
    run = Run(space, method, journal(), horizon=count)
    for _ in range(count):
        run.step(subject.ask(space))
    return subject.bits(space)


# -- exact where they should be -----------------------------------------------------------------------------

SIDES = {"forward": (OneSided, Forward), "central": (TwoSided, Central)}
LAWS = [
    Dense("normal"),
    Dense("signs"),
    Spherical(),
    UnitSphere(),
    UnitSphere(3),
    L1Sphere(),
    Sampled(),
    Distinct(3),
]


@pytest.mark.parametrize("side", list(SIDES))
@pytest.mark.parametrize("law", LAWS, ids=lambda law: f"{law}"[:24])
def test_on_a_linear_loss_every_estimate_is_the_table_s(law: Any, side: str) -> None:
    """c/n sum <g, z_i> z_i, whatever eps."""
    probe, quotient = SIDES[side]
    moved, _ = estimate(law, probe(3), quotient(), linear, 0.3)
    state, slot = law.init(Flat(X).slots(), 7), Flat(X).slot
    z, a = np.empty((3, D, 1)), np.empty((3, D, 1))
    mix = Mix.of(*[((Draw(0, i), 1.0),) for i in range(3)])
    law.form(z, slot, slice(0, D), mix, None, state)
    getattr(law, "image", law).form(a, slot, slice(0, D), mix, None, state)
    np.testing.assert_allclose(moved, (z[..., 0] @ G) @ a[..., 0] / 3, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("law", [UnitSphere(D), Spherical(D), Distinct(D)], ids=str)
def test_a_whole_basis_gives_the_gradient(law: Any) -> None:
    moved, _ = estimate(law, TwoSided(D), Central(), bowl, 1e-3)
    np.testing.assert_allclose(moved, G + H @ X, rtol=1e-9)


def test_more_distinct_coordinates_than_there_are_give_the_gradient_too() -> None:
    moved, record = estimate(Distinct(D + 3), TwoSided(D + 3), Central(), bowl, 1e-3)
    np.testing.assert_allclose(moved, G + H @ X, rtol=1e-9)
    assert sum(c != 0 for _, c in record.terms) == D


def test_coordinate_estimates_of_a_quadratic() -> None:
    """CGE: two-sided to 1e-8, one-sided off by eps/2 h_ll."""
    for eps in (1e-3, 1.0):
        moved, record = estimate(Coordinate(), TwoSided(D), CentralSlopes(), bowl, eps)
        np.testing.assert_allclose(moved, G + H @ X, rtol=1e-8)
        assert len(record.losses) == 2 * D
        moved, record = estimate(Coordinate(), OneSided(D), Slopes(), bowl, eps)
        np.testing.assert_allclose(moved, G + H @ X + eps / 2 * np.diag(H), rtol=1e-8)
        assert len(record.losses) == D + 1


def test_central_differences_do_not_see_even_terms() -> None:
    odd, _ = estimate(Dense("normal"), TwoSided(2), Central(), linear, 0.5)
    both, _ = estimate(
        Dense("normal"), TwoSided(2), Central(), lambda x: linear(x) + ((x - X) ** 4).sum(1), 0.5
    )
    np.testing.assert_allclose(both, odd, rtol=1e-9)


def test_one_point_is_the_gradient_in_the_mean_only() -> None:
    steps = [
        estimate_at(t, OnePoints(4), OnePoint(), lambda x: 0.3 + linear(x - X), 0.5) for t in range(4000)
    ]
    error = np.std(steps, axis=0) / len(steps) ** 0.5
    assert (np.abs(np.mean(steps, axis=0) - G) < 5 * error).all() and (error < 0.2).all()
    still = estimate_at(0, OnePoints(1), OnePoint(), lambda x: np.ones(len(x)), 0.5)
    assert np.abs(still).max() > 0.1  # moves where there is nothing to learn


def estimate_at(key: int, probe: Any, coefficients: Any, f: Any, eps: float) -> np.ndarray:
    space = Flat(X.copy())
    method = Method("a composition", Dense("normal"), probe, coefficients, Descent(), 1.0, eps)
    Run(space, method, journal(key)).step(objective(f))
    return X - space.x


def test_at_a_kink_only_the_forward_difference_is_large() -> None:
    """f = |x| at 0, slope 1: d^2 against 0; what makes two points on the sphere fit for nonsmooth losses."""
    kink = [(OneSided(1), Forward()), (TwoSided(1), Central())]
    sizes = []
    for probe, quotient in kink:
        space = Flat(np.zeros(D))
        method = Method("a composition", UnitSphere(), probe, quotient, Descent(), 1.0, 0.1)
        Run(space, method, journal()).step(objective(lambda x: np.sqrt((x**2).sum(axis=1))))
        sizes.append(float(space.x @ space.x))
    assert sizes == [pytest.approx(D**2), 0.0]


# -- second differences -------------------------------------------------------------------------------------


def test_the_mean_of_second_differences_is_the_hessian() -> None:
    """Stein's identity, 2e5 draws, within 5 standard errors: H, its blocks, and the central coefficients' gradient."""
    n, eps = 200_000, 0.1
    slot, law = Flat(X).slot, Dense("normal")
    total, square = np.zeros((D, D)), np.zeros((D, D))
    for t in range(20):
        draws = tuple(Draw(t, i) for i in range(n // 20))
        z = np.empty((len(draws), D, 1))
        for first in range(0, len(draws), 100):
            some = draws[first : first + 100]
            mix = Mix(some, np.eye(len(some)))
            law.form(z[first : first + 100], slot, slice(0, D), mix, None, 7)
        z = z[..., 0]
        losses = np.stack([bowl(X + eps * z), bowl(X - eps * z)], axis=1).ravel()
        w = Weighing(draws, (), np.append(losses, bowl(X[None])), np.zeros(len(draws)), eps)
        s = np.array(Curvature().weigh(w).extra)
        each = s[:, None, None] * (z[:, :, None] * z[:, None, :] - np.eye(D))
        total, square = total + each.sum(0), square + (each**2).sum(0)
    mean = total / n
    error = np.sqrt((square / n - mean**2) / n)
    assert (np.abs(mean - H) < 5 * error).all()
    assert (error < 0.05 * np.abs(H).max()).all()


def test_a_hessian_times_a_vector() -> None:
    """The step is sum_i s_i (<z_i, w> z_i - w) / n of its own draws, w kept by name."""
    n, eps, w = 6, 0.1, made_up("w", D)
    space = Flat(X.copy())
    method = Method(
        "a composition", Dense("normal"), ThreePoint(n), HessianTimes("w"), Descent(), 1.0, eps, vecs=("w",)
    )
    run = Run(space, method, journal())
    run.named.arrays["w"][space.slot.id][:] = w[:, None]
    record = run.step(objective(bowl))
    assert record.terms[-1][0] == Vec("w")
    z = np.empty((n, D, 1))
    mix = Mix.of(*[((Draw(0, i), 1.0),) for i in range(n)])
    method.directions.form(z, space.slot, slice(0, D), mix, None, run.state)
    z = z[..., 0]
    s = ((z @ H) * z).sum(1) / 2
    expected = (s[:, None] * ((z @ w)[:, None] * z - w)).mean(0)
    np.testing.assert_allclose(X - space.x, expected, rtol=1e-6)


# -- equal to their neighbors -------------------------------------------------------------------------------


@SUBJECTS
def test_rgf_and_rsgf_are_what_the_shelf_calls_otherwise(subject: Subject) -> None:
    assert end(subject, rgf(lr=0.01)) == end(subject, zo_sgd(lr=0.01))
    assert end(subject, rgf(lr=0.01, sides="two")) == end(subject, mezo(lr=0.01))
    assert end(subject, rsgf(lr=0.01, n=3)) == end(subject, zo_sgd(lr=0.01, n=3))
    assert end(subject, rgf(lr=0.01)) != end(subject, rgf(lr=0.01, sides="two"))


def test_the_sphere_is_mezo_over_the_length_of_its_normals() -> None:
    moved, _ = estimate(Spherical(), TwoSided(1), Central(), linear, 0.1)
    plain, _ = estimate(Dense("normal"), TwoSided(1), Central(), linear, 0.1)
    z = plain / np.sqrt(plain @ plain)
    np.testing.assert_allclose(moved, D * (z @ G) * z, rtol=1e-12)
    unit, _ = estimate(UnitSphere(), TwoSided(1), Central(), linear, 0.1)
    np.testing.assert_allclose(unit, moved, rtol=1e-12)


@SUBJECTS
def test_both_spheres_step_alike_at_radii_of_one_displacement(subject: Subject) -> None:
    """eps = delta / sqrt(d): to rounding."""
    space = subject.make()
    d = sum(math.prod(s.shape) for s in space.slots())
    ends = []
    for directions, eps in ((Spherical(2), 0.01), (UnitSphere(2), 0.01 * d**0.5)):
        space = subject.make()
        run = Run(space, replace(two_point(lr=0.02, n=2), directions=directions, eps=eps), journal())
        for _ in range(3):
            assert run.step(subject.ask(space)).kind == "move"
        ends.append(subject.values(space))
    for slot, x in ends[0].items():
        np.testing.assert_allclose(ends[1][slot], x, atol=2e-3 if "32" in subject.name else 1e-9)


# -- the residual -------------------------------------------------------------------------------------------


def test_a_residual_asks_once_and_compares_with_the_step_before() -> None:
    space = Flat(X.copy())
    run = Run(space, one_point_residual(lr=1e-3, eps=0.1), journal())
    records = [run.step(objective(bowl)) for _ in range(4)]
    assert [len(r.losses) for r in records] == [2, 1, 1, 1]
    before = [records[0].losses[1], *(r.losses[0] for r in records[:-1])]
    for record, last in zip(records, before, strict=True):
        assert record.terms[0][1] == pytest.approx((record.losses[0] - last) / 0.1, rel=1e-12)


def test_a_residual_starts_again_after_a_loss_that_was_none() -> None:
    calls = []

    def breaks(x: np.ndarray) -> np.ndarray:
        calls.append(len(x))
        return bowl(x) * (np.nan if len(calls) == 2 else 1.0)

    run = Run(Flat(X.copy()), one_point_residual(lr=1e-3, eps=0.1), journal())
    kinds = [run.step(objective(breaks)).kind for _ in range(4)]
    assert kinds == ["move", "skip", "move", "move"] and calls == [2, 1, 2, 1]
    again = Run(Flat(X.copy()), one_point_residual(lr=1e-3, eps=0.1), Journal(None, run.journal.dump()))
    assert again.step(objective(bowl)) == run.step(objective(bowl))


# -- several answers ----------------------------------------------------------------------------------------


def test_wild_answers_are_left_out() -> None:
    """One answer in three is off by a million; the step is that of the two others."""
    calls = [0]

    def wild(x: np.ndarray) -> np.ndarray:
        out = bowl(x)
        out[np.arange(len(x)) % 3 == calls[0] % 3] += 1e6
        calls[0] += 1
        return out

    parts: Any = [
        lambda: (TwoSided(2), Central()),
        lambda: (OneSided(2), Forward()),
        lambda: (Residuals(), Residual()),
    ]
    for make in parts:
        plain, once = estimate(Dense("normal"), *make(), bowl, 0.1)
        probe, quotient = make()
        moved, record = estimate(Dense("normal"), RepeatedProbe(probe, 3), Repeated(quotient, 3), wild, 0.1)
        np.testing.assert_allclose(moved, plain, rtol=1e-9)
        assert len(record.losses) == 3 * len(once.losses)
    assert RepeatedProbe(OneSided(2), 3).forwards == 9


def test_a_fold_over_several_answers_sees_their_medians() -> None:
    def run(times: int) -> np.ndarray:
        space = Flat(X.copy())
        probe: Any = RepeatedProbe(Residuals(), times) if times > 1 else Residuals()
        coefficients: Any = Repeated(Residual(), times) if times > 1 else Residual()
        method = Method("a composition", Dense("normal"), probe, coefficients, Descent(), 1e-3, 0.1)
        steps = Run(space, method, journal())
        for _ in range(4):
            steps.step(objective(bowl))
        return space.x

    np.testing.assert_array_equal(run(3), run(1))


# -- step sizes ---------------------------------------------------------------------------------------------


def test_steps_by_hand() -> None:
    assert rgf_step(96, 2.0) == 1 / 800
    assert two_point_step(25, 2.0, 3.0, 100) == 3 / (2 * 50)
    assert rsgf_step(96, 2.0, 0.0, 1.0, 10) == pytest.approx(1 / 800)
    assert rsgf_step(96, 2.0, 5.0, 1.0, 100) == pytest.approx(1 / 800)
    assert rsgf_step(96, 1e-9, 5.0, 1.0, 100) == pytest.approx(1 / 50 / 10)


@pytest.mark.parametrize("d", [4, 32])
def test_rgf_keeps_its_promise_on_the_worst_quadratic(d: int) -> None:
    """Nesterov's chain, L1 = 4: the mean gap over the steps is at most 4 (d + 4) L1 R^2 / (N + 1), in the mean of runs."""

    def chain(x: np.ndarray) -> np.ndarray:
        bends = (np.diff(x, axis=1) ** 2).sum(axis=1) + x[:, 0] ** 2 + x[:, -1] ** 2
        return np.asarray(0.5 * bends - x[:, 0])

    best = 1 - np.arange(1, d + 1) / (d + 1)
    floor, steps, gaps = float(chain(best[None])[0]), 40 * d, []
    for key in range(4):
        space = Flat(np.zeros(d))
        run = Run(space, rgf(rgf_step(d, 4.0), 1e-6), journal(key), horizon=steps)
        gaps.append(np.mean([run.step(objective(chain)).losses[0] - floor for _ in range(steps)]))
    assert np.mean(gaps) < 4 * (d + 4) * 4 * (best @ best) / (steps + 1)
    assert np.mean(gaps) < -floor / 2  # and less than half of where it began


def test_the_random_stop_is_a_replay() -> None:
    problem, steps = functions.quadratic(6), 12
    space = Flat(problem.x0.copy())
    run, path = Run(space, rsgf(lr=0.02), journal(), horizon=steps), [problem.x0.copy()]
    for _ in range(steps):
        run.step(objective(problem.f))
        path.append(space.x.copy())
    stop = stopped_at(7, steps)
    early = Flat(problem.x0.copy())
    Run(early, rsgf(lr=0.02), Journal(None, run.journal.dump()), horizon=steps, until=stop)
    assert early.x.tobytes() == path[stop].tobytes()
    drawn = np.bincount([stopped_at(key, 4) for key in range(4000)], minlength=4)
    assert len(drawn) == 4 and (np.abs(drawn - 1000) < 5 * 750**0.5).all()


@pytest.mark.parametrize(
    ("make", "given", "says"),
    [
        (rgf, {"sides": "three"}, "sides='three'"),
        (two_point, {"block": 0}, "block=0"),
        (rsgf, {"n": 0}, "n=0"),
    ],
)
def test_settings_are_refused_by_name(make: Any, given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make(**given)

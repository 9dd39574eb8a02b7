"""Populations: what ranks and soft minima are equal to at their ends, by hand, and how far a step goes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoptim.coefficients import CenteredRanks, Central, SoftMin
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.method import Method
from zoptim.methods import mezo
from zoptim.methods.population import consensus, openai_es
from zoptim.protocols import Draw, Weighing
from zoptim.spaces.flat import Flat
from zoptim.testing import functions, objective
from zoptim.testing.subjects import Subject, made_up, subjects

SUBJECTS = pytest.mark.parametrize("subject", subjects(), ids=lambda s: s.name)


def weighed(part: Any, losses: Any, eps: float = 0.25) -> np.ndarray:
    losses = np.array(losses, np.float64)
    n = len(losses) // 2
    draws = tuple(Draw(0, i) for i in range(n))
    return np.asarray(part.weigh(Weighing(draws, (), losses, np.zeros(n), eps)).coefs)


def end(subject: Subject, method: Method, count: int = 4) -> bytes:
    space = subject.make()
    run = Run(space, method, Journal.create(None, {"key": 7}), horizon=count)
    for _ in range(count):
        run.step(subject.ask(space))
    return subject.bits(space)


def first(
    method: Method, f: Any, x0: np.ndarray, key: int = 7
) -> tuple[np.ndarray, tuple[float, ...], list[np.ndarray]]:
    """Where one step leads, the losses it saw and the points it saw them at."""
    space, seen = Flat(x0.copy()), []

    def ask(view: Any) -> np.ndarray:
        seen.extend(np.array(view.x))
        return np.asarray(f(view.x))

    record = Run(space, method, Journal.create(None, {"key": key})).step(ask)
    return space.x, record.losses, seen


# -- ranks ------------------------------------------------------------------------------------------------


def test_ranks_by_hand_and_ties_share_theirs() -> None:
    np.testing.assert_allclose(weighed(CenteredRanks(), [3.0, 1.0, 9.0, 2.0]), [2 / 12, 2 / 12])
    np.testing.assert_allclose(weighed(CenteredRanks(), [5.0, 1.0, 5.0, 1.0]), [1 / 6, 1 / 6])  # 2.5 and 0.5
    np.testing.assert_array_equal(weighed(CenteredRanks(), [1.0, 1.0, 1.0, 1.0]), [0.0, 0.0])


@given(st.integers(1, 9).flatmap(lambda n: st.permutations(range(2 * n))))
def test_losses_that_are_their_ranks_weigh_as_differences(losses: list[int]) -> None:
    m = len(losses)
    np.testing.assert_allclose(
        weighed(CenteredRanks(), losses), weighed(Central(), losses, eps=0.5) / (m - 1) / 2, rtol=1e-13
    )


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=16).filter(lambda x: len(x) % 2 == 0))
def test_a_member_and_its_mirror_image_exchange_signs(losses: list[int]) -> None:
    """Ties too: nothing hangs on the order of asking."""
    turned = np.array(losses).reshape(-1, 2)[:, ::-1].ravel()
    np.testing.assert_array_equal(weighed(CenteredRanks(), turned), -weighed(CenteredRanks(), losses))


@SUBJECTS
def test_one_pair_is_the_sign_of_its_difference(subject: Subject) -> None:
    class Half:
        def weigh(self, w: Weighing) -> Weighing:
            return replace(w, coefs=np.sign(w.losses[:1] - w.losses[1:]) / 2)

        def observe(self, record: Any) -> None: ...

    sign = replace(mezo(lr=0.01), coefficients=Half())
    assert end(subject, openai_es(lr=0.01, n=1)) == end(subject, sign)
    assert end(subject, openai_es(lr=0.01, n=2)) != end(subject, sign)


@pytest.mark.parametrize("n", [1, 2, 16])
def test_pace_is_how_far_a_step_goes(n: int) -> None:
    """On a slope every weight moves by pace lr / sqrt(n), which `--lr auto` counts on."""
    d, method = 400, openai_es(lr=1.0, n=n)
    space = Flat(np.zeros(d))
    run = Run(space, method, Journal.create(None, {"key": 7}))
    moved = []
    for _ in range(60):
        before = space.x.copy()
        run.step(objective(lambda x: x @ made_up("g", d)))
        moved.append(float(((space.x - before) ** 2).mean()))
    assert np.mean(moved) ** 0.5 == pytest.approx(method.pace / n**0.5, rel=0.06)


def test_only_what_is_not_decayed_is_additive() -> None:
    assert openai_es().additive and not openai_es(weight_decay=0.005).additive
    assert "additive" not in openai_es(weight_decay=0.005).claims


# -- consensus --------------------------------------------------------------------------------------------


def test_soft_minimum_by_hand() -> None:
    w = np.exp([0.0, -1.0, -3.0, -2.0])
    w /= w.sum()
    c = weighed(SoftMin(2.0), [1.0, 3.0, 7.0, 5.0], eps=0.25)
    np.testing.assert_allclose(c, 8.0 * (w[[1, 3]] - w[[0, 2]]), rtol=1e-13)


def test_losses_of_any_size_are_weighed() -> None:
    """The best particle's weight is 1 however far the others are."""
    np.testing.assert_array_equal(weighed(SoftMin(1e-3), [1e300, -1e300, 0.0, 5.0], eps=1e-3), [1.0, 0.0])


@SUBJECTS
def test_hot_particles_are_mezo_to_rounding(subject: Subject) -> None:
    hot, plain = subject.make(), subject.make()
    for space, method in ((hot, consensus(lr=0.01, n=3, temperature=1e5)), (plain, mezo(lr=0.01, n=3))):
        run = Run(space, method, Journal.create(None, {"key": 7}))
        for _ in range(3):
            run.step(subject.ask(space))
    start, reached = subject.values(subject.make()), subject.values(plain)
    for slot, x in subject.values(hot).items():
        assert np.abs(reached[slot] - start[slot]).max() > 1e-3
        np.testing.assert_allclose(x, reached[slot], atol=1e-4)


def test_cold_particles_follow_the_best_one() -> None:
    problem, eps, cold = functions.quadratic(5), 0.1, 1e-9
    x, losses, seen = first(
        consensus(lr=eps**2 / cold, eps=eps, n=6, temperature=cold), problem.f, problem.x0
    )
    np.testing.assert_allclose(x, seen[int(np.argmin(losses))], rtol=1e-12)


def test_the_hop_is_to_the_weighted_mean_of_the_points_asked() -> None:
    problem, eps, warm = functions.quadratic(5), 0.1, 0.3
    x, losses, seen = first(
        consensus(lr=eps**2 / warm, eps=eps, n=6, temperature=warm), problem.f, problem.x0
    )
    w = np.exp(-np.array(losses) / warm)
    np.testing.assert_allclose(x, w @ np.array(seen) / w.sum(), rtol=1e-12)


def test_the_default_is_the_hop() -> None:
    method = consensus()
    assert method.lr == pytest.approx(method.eps**2 / method.arguments["temperature"])


def test_many_particles_give_the_slope_of_the_soft_minimum() -> None:
    """Of L = a/2 |x|^2: -T log E exp(-L(x + eps z)/T) has the gradient a x / (1 + a eps^2 / T)."""
    a, eps, warm, x0 = 2.0, 0.5, 0.5, np.array([1.0, -0.5])
    method = consensus(
        lr=1.0, eps=eps, n=2_000, temperature=warm
    )  # ten steps: a step of all is a table of gigabytes
    moves = [x0 - first(method, lambda x: a / 2 * (x**2).sum(axis=1), x0, key)[0] for key in range(10)]
    np.testing.assert_allclose(np.mean(moves, axis=0), a * x0 / (1 + a * eps**2 / warm), atol=0.03)

"""Quadratic programs and their sequence: conditions of a minimum, boxes kept, ripples and noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from zoptim.plans.program import MOST, Program, bounded
from zoptim.plans.sequential import DROWNED, SETTLED, Step, curved, sequential

RNG = np.random.default_rng(3)
FREE = (np.full(2, -np.inf), np.full(2, np.inf))


@pytest.mark.parametrize("k", [1, 3, 8, 20])
def test_a_quadratic_in_a_box_is_at_its_minimum(k: int) -> None:
    for _ in range(30):
        root = RNG.normal(size=(k, k))
        m, q = root @ root.T + 1e-3 * np.eye(k), 3 * RNG.normal(size=k)
        low = np.where(RNG.random(k) < 0.3, -np.inf, -RNG.random(k) * (RNG.random(k) < 0.5))
        high = np.where(RNG.random(k) < 0.3, np.inf, RNG.random(k))
        x = bounded(m, q, low, high)
        slope = m @ x + q
        inside = (x > low) & (x < high)
        assert (x >= low).all() and (x <= high).all()
        assert abs(slope[inside]).max(initial=0.0) < 1e-8
        assert (slope[x == low] > -1e-8).all() and (slope[x == high] < 1e-8).all()


def program(d: int, ineq: int, eq: int, half: float = np.inf) -> tuple[Program, np.ndarray, np.ndarray]:
    """One with a point inside its box that keeps to all of its constraints."""
    root, met = RNG.normal(size=(d, d)), RNG.uniform(-1, 1, size=d) * min(half, 1.0)
    b, j = root @ root.T + 0.1 * np.eye(d), RNG.normal(size=(ineq + eq, d))
    c = -j @ met - np.where(np.arange(ineq + eq) < ineq, RNG.random(ineq + eq), 0.0)
    room = (np.full(d, -half), np.full(d, half))
    return Program(RNG.normal(size=d), j, np.linalg.inv(b), ineq, np.zeros(ineq + eq), room), b, c


@pytest.mark.parametrize("half", [np.inf, 1.0])
def test_a_program_is_solved_with_its_multipliers(half: float) -> None:
    for _ in range(20):
        given, b, c = program(6, 3, 2, half)
        p, l = given.solved(c)  # noqa: E741
        there = c + given.j @ p
        assert abs(there[3:]).max() < 1e-6 and there[:3].max() < 1e-6
        assert (l[:3] >= 0).all() and abs(l[:3] * there[:3]).max() < 1e-6
        slope = given.g + b @ p + given.j.T @ l
        inside = abs(p) < half
        assert abs(slope[inside]).max(initial=0.0) < 1e-6
        assert (slope[p == half] < 1e-6).all() and (slope[p == -half] > -1e-6).all()


def test_constraints_that_contradict_or_repeat_each_other_have_an_answer() -> None:
    one = np.array([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    given = Program(np.array([0.0, 1.0]), one, np.eye(2), 3, np.zeros(3), FREE)
    p, l = given.solved(np.array([1.0, 1.0, 1.0]))  # p_0 <= -1 and p_0 >= 1  # noqa: E741
    assert np.isfinite(p).all() and abs(l).max() == pytest.approx(MOST) and p[1] == pytest.approx(-1.0)
    p, _ = given.solved(np.array([1.0, -5.0, 1.0]))  # the first and the last are one
    assert p == pytest.approx([-1.0, -1.0], abs=1e-6)
    p, _ = Program(np.ones(2), np.zeros((1, 2)), np.eye(2), 0, np.zeros(1), FREE).solved(np.ones(1))
    assert np.isfinite(p).all()


def test_b_stays_positive_definite_where_slopes_bend_downwards() -> None:
    b, largest = np.eye(4), 1.0
    for _ in range(200):
        b = curved(b, RNG.normal(size=4), RNG.normal(size=4) * 10 ** RNG.uniform(-3, 3))
        values = np.linalg.eigvalsh(b)
        largest = max(largest, values[-1])
        assert values[0] > -1e-15 * len(b) * largest  # to the rounding of what it has been


class Run:
    """A search told by functions of x: where it ended, what it asked, why it is over."""

    def __init__(
        self, f: Callable, x0: list[float], g: Callable = lambda x: [], h: Callable = lambda x: [],
        box: tuple[np.ndarray, np.ndarray] | None = None, most: int = 2000,
    ) -> None:  # fmt: skip
        x = np.array(x0)
        free = np.full(len(x), np.inf)
        talk = sequential(x, box or (-free, free))
        self.asked, self.steps, self.why = [], [], None
        said = next(talk)
        try:
            while len(self.asked) < most:
                if isinstance(said, Step):
                    self.steps.append(said)
                    said = next(talk)
                    continue
                self.asked += list(said)
                told = (np.array([[*one(z)] for z in said], float).reshape(len(said), -1) for one in (g, h))
                said = talk.send((np.array([f(z) for z in said], float), *told))
        except StopIteration as stop:
            self.why = stop.value


def rosenbrock(x: np.ndarray) -> float:
    return float(100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2)


def ring(x: np.ndarray) -> list[float]:
    return [x @ x - 1.0]


def test_the_multipliers_are_those_of_the_minimum() -> None:
    run = Run(lambda x: x[0] + 2 * x[1], [0.3, 0.5], g=ring)
    end = run.steps[-1]
    assert run.why == SETTLED and len(run.asked) < 60
    np.testing.assert_allclose(end.x, -np.array([1.0, 2.0]) / 5**0.5, atol=1e-6)
    np.testing.assert_allclose(end.ineq, [5**0.5 / 2], rtol=1e-5)  # (1, 2) + 2 l x = 0
    run = Run(lambda x: 1e4 * x[0], [0.3, 0.5], h=ring)  # whatever f's unit
    assert run.why == SETTLED and run.steps[-1].eq == pytest.approx([0.5e4], rel=1e-5)


def test_it_follows_a_bent_valley_and_an_equation_far_away() -> None:
    run = Run(rosenbrock, [-1.2, 1.0], g=lambda x: [x @ x - 2.0])
    assert run.why == SETTLED and rosenbrock(run.steps[-1].x) < 1e-8 and len(run.asked) < 250
    run = Run(lambda x: float(x[1] ** 2), [30.0, -40.0], h=ring)
    np.testing.assert_allclose(abs(run.steps[-1].x), [1.0, 0.0], atol=1e-5)


def test_no_point_is_asked_outside_of_the_box() -> None:
    box = np.array([-1.5, -0.5]), np.array([0.5, 2.0])
    run = Run(rosenbrock, [0.5, 2.0], g=lambda x: [-x[0] - x[1]], box=box)
    assert run.why == SETTLED and all((z >= box[0]).all() and (z <= box[1]).all() for z in run.asked)
    np.testing.assert_allclose(run.steps[-1].x, [0.5, 0.25], atol=1e-5)


def test_what_cannot_be_met_is_no_rest() -> None:
    assert Run(lambda x: float(x @ x), [1.0, 1.0], g=lambda x: [1.0 - x[0], x[0] + 1.0]).why == ""


def test_a_dent_of_a_ripple_is_no_rest() -> None:
    def rippled(x: np.ndarray) -> float:
        return float(((x - 1) ** 2).sum() + 1e-3 * np.sin(1e3 * x.sum()))

    run = Run(rippled, [-0.4, -0.3], g=lambda x: [x[0] - 2 * x[1]])
    np.testing.assert_allclose(run.steps[-1].x, [1.0, 1.0], atol=0.05)  # dents are everywhere, 0.003 apart
    smooth = Run(lambda x: float(((x - 1) ** 2).sum()), [-0.4, -0.3], g=lambda x: [x[0] - 2 * x[1]])
    assert smooth.why == SETTLED and len(smooth.asked) < 40


def test_noise_is_stepped_over_and_noisy_constraints_are_left_to_others() -> None:
    draws = np.random.default_rng(0)
    run = Run(lambda x: float(((x - 1) ** 2).sum() + 1e-3 * draws.normal()), [0.0, -1.0], h=ring)
    end = run.steps[-1]
    assert run.why == DROWNED and end.off <= 1e-6 and 3e-4 < end.sigma < 3e-3
    np.testing.assert_allclose(end.x, [0.5**0.5] * 2, atol=0.1)
    left = Run(lambda x: float(x @ x), [1.0, 1.0], g=lambda x: [draws.normal()])
    assert left.why == "" and len(left.asked) == 2


def test_values_that_fail_shorten_steps_or_end_it() -> None:
    run = Run(lambda x: np.nan if x[0] > 0.8 else float(((x - 1) ** 2).sum()), [0.0, 0.0], g=ring)
    np.testing.assert_allclose(run.steps[-1].x, [0.5**0.5] * 2, atol=1e-5)
    assert Run(lambda x: np.nan, [0.0, 0.0], g=ring).why == ""
    assert Run(lambda x: float(x.sum()), [0.0, 0.0], g=lambda x: [np.nan if x[1] > 0 else -1.0]).why == ""

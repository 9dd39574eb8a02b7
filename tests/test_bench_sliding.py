"""Games of sums with gradients: what is estimated, what it costs, and where it ends."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
import pytest
from bench import sliding, structured
from bench.games import Sum, sampled
from bench.structured_problems import PROBLEMS

ALIKE = sampled(400)
ONES = np.ones(16)


def error(game: Sum, z: np.ndarray) -> float:
    return float(((z - game.answer) ** 2).sum())


def needed(game: Sum, walk: sliding.Walk, below: float, most: int = 400_000) -> float:
    """Component gradients until the error is `below`."""
    for spent, z in walk:
        off = error(game, z)
        if off < below:
            return spent
        if spent > most or not off < 1e9:
            break
    return np.inf


@dataclass(frozen=True)
class Counted(Sum):
    asked: list[int] = field(default_factory=list)

    def operators(self, z: np.ndarray, parts: object) -> np.ndarray:
        found = super().operators(z, parts)
        self.asked.append(len(found))
        return found


def test_operators_are_slopes_of_values_and_vanish_at_the_saddle() -> None:
    game, h = sampled(5, n=3, d=4), 1e-3
    z, parts = np.random.default_rng(0).normal(size=8), [2, 0]
    slopes = np.array([
        (game.values(z[None] + h * e, parts)[0] - game.values(z[None] - h * e, parts)[0]) / (2 * h) for e in np.eye(8)
    ]).T  # fmt: skip
    np.testing.assert_allclose(game.operators(z, parts), slopes * np.repeat([1, -1], 4), atol=1e-10)
    assert np.abs(game.operators(game.answer, [0, 1, 2]).mean(axis=0)).max() < 1e-13


def test_components_are_convex_concave_and_the_more_alike_the_more_samples_they_have() -> None:
    for part in ALIKE.forms:
        assert np.linalg.eigvalsh(part[:8, :8])[0] > 0.0 > np.linalg.eigvalsh(part[8:, 8:])[-1]
    few, many = sampled(20), sampled(2000)
    assert few.similarity > 3 * ALIKE.similarity > 3 * many.similarity
    rng = np.random.default_rng(1)
    for u, w in rng.normal(size=(50, 2, 16)):
        apart = np.linalg.norm(ALIKE.operators(u, range(64)) - ALIKE.operators(w, range(64)), axis=1)
        assert apart.max() <= ALIKE.smooth * np.linalg.norm(u - w) * (1 + 1e-12)
        whole = ALIKE.operators(u, range(64)).mean(axis=0) - ALIKE.operators(w, range(64)).mean(axis=0)
        assert whole @ (u - w) >= ALIKE.modulus * ((u - w) ** 2).sum()


def test_the_mean_of_an_estimate_over_its_draws_is_the_optimistic_step() -> None:
    game, alpha = sampled(3, n=4, d=3), 0.7
    w, z, before = np.random.default_rng(2).normal(size=(3, 6))
    held = game.operators(w, range(4))

    def rest(at: np.ndarray) -> np.ndarray:
        return game.operators(at, range(4)).mean(axis=0) - game.operators(at, [0])[0]

    draws = [
        sliding.estimate(game, held, z, before, list(j), alpha) for j in itertools.product(range(4), repeat=2)
    ]
    assert np.std(draws, axis=0).max() > 0.1
    np.testing.assert_allclose(np.mean(draws, axis=0), rest(z) + alpha * (rest(z) - rest(before)), atol=1e-13)


@pytest.mark.parametrize("factor", [0.1, 1.0, 10.0])
def test_a_subproblems_answer_is_as_near_as_it_says(factor: float) -> None:
    lr = factor / ALIKE.similarity
    v, z = np.random.default_rng(3).normal(size=(2, 16))
    jacobian = np.array([ALIKE.operators(e, [0])[0] - ALIKE.operators(0 * e, [0])[0] for e in np.eye(16)]).T
    exact = np.linalg.solve(jacobian + np.eye(16) / lr, v / lr - ALIKE.operators(0 * v, [0])[0])
    u, asked = sliding.slid(ALIKE, v, z, lr)
    assert np.linalg.norm(u - exact) <= sliding.CLOSE * np.linalg.norm(u - z) < 1e9
    assert 1 < asked < 2 * sliding.ROUNDS


@pytest.mark.parametrize("seed", range(3))
def test_svogs_comes_nearer_by_a_factor_again_and_again(seed: int) -> None:
    walk = sliding.svogs(ALIKE, ONES, 1 / ALIKE.similarity, seed=seed)
    costs = np.array([needed(ALIKE, walk, below) for below in (1e-4, 1e-8, 1e-12, 1e-16, 1e-20)])
    assert costs[-1] < 80_000
    legs = np.diff(costs)
    assert legs.max() < 2 * legs.min()


def test_gradients_said_are_gradients_asked() -> None:
    game = Counted(ALIKE.forms, ALIKE.lines, ALIKE.players)
    for walk in (sliding.svogs(game, ONES, 1 / game.similarity), sliding.extragradient(game, ONES, 0.3)):
        game.asked.clear()
        for _, (spent, _) in zip(range(200), walk, strict=False):
            assert spent == sum(game.asked)


def test_alike_components_pay_and_unlike_ones_less() -> None:
    saved = []
    for rows in (20, 400):
        game = sampled(rows)
        whole = min(
            needed(game, sliding.extragradient(game, ONES, f / game.smooth), 1e-6) for f in (0.5, 1, 1.5, 2)
        )
        slid = min(needed(game, sliding.svogs(game, ONES, f / game.similarity), 1e-6) for f in (0.3, 1.0))
        saved.append(whole / slid)
    assert saved[1] > 3.0 and saved[1] > 1.5 * saved[0]


def test_on_a_set_both_end_where_no_step_into_it_leads_away() -> None:
    def box(z: np.ndarray) -> np.ndarray:
        return np.clip(z, -0.2, 0.2)

    ends = []
    for walk in (
        sliding.svogs(ALIKE, 0 * ONES, 1 / ALIKE.similarity, land=box),
        sliding.extragradient(ALIKE, 0 * ONES, 1 / ALIKE.smooth, land=box),
    ):
        ends.append(next(z for spent, z in walk if spent > 250_000))
    assert np.abs(box(ends[0] - ALIKE.operators(ends[0], range(64)).mean(axis=0)) - ends[0]).max() < 1e-7
    assert np.abs(ends[0]).max() == 0.2 > np.abs(ends[0]).min()
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-7)


def test_in_a_contest_a_gradient_is_counted_as_differences_would_be() -> None:
    p, budget = PROBLEMS["similar"](), 60_000
    for label in ("svogs, with gradients", "extragradient, with gradients"):
        one = structured.CONTEST.run(p, structured.ENTRANTS[label], 1.0, 0, budget)
        assert one["queries"][-1] == 17 * one["gradients"] and 0.9 * budget < one["queries"][-1] <= budget
        assert one["loss"][-1] < 0.5 * p.loss(p.start()) and one["queries"] == sorted(set(one["queries"]))
        assert f"{one['gradients']:,} component gradients" in structured._told({"runs": [one]})

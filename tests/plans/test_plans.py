"""Plans alone: their questions answered by a function, no run, no journal."""

from __future__ import annotations

import numpy as np
import pytest

from zoptim.plans import Land, Move, Settings, descent, spectral
from zoptim.plans.line import search, vertex
from zoptim.plans.newton import Pairs
from zoptim.plans.questions import central, forward
from zoptim.plans.separable import Nodes

FREE = (np.full(3, -np.inf), np.full(3, np.inf))


class Told:
    """Answers a plan's questions, follows its moves."""

    def __init__(self, f, x, most=10_000):
        self.f, self.x, self.most = f, np.array(x, np.float64), most
        self.asked, self.moves = [], []

    def run(self, plan):
        """What the plan returns; None when `most` evaluations are spent."""
        answer = None
        while True:
            try:
                said = plan.send(answer)
            except StopIteration as stop:
                return stop.value
            if isinstance(said, Move):
                self.x, answer = self.x + said.offset, None
                self.moves.append(said)
                continue
            points = []
            for sum_ in said:
                z = self.x.copy()
                for i, c in sum_:
                    z[i] += c
                points.append(z)
            self.asked += points
            if len(self.asked) > self.most:
                return None
            answer = np.array([self.f(z) for z in points])


def test_a_sweep_has_the_slopes_and_curvatures_of_a_parabola():
    x, a, b = np.array([0.5, -1.0, 2.0]), np.array([1.0, 3.0, 0.5]), np.array([2.0, -1.0, 0.25])

    def f(z):
        return float((a * z + b * z**2).sum())

    told = Told(f, x)
    found = told.run(central(x, f(x), np.full(3, 0.5), FREE))
    np.testing.assert_allclose(found.slope, a + 2 * b * x, rtol=1e-12)
    np.testing.assert_allclose(found.curvature, 2 * b, rtol=1e-12)
    assert len(told.asked) == 6
    at_bound = told.run(central(x, f(x), np.full(3, 0.5), (x, x + 9.0)))  # only upwards
    np.testing.assert_allclose(at_bound.slope, a + 2 * b * x, rtol=1e-12)
    np.testing.assert_allclose(at_bound.curvature, 2 * b, rtol=1e-12)
    assert all((z >= x).all() for z in told.asked[6:])


def test_forward_differences_turn_back_at_the_upper_bound():
    x = np.array([1.0, 2.0, 3.0])
    told = Told(lambda z: float((z**2).sum()), x)
    g = told.run(forward(x, 14.0, np.full(3, 1e-7), (x - 9.0, x)))
    np.testing.assert_allclose(g, 2 * x, rtol=1e-6)
    assert all((z <= x).all() for z in told.asked)


def test_a_vertex_and_none_where_it_opens_downwards():
    assert vertex([(0.0, 4.0), (1.0, 1.0), (5.0, 9.0)]) == pytest.approx(2.0)
    assert vertex([(0.0, 0.0), (1.0, 1.0), (2.0, 0.0)]) is None


@pytest.mark.parametrize("curvature", [1e-3, 1.0, 1e3])
def test_a_line_search_finds_a_parabola_s_vertex_from_a_bad_first_length(curvature):
    told = Told(lambda z: 0.5 * curvature * float(((z - 1.0) ** 2).sum()), np.zeros(3))
    f0, p = 1.5 * curvature, np.ones(3)
    x, value, t = told.run(search(np.zeros(3), f0, p, -3.0 * curvature, np.asarray, 0.003))
    assert t == pytest.approx(1.0, rel=0.2) and value < 0.05 * f0 and len(told.asked) <= 12
    np.testing.assert_allclose(x, t * p)


def test_a_line_search_that_only_climbs_stays():
    told = Told(lambda z: float(z.sum()), np.zeros(3))
    x, value, t = told.run(search(np.zeros(3), 0.0, np.ones(3), -1.0, np.asarray))
    assert (t, value) == (0.0, 0.0) and not x.any() and len(told.asked) == 12


def test_pairs_of_a_quadratic_invert_its_hessian():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((4, 4))
    hessian = a @ a.T + np.eye(4)
    pairs = Pairs()
    way = np.eye(4)
    for s in np.linalg.eigh(hessian)[1].T:  # conjugate steps: then the inverse is exact
        pairs.add(s, hessian @ s)
    for g in way:
        np.testing.assert_allclose(pairs.solve(g, 1.0), np.linalg.solve(hessian, g), rtol=1e-9)
    pairs.add(np.ones(4), -np.ones(4))  # curved downwards: says nothing
    assert len(pairs.s) == 4
    pairs.add(np.ones(4), 1e-3 * np.ones(4), unsure=1.0)  # drowned in noise
    assert len(pairs.s) == 4


def test_a_new_node_is_relative_to_where_one_stands():
    nodes = Nodes(np.array([[-1.0, 0.0, 1.0]]), np.array([[1.0, 0.0, 1.0]]))
    nodes.add(np.array([1.0]), np.array([0.5]), np.array([-0.75]))  # f(0.5) - f(1)
    np.testing.assert_array_equal(nodes.at, [[-1.0, 0.0, 0.5, 1.0]])
    np.testing.assert_array_equal(nodes.values, [[1.0, 0.0, 0.25, 1.0]])
    assert nodes.refine()[0] == pytest.approx(-0.01)  # the vertex is a node: beside it


def run(f, x, box=None, budget=None, most=3000):
    x = np.asarray(x, np.float64)
    low, high = box or (-np.inf, np.inf)
    told = Told(f, x, most)
    why = told.run(descent(x, Settings(np.full(x.size, low), np.full(x.size, high), 7, budget)))
    return told, why


def rosenbrock(x):
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


def test_a_smooth_function_without_a_box_ends_at_its_minimum():
    told, why = run(rosenbrock, [-1.2, 1.0, -1.2, 1.0])
    assert rosenbrock(told.x) < 1e-8 and why == "no lower value is found around"
    assert len(told.asked) < 1000


def test_units_follow_the_box_and_the_start():
    told, _ = run(lambda x: float((((x - 3e4) / 1e4) ** 2).sum()), np.full(4, 1e4))
    assert np.abs(told.x / 3e4 - 1).max() < 1e-6


def test_a_separable_function_is_searched_number_by_number():
    def ripples(x):
        return float((x**2 + 3 * (1 - np.cos(6 * x))).sum())

    told, why = run(ripples, np.full(10, 3.3), (-5.0, 5.0), budget=400, most=400)
    best = min(map(ripples, told.asked))
    assert (
        best < 1e-2 and why == "each number was searched on its own"
    )  # of 250 local minima a number, the best
    other, _ = run(
        lambda x: ripples(x) + 10 * x[0] * x[1], np.full(10, 3.3), (-5.0, 5.0), budget=400, most=400
    )
    assert len(other.moves) != len(told.moves)  # a coupled one is not


def test_no_point_outside_the_box_and_again_from_elsewhere():
    def f(x):
        return float((x + 7.0) @ (x + 7.0)) + x[0] * x[1]

    told, why = run(f, np.full(3, 4.9), (-5.0, 5.0), most=500)
    assert why is None  # it goes on for as long as it is answered
    assert all((np.abs(z) <= 5.0).all() for z in told.asked)
    np.testing.assert_allclose(min(told.asked, key=f), [-14 / 3, -14 / 3, -5.0], rtol=1e-6)


def test_a_number_held_fast_by_its_bounds_stays():
    low, high = np.array([-5.0, 2.0]), np.array([5.0, 2.0])
    told = Told(lambda x: float(((x - 1.0) ** 2).sum()), [3.0, 2.0], 200)
    told.run(descent(told.x, Settings(low, high, 7, None)))
    best = min(told.asked, key=lambda x: abs(x[0] - 1.0))
    assert abs(best[0] - 1.0) < 1e-6


def test_a_flat_function_says_so():
    told, why = run(lambda x: 3.0, np.zeros(4))
    assert "are the same" in why and len(told.asked) < 12 and not told.moves


@pytest.mark.parametrize("width", [1.0, 2.0])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_a_function_of_steps_is_looked_across(d, width):
    told, why = run(
        lambda x: float(np.floor(np.abs(x - 50.3) / width).sum()), np.full(d, 0.4), most=100 * d + 200
    )
    assert np.abs(told.x - 50.3).max() < width and why == "no lower value is found around"


def test_down_steps_without_end_it_goes_on():
    told, why = run(lambda x: float(np.floor(x[0])), [0.5], most=500)
    assert why is None and told.x[0] < -1e6


def test_where_nothing_lower_is_far_away_a_step_stays_where_it_is():
    told, why = run(lambda x: float(np.floor(np.abs(x)).sum()), np.full(2, 0.5))
    assert "are the same" in why and not told.moves and len(told.asked) < 30


def test_projected_steps_end_at_the_nearest_point_of_a_set():
    a = np.array([3.0, 1.0, -0.5, 0.2])

    def simplex(x):
        u = np.sort(x)[::-1]
        k = int(np.flatnonzero(u + (1 - np.cumsum(u)) / np.arange(1, 5) > 0)[-1]) + 1
        return np.maximum(x + (1 - u[:k].sum()) / k, 0)

    curved = np.array([1.0, 10.0, 100.0, 1000.0])
    told = Told(lambda x: float((curved * (simplex(x) - a) ** 2).sum()), np.full(4, 0.25))
    why = told.run(spectral(told.x, Land(lambda y, a: simplex(y), lambda x: 0.0), 7))
    # KKT: curved (x - a) + mu = 0 where x > 0, at mu with sum x = 1
    mu = 2.0
    for _ in range(100):
        x = np.maximum(a - mu / curved, 0)
        mu += 0.5 * (x.sum() - 1)
    np.testing.assert_allclose(told.x, x, atol=1e-4)  # forward differences at a condition of 1000
    assert "no lower value" in why and len(told.asked) < 300
    assert abs(told.x.sum() - 1) < 1e-12


def test_noise_is_seen_and_averaged_away():
    rng = np.random.default_rng(3)

    def f(x):
        return float(((x - 1.0) ** 2).sum()) + 0.1 * rng.standard_normal()

    told, _ = run(f, np.zeros(10), most=2200)
    assert 0.03 < told.moves[-1].sigma < 0.3
    left = float(((told.x - 1.0) ** 2).sum())
    assert left < 0.05  # of 10; half of the noise of one value
    assert run(lambda x: float(x @ x), np.ones(3))[0].moves[-1].sigma == 0.0

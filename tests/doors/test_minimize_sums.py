"""Finite sums and bounds: both points of a pair see the same components, every component counts, no point lies outside."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from zoptim import Search, minimize, sets
from zoptim.doors.account import Account, Components
from zoptim.noise import permutation
from zoptim.protocols import BATCH, Items, Point, many, own

N, D = 12, 4
ROWS = np.cos(np.arange(N * D, dtype=float)).reshape(N, D)
Y = ROWS @ np.arange(1.0, D + 1.0)
START = np.zeros(D)


class Sum:
    """Least squares over rows, and which points were asked on which of them."""

    def __init__(self, averaged=False):
        self.asked, self.averaged = [], averaged

    def __call__(self, x, i):
        self.asked.append((x.copy(), i.copy()))
        values = (ROWS[i] @ x - Y[i]) ** 2
        return float(values.mean()) if self.averaged else values


def whole(x):
    return float(((ROWS @ x - Y) ** 2).mean())


@pytest.mark.parametrize("batch", [1, 3, 5, 12, 50])
@pytest.mark.parametrize("method", ["mezo", "fzoo", "zo_conservative", "mezo_svrg"])
def test_a_sum_goes_down_and_every_component_counts(method, batch):
    fun = Sum()
    found = minimize(fun, START, method=method, n=N, batch=batch, budget=12000)
    assert found.nfev == sum(len(i) for _, i in fun.asked) == found.trace.queries[-1] <= 12000
    assert found.fun == pytest.approx(whole(found.x), rel=1e-12)
    assert len(fun.asked[-1][1]) == N  # the value is that of all components, counted
    assert found.fun < 0.3 * whole(START)


@pytest.mark.parametrize("method", ["fd_newton", "fd_spectral"])
def test_plans_ask_on_all_components_or_not_at_all(method):
    fun = Sum()
    with pytest.raises(ValueError, match=f"batch=3: {method} compares .* give batch={N}, all of them, or"):
        minimize(fun, START, method=method, n=N, batch=3, budget=12000)
    assert not fun.asked
    found = minimize(fun, START, method=method, n=N, batch=N, budget=12000)
    least = np.linalg.lstsq(ROWS, Y, rcond=None)[0]
    assert whole(found.x) == pytest.approx(whole(least), rel=1e-6)


@pytest.mark.parametrize("budget", [*range(20, 60, 3), 500, 501, 502, 503])
def test_a_budget_of_components_is_never_exceeded(budget):
    fun = Sum()
    try:
        found = minimize(fun, START, method="mezo_svrg", n=N, batch=2, budget=budget)
    except ValueError as error:
        assert "too small" in str(error) and not fun.asked
        return
    assert sum(len(i) for _, i in fun.asked) == found.nfev <= budget


@pytest.mark.parametrize("method", ["mezo", "fzoo", "grzo"])
def test_the_points_of_a_step_see_the_same_components(method):
    search = Search(START, method, n=N, batch=3, settings={"lr": 1e-3, "n": 3 if method == "grzo" else 2})
    seen = []
    for _ in range(30):
        x, i = search.ask(), search.components
        search.tell([float(((ROWS[on] @ p - Y[on]) ** 2).mean()) for p, on in zip(x, i, strict=True)])
        if method == "grzo":  # pairs on examples of their own
            assert [len(on) for on in i] == [1] * 6
            assert all(i[k] == i[k + 1] for k in (0, 2, 4))
        else:
            assert all((on == i[0]).all() for on in i)
        seen += [np.unique(np.concatenate(i))]
    epoch = np.concatenate(seen[:4])
    assert sorted(epoch) == list(range(N))  # an epoch repeats none
    assert not np.array_equal(np.concatenate(seen[4:8]), epoch)


def test_means_and_single_values_are_the_same_search():
    runs = [
        minimize(Sum(averaged), START, method="mezo", n=N, batch=3, budget=900) for averaged in (False, True)
    ]
    np.testing.assert_allclose(runs[0].x, runs[1].x, rtol=1e-9)


def test_a_vectorized_sum_is_asked_for_all_points_at_once():
    calls = []

    def together(x, i):
        calls.append(len(x))
        return ((x @ ROWS[i].T - Y[i]) ** 2).mean(axis=1)

    one = minimize(Sum(), START, method="fzoo", n=N, batch=3, budget=900)
    many_ = minimize(together, START, method="fzoo", n=N, batch=3, budget=900, vectorized=True)
    np.testing.assert_allclose(one.x, many_.x, rtol=1e-4)  # sums of another order, over eps
    assert max(calls) == 9


def test_a_saved_sum_goes_on():
    searches = [Search(START, "mezo_svrg", n=N, batch=2, budget=800)]

    def drive(search, questions):
        while not search.done and questions:
            x, on = search.ask(), search.components
            search.tell([float(((ROWS[i] @ p - Y[i]) ** 2).mean()) for p, i in zip(x, on, strict=True)])
            questions -= 1

    drive(searches[0], 17)
    searches.append(Search.from_state(json.loads(json.dumps(searches[0].state()))))
    for search in searches:
        drive(search, 10**6)
    left, right = (search.result() for search in searches)
    np.testing.assert_array_equal(left.x, right.x)
    assert left.nfev == right.nfev


def test_components_are_a_function_of_key_and_step():
    c = Components(7, 10, 3)
    assert len(set(np.concatenate([c(t, BATCH) for t in range(3)]))) == 9  # the tenth waits for another epoch
    np.testing.assert_array_equal(c(4, BATCH), Components(7, 10, 3)(4, BATCH))
    assert not np.array_equal(c(0, BATCH), Components(8, 10, 3)(0, BATCH))
    assert len(set(c(1, many(2)))) == 6 and list(c(1, many(4))) == list(range(10))
    assert list(c(1, own(2))) == [c(1, BATCH)[2]]
    with pytest.raises(ValueError, match="larger batch"):
        c(1, own(3))
    for items in (BATCH, many(2), many(9), own(1), Items(3)):
        assert len(c(5, items)) == c.cost(items)
    assert Account(100, c).cost([Point(()), Point((), many(2)), Point((), own(0))]) == 10


def test_a_sum_of_very_many_components_takes_no_memory_of_them():
    n = 10**9
    c = Components(7, n, 8)
    seen = np.concatenate([c(t, BATCH) for t in range(500)])
    assert len(np.unique(seen)) == 4000 and seen.min() >= 0 and seen.max() < n
    np.testing.assert_array_equal(c(4, BATCH), Components(7, n, 8)(4, BATCH))
    assert len(np.unique(c(1, many(40)))) == 320

    def fun(x, i):  # component i is a bowl around a place of its own; the mean is known
        return ((x - 1.0 - np.cos(i)[:, None]) ** 2).sum(axis=1)

    tracemalloc.start()
    found = minimize(fun, START, method="mezo", n=n, batch=8, budget=20_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6
    assert np.abs(found.x - 1.0).max() < 0.3
    with pytest.raises(ValueError, match="too small for one step"):
        minimize(fun, START, method="zpdvr", n=n, batch=8, budget=20_000)


def test_fewer_components_keep_their_order():
    np.testing.assert_array_equal(Components(7, 12, 3)(5, BATCH), permutation(7, 1, 12)[3:6])
    np.testing.assert_array_equal(Components(7, 12, 3)(5, many(2)), permutation(7, (1 << 31) + 5, 12)[:6])


def test_a_method_of_single_components_is_told_their_number_and_refuses_what_is_none():
    fun = Sum()
    found = minimize(fun, START, method="zivr", n=N, budget=12000)
    assert found.journal.header["method"]["arguments"]["components"] == N
    assert all(len(i) == 1 for _, i in fun.asked[:-1] if len(i) != 4)
    assert found.nfev == sum(len(i) for _, i in fun.asked) <= 12000
    assert found.fun < 0.05 * whole(START)
    for said, given in (("leave it out", {"n": N, "batch": 2}), ("is for finite sums: give n", {})):
        with pytest.raises(ValueError, match=said):
            minimize(fun, START, method="zivr", budget=500, **given)
    with pytest.raises(ValueError, match="give n, their number"):
        minimize(fun, START, method="zivr", budget=500, settings={"components": 3})
    for settings in ({"components": 500}, {"components": N - 1}, {"d": START.size - 1}):
        with pytest.raises(ValueError, match=f"for {START.size} numbers and n={N} components; leave both"):
            minimize(fun, START, method="zivr", n=N, budget=5000, settings={**settings, "lr": 1e-3})


def test_a_table_too_large_is_refused_before_anything_is_asked_and_the_remedy_works():
    asked = []
    with pytest.raises(ValueError, match=r"takes 80 GB, more than 4.3; use zpdvr, which keeps three vectors"):
        minimize(
            lambda x, i: asked.append(i) or 0.0, np.zeros(10_000), method="zivr", n=1_000_000, budget=10**7
        )
    assert not asked
    far = minimize(
        lambda x, i: float(x @ x),
        np.ones(10_000),
        method="zpdvr",
        n=1_000_000,
        budget=3_000_040,
        settings={"lr": 1e-5},
    )
    assert far.nfev <= 3_000_040 and far.nit > 1


# -- bounds --------------------------------------------------------------------------------------------


def outside(x, low, high):
    return (x < low).any() or (x > high).any()


@pytest.mark.parametrize("method", ["mezo", "fzoo", "zo_adamm", "openai_es", "zo_conservative"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_point_lies_outside_and_the_corner_is_found(method, dtype):
    low, high, asked = np.array([-1.0, 0.0, 0.25]), np.array([1.0, 0.5, 3.0]), []

    def fun(x):
        asked.append(x.copy())
        return float(((x - np.array([2.0, -1.0, 1.0])) ** 2).sum())

    x0 = np.array([0.0, 0.2, 2.0], dtype)
    found = minimize(fun, x0, method=method, budget=1500, bounds=np.stack([low, high], 1))
    assert not outside(np.array(asked), low.astype(dtype), high.astype(dtype))
    assert not outside(found.x, low, high)
    np.testing.assert_allclose(found.x, [1.0, 0.0, 1.0], atol=0.2 if method == "openai_es" else 0.1)


@pytest.mark.parametrize(
    "bounds",
    [
        (0.0, 2.0),
        [(0.0, 2.0)] * 4,
        np.array([[0.0, 2.0]] * 4),
        [[0.0, 2.0]],
        ((0.0, 2.0), (0.0, 2.0), (0, 2), [0, 2]),
    ],
)
def test_bounds_in_every_spelling(bounds):
    same = minimize(
        lambda x: float((x**2).sum()), np.ones((2, 2)), method="mezo", budget=60, bounds=(0.0, 2.0)
    )
    found = minimize(lambda x: float((x**2).sum()), np.ones((2, 2)), method="mezo", budget=60, bounds=bounds)
    np.testing.assert_array_equal(same.x, found.x)


def test_bounds_of_scipy_and_missing_ones():
    bounds = pytest.importorskip("scipy.optimize").Bounds([0.0, -np.inf], [np.inf, 0.5])
    asked = []

    def fun(x):
        asked.append(x.copy())
        return float(x[0] - x[1])

    found = minimize(fun, [1.0, 0.0], method="mezo", budget=300, bounds=bounds, settings={"lr": 0.1})
    other = minimize(
        fun, [1.0, 0.0], method="mezo", budget=300, bounds=[(0.0, None), (None, 0.5)], settings={"lr": 0.1}
    )
    np.testing.assert_array_equal(found.x, other.x)
    np.testing.assert_allclose(found.x, [0.0, 0.5], atol=1e-3)
    assert np.min([x[0] for x in asked]) >= 0.0 and np.max([x[1] for x in asked]) <= 0.5


def test_a_variable_that_is_fixed_stays():
    found = minimize(
        lambda x: float((x**2).sum()), [1.0, 3.0], method="mezo", budget=200, bounds=[(-2, 2), (3, 3)]
    )
    assert found.x[1] == 3.0 and abs(found.x[0]) < 0.05


def test_a_bounded_search_is_saved_with_its_bounds():
    fun = lambda x: float(((x - 3.0) ** 2).sum())  # noqa: E731
    one = Search([0.5, 0.5], "mezo", bounds=(0.0, 1.0), budget=90)
    for _ in range(15):
        one.tell([fun(x) for x in one.ask()])
    two = Search.from_state(json.loads(json.dumps(one.state())))
    for search in (one, two):
        while not search.done:
            search.tell([fun(x) for x in search.ask()])
    np.testing.assert_array_equal(one.result().x, two.result().x)


@pytest.mark.parametrize("method", ["zpdvr", "zo_svrg", "zo_spider_coord", "zsfw_dvr"])
def test_the_horizon_counts_a_refresh_as_the_sum_and_no_more(method):
    ball = {"constraints": sets.L2Ball(9.0)} if method == "zsfw_dvr" else {}
    found = minimize(Sum(), START, method=method, n=N, batch=2, budget=4000, settings={"lr": 1e-3}, **ball)
    assert 0.5 < found.journal.header["horizon"] / found.nit < 2.0
    assert found.journal.records[found.nit // 2].lr > 0.0


@pytest.mark.parametrize("answer", [np.ones(3), np.ones((2, 1)), []])
def test_answers_that_are_not_one_a_component_are_refused(answer):
    with pytest.raises(ValueError, match=r"for \d components: return their mean, or"):
        minimize(lambda x, i: answer, np.zeros(2), n=8, batch=2, budget=100)


HELD = ["zo_storm", "zo_svrg_coord_rand", "mezo_svrg"]


@pytest.mark.parametrize(
    ("method", "spread"),
    [*((m, s) for m in ("auto", "mezo", "zo_sgd", "zo_momentum") for s in ("normal", "heavy")), *((m, "normal") for m in HELD)],
)  # fmt: skip
def test_a_step_size_suits_all_components_not_the_few_it_was_tried_on(method, spread):
    rng = np.random.default_rng(0)
    a = rng.normal(size=(100, 5)) if spread == "normal" else rng.standard_t(3, size=(100, 5))
    b = a @ np.ones(5)
    for seed in range(6):
        found = minimize(
            lambda x, i: (a[i] @ x - b[i]) ** 2, np.zeros(5), method=method, n=100, budget=20_000, seed=seed
        )
        assert found.success and found.fun < 0.5 * (b**2).mean()


def test_a_sum_that_diverged_is_no_success():
    found = minimize(
        lambda x, i: ((x - i[0]) ** 2).sum(),
        np.zeros(3),
        method="mezo",
        n=10,
        budget=400,
        settings={"lr": 1.2},
    )
    assert not found.success and "it has diverged at lr=1.2" in found.message

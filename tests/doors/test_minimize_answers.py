"""What a function may answer, who may ask it, and every wrong input of the issue, by name."""

from __future__ import annotations

import concurrent.futures
import os

import numpy as np
import pytest

import zoptim
from zoptim import minimize

X0 = [2.0, -1.0, 0.5]


def bowl(x):
    return float(x @ x)


def where(x):
    """The process that asks, as a value."""
    return float(x @ x) + 1e-12 * os.getpid()


def failing(x):
    if x[0] < 1.0:
        raise ArithmeticError("no value here")
    return float(x @ x)


@pytest.mark.parametrize(
    "kind", [float, np.float32, np.float64, np.array, lambda v: np.array([v]), lambda v: np.array([[v]])]
)
def test_one_number_in_any_wrapping(kind):
    assert minimize(lambda x: kind(bowl(x)), X0, method="mezo", budget=100).fun < bowl(np.array(X0))


@pytest.mark.parametrize("method", ["mezo", "fzoo", "zo_conservative"])
@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_a_vectorized_function_gives_the_same_search(method, shape):
    x0 = np.linspace(-1.0, 1.0, 6).reshape(shape)
    sizes = []

    def together(x):
        sizes.append(x.shape)
        return np.array([((p - 1.0) ** 2).sum() for p in x])

    one = minimize(lambda x: ((x - 1.0) ** 2).sum(), x0, method=method, budget=120)
    many = minimize(together, x0, method=method, budget=120, vectorized=True)
    np.testing.assert_array_equal(one.x, many.x)
    assert one.nfev == many.nfev == sum(size[0] for size in sizes) and len(sizes) < one.nfev
    assert {size[1:] for size in sizes} == {shape}


def test_a_map_an_executor_and_processes_give_the_same_search():
    alone = minimize(bowl, X0, method="fzoo", budget=100)
    maps = []

    def mapped(f, jobs):
        maps.append(len(jobs))
        return map(f, jobs)

    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        for workers in (mapped, threads, threads.map, 2):
            found = minimize(bowl, X0, method="fzoo", budget=100, workers=workers)
            np.testing.assert_array_equal(found.trace.values, alone.trace.values)
    assert max(maps) == 9
    found = minimize(where, X0, method="fzoo", budget=60, workers=2, settings={"lr": 1e-3})
    pids = np.round(
        (
            found.trace.values
            - minimize(bowl, X0, method="fzoo", budget=60, settings={"lr": 1e-3}).trace.values
        )
        * 1e12
    )
    assert len(set(pids)) > 1 and os.getpid() not in pids[:-1]


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        ("0.5", TypeError, "'0.5' \\(str\\)"),
        (None, TypeError, "returned None"),
        (1 + 2j, TypeError, "complex"),
        ([1.0, 2.0], ValueError, "shape \\(2,\\)"),
        ([[1.0], [2.0, 3.0]], TypeError, "return one number"),
        ({"loss": 1.0}, TypeError, "return one number"),
        (np.nan, ValueError, "nan at evaluation 1"),
        (-np.inf, ValueError, "-inf at evaluation 1"),
    ],
)
@pytest.mark.parametrize("failures", ["raise", "skip", "penalize"])
def test_what_is_no_number_is_refused(answer, error, says, failures):
    if error is ValueError and "evaluation" in says and failures != "raise":
        assert not minimize(lambda x: answer, X0, method="mezo", budget=50, failures=failures).success
        return
    with pytest.raises(error, match=says):
        minimize(lambda x: answer, X0, method="mezo", budget=50, failures=failures)


@pytest.mark.parametrize("answer", [1.0, np.ones(5), np.ones((2, 2)), ["a", "b"], np.array([1.0, 2j])])
def test_a_vectorized_function_answers_once_a_point(answer):
    with pytest.raises((ValueError, TypeError), match="one number|real number"):
        minimize(lambda x: answer, X0, method="mezo", budget=50, vectorized=True)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("vectorized", [False, True])
def test_a_function_that_raises(vectorized, workers):
    if vectorized and workers > 1:
        return
    fun = (lambda x: np.array([failing(p) for p in x])) if vectorized else failing
    how = {"vectorized": vectorized, "workers": workers, "budget": 300, "method": "mezo"}
    with pytest.raises(ArithmeticError, match="no value here") as caught:
        minimize(fun, [2.0, 1.0], **how)
    if workers == 1:
        assert "failures='skip'" in caught.value.__notes__[0]
    for failures in ("skip", "penalize"):
        found = minimize(fun, [2.0, 1.0], failures=failures, **how)
        assert found.success and found.x[0] >= 1.0 and found.fun < 5.0
        assert np.isnan(found.trace.values).any() and found.nfev == len(found.trace) <= 300
    kinds = {r.kind for r in minimize(fun, [2.0, 1.0], failures="skip", **how).journal.records}
    assert kinds == {"move", "skip"}


@pytest.mark.parametrize(
    ("x0", "error", "says"),
    [
        ([], ValueError, "empty"),
        (["a"], TypeError, "real numbers"),
        ([1j], TypeError, "real numbers"),
        ([None], TypeError, "real numbers"),
        ([True], TypeError, "real numbers"),
        ([[1.0], [1.0, 2.0]], ValueError, "x0"),
        ([1.0, np.nan], ValueError, "x0\\[1\\]=nan"),
        ([1.0, np.inf], ValueError, "not finite"),
    ],
)
def test_a_start_that_is_none(x0, error, says):
    with pytest.raises(error, match=says):
        minimize(bowl, x0, method="mezo")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"bounds": [(1.0, 0.0)] * 3}, "bounds\\[0\\]=\\(1, 0\\)"),
        ({"bounds": (1.0, 0.0)}, "leaves nothing between"),
        ({"bounds": [(0.0, 1.0)] * 2}, "2 pairs for the 3 numbers"),
        ({"bounds": [(0.0, 1.0, 2.0)] * 3}, "give pairs"),
        ({"bounds": 3}, "give pairs"),
        ({"bounds": [("a", "b")] * 3}, "give pairs"),
        ({"bounds": [(np.nan, 1.0)] * 3}, "leaves nothing"),
        ({"bounds": (-1.0, 1.0)}, "x0\\[0\\]=2 lies outside its bounds \\(-1, 1\\)"),
        ({"budget": 1}, "too small for one step"),
        ({"budget": 0}, "budget=0"),
        ({"budget": 10.5}, "budget=10.5"),
        ({"budget": True}, "budget=True"),
        ({"failures": "ignore"}, "failures='ignore'"),
        ({"output": "mean"}, "output='mean'"),
        ({"method": "mezzo"}, "did you mean 'mezo'"),
        ({"method": zoptim.mezo(), "settings": {"lr": 1.0}}, "settings="),
        ({"settings": {"lrr": 1.0}}, "did you mean 'lr'"),
        ({"settings": {"lr": -1.0}}, "lr=-1.0"),
        ({"settings": {"lr": "fast"}}, "settings={'lr': 'fast'}: give a positive number, or 'auto'"),
        ({"settings": {"eps": "Auto"}}, "settings={'eps': 'Auto'}: give a positive number, or 'auto'"),
        ({"seed": -1}, "seed=-1"),
        ({"workers": 0}, "workers=0"),
        ({"workers": 2, "vectorized": True}, "leave workers at 1"),
        ({"n": -1}, "n=-1"),
        ({"n": 10, "batch": 0}, "batch=0"),
        ({"n": 10, "output": "best"}, "do not compare"),
        ({"target": np.nan}, "target=nan"),
        ({"tol": -1.0}, "tol=-1.0"),
        ({"method": "forward_gradient"}, "exact slopes"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_named_before_anything_is_asked(wrong, says):
    calls = []
    with pytest.raises(ValueError, match=says):
        minimize(lambda *a: calls.append(a), X0, **{"method": "mezo", "budget": 100, **wrong})
    assert not calls


def test_a_wrong_function_or_method():
    with pytest.raises(TypeError, match="fun="):
        minimize(3.0, X0)
    with pytest.raises(TypeError, match="method=3"):
        minimize(bowl, X0, method=3)


def test_a_flat_function_is_told_of():
    steps = lambda x: float(np.floor(np.abs(x)).sum())  # noqa: E731
    found = minimize(steps, [5.5, -4.5], method="mezo", budget=200)
    assert found.fun == 9.0 and "all tie" in found.message and "larger radius" in found.message
    rough = minimize(steps, [5.5, -4.5], method="openai_es", budget=400, settings={"eps": 1.0, "lr": 1.0})
    assert rough.fun < 5.0 and "tie" not in rough.message


def test_what_diverged_says_at_which_step_size():
    found = minimize(bowl, X0, method="mezo", budget=400, settings={"lr": 1e30})
    assert "diverged at lr=1e+30: try a smaller settings={'lr'" in found.message


def test_tol_ends_a_search_that_is_over():
    found = minimize(bowl, X0, method="mezo", budget=10**5, tol=1e-8)
    assert (
        found.status == 0
        and found.success
        and found.nfev < 10**4
        and found.fun < 1e-6
        and "tol" in found.message
    )


@pytest.mark.parametrize("method", ["mezo", "auto"])
@pytest.mark.parametrize("d", [3, 1 << 16])
def test_a_function_may_not_change_what_is_returned(method, d):
    def rude(x):
        x -= 1.0
        return float(x @ x)

    if d == 3:
        found = minimize(rude, np.zeros(d), method=method, budget=100)
        assert found.fun == float(((found.x - 1.0) ** 2).sum()) < 1.0
    else:
        with pytest.raises(ValueError, match="read-only"):
            minimize(rude, np.zeros(d), method="mezo", budget=20)


def test_points_stay_those_asked_whatever_is_done_to_them():
    search = zoptim.Search([1.0, 2.0], "mezo", budget=50)
    asked = search.ask()
    kept = asked.copy()
    asked[:] = 0.0
    np.testing.assert_array_equal(search.ask(), kept)


@pytest.mark.parametrize("given", [3.0, (3.0,), np.float64(3.0)])
def test_one_further_argument_needs_no_tuple(given):
    found = minimize(lambda x, a: float(((x - a) ** 2).sum()), X0, given, budget=200)
    np.testing.assert_allclose(found.x, 3.0, atol=1e-5)


@pytest.mark.parametrize("seed", [None, 1.5, "a"])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(TypeError, match="seed=.* must be a whole number"):
        minimize(bowl, X0, seed=seed)


def test_numpys_seeds_are_seeds():
    ours, theirs = (minimize(bowl, X0, method="mezo", budget=40, seed=s) for s in (3, np.int64(3)))
    np.testing.assert_array_equal(ours.x, theirs.x)


@pytest.mark.parametrize("budget", [1, 2, 3, 4])
def test_the_budget_that_is_asked_for_is_enough(budget):
    with pytest.raises(ValueError, match="needs 5 evaluations"):
        minimize(bowl, X0, method="mezo", budget=budget)
    assert minimize(bowl, X0, method="mezo", budget=5).nit == 1


def test_settings_that_are_no_mapping():
    with pytest.raises(TypeError, match="settings='lr': give a dict"):
        minimize(bowl, X0, method="mezo", settings="lr")


def test_where_everything_fails_nothing_else_is_said():
    found = minimize(lambda x: np.nan, X0, failures="skip", budget=100)
    assert not found.success and "every evaluation failed" in found.message
    assert "values around the start" not in found.message


def test_numbers_too_large_to_be_reckoned_with():
    with pytest.raises(ValueError, match="x0: 1e.300 in it is too large"):
        minimize(bowl, [1e300, 0.0])
    with pytest.raises(ValueError, match=r"bounds\[0\]=.* too far apart for float64"):
        minimize(bowl, X0, bounds=(-1e308, 1e308))


def test_a_method_that_needs_a_set_says_where_it_is_given():
    with pytest.raises(ValueError, match="method='zscg' moves within a set: .* constraints="):
        minimize(bowl, X0, method="zscg")


def test_a_callback_that_is_none_is_refused_before_anything_is_asked():
    with pytest.raises(TypeError, match="callback=3: give a function"):
        minimize(lambda x: 1 / 0, X0, callback=3)

"""`zoptim.minimize`: it finds minima, counts every evaluation, never exceeds a budget, and keeps the trace."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import zoptim
from zoptim.journal import Journal

NAMED = ("mezo", "zo_sgd", "fzoo", "openai_es", "zo_conservative", "auto")
CURVED = np.linspace(1.0, 10.0, 6)


class Counted:
    """A function, and how often it was asked."""

    def __init__(self, fun) -> None:
        self.fun, self.calls, self.asked = fun, 0, []

    def __call__(self, x, *args):
        self.calls += 1
        self.asked.append(np.array(x))
        return self.fun(x, *args)


def bowl(x):
    return float((CURVED * (x - 1.0) ** 2).sum())


@pytest.mark.parametrize("method", NAMED)
def test_it_goes_down_and_counts(method):
    fun = Counted(bowl)
    found = zoptim.minimize(fun, np.zeros(6), method=method, budget=600)
    assert found.fun < 0.02 * bowl(np.zeros(6))
    assert found.nfev == fun.calls == len(found.trace) <= 600
    assert found.fun == bowl(found.x) == min(found.trace.values) == found.trace.best[-1]
    assert found.success and found.nit == len(found.journal.records)
    assert (found.status, found.nit > 10) == (
        (0, False) if method == "auto" else (1, True)
    )  # a bowl is soon done
    np.testing.assert_array_equal(found.trace.values, [bowl(x) for x in fun.asked])
    np.testing.assert_array_equal(found.trace.queries, 1 + np.arange(found.nfev))


def test_a_method_in_the_place_of_arguments_is_told_where_it_belongs():
    with pytest.raises(TypeError, match="name a method as method='mezo'"):
        zoptim.minimize(bowl, np.zeros(6), "mezo")


@pytest.mark.parametrize("budget", [*range(5, 40), 100, 101, 102])
@pytest.mark.parametrize("method", ["mezo", "fzoo", "zo_conservative"])
def test_a_budget_is_never_exceeded(method, budget):
    fun = Counted(bowl)
    try:
        found = zoptim.minimize(fun, np.zeros(6), method=method, budget=budget)
    except ValueError as error:
        assert "too small for one step" in str(error)
        assert fun.calls == 0 and budget < 20
        return
    assert fun.calls == found.nfev <= budget


def test_the_same_seed_asks_the_same_points():
    runs = [Counted(bowl) for _ in range(3)]
    for fun, seed in zip(runs, (0, 0, 1), strict=True):
        zoptim.minimize(fun, np.zeros(6), method="mezo", budget=50, seed=seed)
    np.testing.assert_array_equal(runs[0].asked, runs[1].asked)
    assert not np.array_equal(runs[0].asked, runs[2].asked)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_x_has_the_shape_and_dtype_of_the_start_which_stays(dtype):
    x0 = np.arange(6, dtype=dtype).reshape(2, 3)
    kept = x0.copy()
    fun = Counted(lambda x: float(((x - 1) ** 2).sum()))
    found = zoptim.minimize(fun, x0, method="mezo", budget=300)
    assert {(x.shape, x.dtype) for x in fun.asked} == {((2, 3), np.dtype(dtype))}
    assert (found.x.shape, found.x.dtype) == ((2, 3), dtype) and found.fun < 0.1
    np.testing.assert_array_equal(x0, kept)


def test_whole_numbers_are_floats_from_then_on():
    found = zoptim.minimize(lambda x: float(((x - 0.5) ** 2).sum()), [3, 4], method="mezo", budget=300)
    assert found.x.dtype == np.float64 and np.allclose(found.x, 0.5, atol=1e-2)


def test_further_arguments_reach_the_function():
    found = zoptim.minimize(lambda x, a, b: a * float(x @ x) + b, [1.0, 2.0], (2.0, 5.0), "mezo", budget=300)
    assert 5.0 <= found.fun < 5.01


def test_a_method_of_ones_own_is_taken_as_it_is():
    method = zoptim.mezo(lr=0.02, eps=1e-3, law="signs")
    found = zoptim.minimize(bowl, np.zeros(6), method=method, budget=400)
    assert found.nit == 199 and found.fun < 1e-3  # no evaluation but two a step, and the last
    assert found.journal.header["method"]["arguments"]["lr"] == 0.02


def test_a_journal_is_a_file_only_where_one_is_named(tmp_path):
    path = tmp_path / "run.zop"
    found = zoptim.minimize(bowl, np.zeros(6), method="mezo", budget=100, journal=path)
    found.journal.close()
    assert len(Journal.read(path).records) == found.nit
    assert zoptim.minimize(bowl, np.zeros(6), method="mezo", budget=100).journal.path is None


def test_a_journal_in_the_way_is_refused_before_anything_is_asked(tmp_path):
    path, fun = tmp_path / "run.zop", Counted(bowl)
    zoptim.minimize(bowl, np.zeros(6), method="mezo", budget=100, journal=path).journal.close()
    kept = path.read_bytes()
    for wrong, says in (
        (path, "run.zop' holds a search already: choose another path; .* Search.state"),
        (tmp_path, "give a new file"),
        (tmp_path / "none" / "run.zop", "give a new file in a folder"),
    ):
        with pytest.raises(ValueError, match=says):
            zoptim.minimize(fun, np.zeros(6), method="mezo", budget=100, journal=wrong)
    assert fun.calls == 0 and path.read_bytes() == kept
    (tmp_path / "empty.zop").touch()
    assert zoptim.minimize(fun, np.zeros(6), budget=100, journal=tmp_path / "empty.zop").nit > 0


def test_a_target_ends_the_search():
    found = zoptim.minimize(bowl, np.zeros(6), method="mezo", budget=5000, target=1e-2)
    assert found.fun <= 1e-2 and found.status == 0 and found.nfev < 2000 and "target" in found.message


def test_a_callback_sees_every_step_and_may_end_it():
    seen = []
    found = zoptim.minimize(
        bowl, np.zeros(6), method="mezo", budget=500, callback=lambda r: seen.append(r.nit)
    )
    assert seen == list(range(1, found.nit + 1))

    def enough(result):
        if result.nit == 7:
            raise StopIteration

    found = zoptim.minimize(bowl, np.zeros(6), method="mezo", budget=500, callback=enough)
    assert found.nit == 7 and found.status == 2
    assert (
        zoptim.minimize(bowl, np.zeros(6), method="mezo", budget=500, callback=lambda r: r.nit == 3).nit == 3
    )


def test_nothing_but_numpy_is_loaded():
    code = (
        "import zoptim, sys; zoptim.minimize(lambda x: float(x @ x), [1.0], method='mezo', budget=40);"
        "print([m for m in ('torch', 'scipy', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")

"""A shelf method inside `scipy.optimize.minimize`: the same search, heard options, SciPy's result."""

from __future__ import annotations

import numpy as np
import pytest

import zoptim

optimize = pytest.importorskip("scipy.optimize")
X0 = [1.0, -2.0]


def bowl(x, scale=1.0):
    return scale * float(x @ x)


def test_it_is_the_search_of_minimize():
    found = optimize.minimize(bowl, X0, args=(3.0,), method=zoptim.scipy("mezo", budget=150, seed=2))
    plain = zoptim.minimize(bowl, X0, (3.0,), "mezo", budget=150, seed=2)
    assert isinstance(found, optimize.OptimizeResult) and found.nfev == plain.nfev <= 150
    np.testing.assert_array_equal(found.x, plain.x)
    assert found.fun == plain.fun and found.success and len(found.trace) == found.nfev


def test_its_options_are_heard():
    assert optimize.minimize(bowl, X0, method=zoptim.scipy("mezo"), options={"maxfev": 60}).nfev == 60
    found = optimize.minimize(bowl, X0, method=zoptim.scipy("mezo", budget=10**5), tol=1e-6)
    assert found.status == 0 and found.nfev < 10**4
    bounded = optimize.minimize(
        bowl,
        [1.5, 2.0],
        method=zoptim.scipy("mezo", budget=400),
        bounds=optimize.Bounds([1.0, 0.5], [2.0, 3.0]),
    )
    np.testing.assert_allclose(bounded.x, [1.0, 0.5], atol=0.05)


def test_both_callbacks():
    seen = []
    optimize.minimize(
        bowl, X0, method=zoptim.scipy("mezo", budget=60), callback=lambda x: seen.append(x.copy())
    )
    assert seen and seen[0].shape == (2,)

    def enough(intermediate_result):
        assert intermediate_result.fun >= 0.0
        raise StopIteration

    found = optimize.minimize(bowl, X0, method=zoptim.scipy("mezo", budget=60), callback=enough)
    assert found.nit == 1 and found.status == 2


def test_constraints_are_heard():
    plane = {"type": "eq", "fun": lambda x: x.sum() - 1.0}
    found = optimize.minimize(bowl, X0, method=zoptim.scipy(budget=1500), constraints=plane)
    np.testing.assert_allclose(found.x, [0.5, 0.5], atol=1e-4)


def test_what_it_does_not_take():
    with pytest.warns(RuntimeWarning, match="gradient information"):
        optimize.minimize(bowl, X0, method=zoptim.scipy("mezo", budget=50), jac=lambda x: 2 * x)
    with pytest.raises(TypeError, match="maxcor"):
        optimize.minimize(bowl, X0, method=zoptim.scipy(), options={"maxcor": 3})


def test_options_of_other_methods_are_named():
    with pytest.raises(TypeError, match="options: maxiter, disp is not heard; give maxfev"):
        optimize.minimize(bowl, X0, method=zoptim.scipy(), options={"maxiter": 5, "disp": True})


def test_no_evaluations_are_too_few():
    with pytest.raises(ValueError, match="budget=0"):
        optimize.minimize(bowl, X0, method=zoptim.scipy(), options={"maxfev": 0})

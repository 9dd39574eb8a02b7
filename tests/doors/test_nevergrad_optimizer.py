"""An optimizer of nevergrad's: candidates are the search's points."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    ng = pytest.importorskip("nevergrad")
    from zoptim import NevergradOptimizer

pytestmark = pytest.mark.filterwarnings("ignore")


def bowl(x):
    return float(((x - 0.5) ** 2).sum())


@pytest.mark.parametrize("workers", [1, 3])
def test_it_finds_the_minimum(workers):
    optimizer = NevergradOptimizer()(parametrization=3, budget=80, num_workers=workers)
    assert np.abs(optimizer.minimize(bowl).value - 0.5).max() < 1e-5
    assert optimizer.num_ask == optimizer.num_tell == 80


def test_transformed_parameters_and_another_method():
    space = ng.p.Instrumentation(x=ng.p.Scalar(lower=-5, upper=5), y=ng.p.Log(lower=1e-4, upper=1e2))
    optimizer = NevergradOptimizer("mezo", seed=1)(parametrization=space, budget=200)
    found = optimizer.minimize(lambda x, y: (x - 1) ** 2 + np.log10(y) ** 2).kwargs
    assert (found["x"] - 1) ** 2 + np.log10(found["y"]) ** 2 < 0.1


def test_points_never_asked_count():
    optimizer = NevergradOptimizer()(parametrization=2, budget=30)
    optimizer.tell(optimizer.parametrization.spawn_child(new_value=np.full(2, 0.5)), 0.0)
    assert optimizer._desk.search.result().fun == 0.0

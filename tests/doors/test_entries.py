"""The step size of a table of single derivatives: second moments of Hessians, measured, against those of the problem."""

from __future__ import annotations

import numpy as np
import pytest

from zoptim import minimize
from zoptim.doors.entries import Bends

N, D = 120, 40
RNG = np.random.default_rng(4)
DENSE = RNG.normal(size=(N, D)) / D**0.5
SPARSE = np.where(
    RNG.random((N, D)) < 3 / D, RNG.normal(size=(N, D)), 0.0
)  # pairs of numbers that are both there are few
RIDGE = 1e-3


def found(fun, start, *, bounds=None, budget=8000):
    """The lr of a run."""
    r = minimize(fun, start, method="zivr", n=N, budget=budget, bounds=bounds)
    return r.journal.header["method"]["arguments"]["lr"]


@pytest.mark.parametrize("bounds", [None, (0.0, np.inf)])
@pytest.mark.parametrize("a", [DENSE, SPARSE], ids=["dense", "sparse"])
def test_it_is_a_third_over_the_second_moment_of_a_component(a, bounds):
    """f_i = <a_i, x>^2 / 2 + ridge |x|^2 / 2: H_i = a_i a_i' + ridge I; at a corner about half of each draw is cut off."""
    moments = [np.outer(row, row) + RIDGE * np.eye(D) for row in a]
    h, square = np.mean([np.trace(m) for m in moments]) / D, np.mean([(m**2).sum() for m in moments])
    lr = found(lambda x, i: 0.5 * float((a[i[0]] @ x) ** 2 + RIDGE * x @ x), np.zeros(D), bounds=bounds)
    assert 0.5 < lr / (h / (3 * square)) < 2


def test_bowls_bear_their_dimension_less():
    """H_i = c I: M = d."""
    assert 0.6 < found(lambda x, i: 1.5 * float(x @ x), np.ones(D)) * 3 * 3.0 * D < 1.6


def test_hills_and_hollows_alike_have_the_least_of_hollows():
    signs = np.resize([1.0, -1.0], N)
    lr = found(lambda x, i: float(signs[i[0]] * (x @ x)) / 2, np.zeros(D))
    assert 0.7 < lr * 3 * D * D**0.5 < 1.4  # F = sqrt d, in place of h


def test_failed_values_and_straight_lines_say_nothing():
    bends = Bends(3)
    assert bends.lr == 0.0
    bends.pairs = [(0.0, 0.0)] * 4
    assert bends.lr == 0.0
    assert found(lambda x, i: float(x @ DENSE[0]), np.full(D, 0.3), budget=5000) == 1e-3  # the method's own

"""A step size where none is given: near what theory says on quadratics, counted, within the room there is."""

from __future__ import annotations

import numpy as np
import pytest

from zoptim import fzoo, mezo, minimize
from zoptim.doors.settle import Settling
from zoptim.methods.moments import zo_momentum


def found(method, fun, x, room=200):
    """lr, and the points asked."""
    talk = Settling(method, x, 7, lambda x: x, len, room).talk()
    asked, values = [], None
    while True:
        try:
            points, _, _ = talk.send(values)
        except StopIteration as stop:
            return stop.value, asked
        asked += list(points)
        values = np.array([fun(p) for p in points])


def bowl(h):
    return lambda x: 0.5 * h * float(((x - 1.0) ** 2).sum())


@pytest.mark.parametrize("h", [1e-4, 1.0, 1e5])
@pytest.mark.parametrize("d", [10, 1000])
def test_on_a_bowl_it_is_that_of_fastest_descent(h, d):
    lr, asked = found(mezo(law="signs", eps=1e-3), bowl(h), np.zeros(d))
    assert 0.5 < lr * h * (d + 2) < 1.5
    assert len(asked) < 60


@pytest.mark.parametrize("d", [1, 2, 3])
def test_in_few_dimensions_no_search_diverges(d):
    for seed in range(20):
        result = minimize(bowl(3.0), np.full(d, 4.0), method="mezo", budget=400, seed=seed)
        assert result.fun < 1e-2 and result.trace.values[-1] < 1e-2, seed


def test_momentum_steps_are_longer_than_the_first():
    plain, _ = found(mezo(eps=1e-3), bowl(1.0), np.zeros(50))
    heavy, _ = found(zo_momentum(eps=1e-3, beta=0.9), bowl(1.0), np.zeros(50))
    assert heavy == pytest.approx(0.1 * plain)


def test_a_length_is_found_whatever_the_scale_of_losses_says():
    small, _ = found(fzoo(eps=1e-3), bowl(1.0), np.zeros(20))
    large, _ = found(fzoo(eps=1e-3), bowl(1e6), np.zeros(20))
    assert small == pytest.approx(large, rel=1e-6)


@pytest.mark.parametrize("room", range(0, 40, 3))
def test_it_stays_within_its_room(room):
    lr, asked = found(mezo(eps=1e-3), bowl(1.0), np.zeros(10), room)
    assert len(asked) <= room and 0.0 < lr < 1.0


@pytest.mark.parametrize("fun", [lambda x: 3.0, lambda x: np.nan, lambda x: np.inf])
def test_where_nothing_is_lower_it_still_answers(fun):
    lr, asked = found(mezo(lr=1e-6, eps=1e-3), fun, np.zeros(10))
    assert lr == 1e-6 and len(asked) < 60


@pytest.mark.parametrize("name", ["zo_svrg_coord_rand", "vr_szd"])
def test_refreshes_along_all_coordinates_do_not_set_the_step_of_those_along_few(name):
    a = np.random.default_rng(0).normal(size=(60, 40))

    def fun(x, i):
        return 0.5 * (a[i] @ (x - 1.0)) ** 2 + 0.05 * float(x @ x)

    found = minimize(fun, np.zeros(40), method=name, n=60, batch=8, budget=60_000, settings={"n": 1})
    assert found.fun < 0.2 * float(fun(np.zeros(40), np.arange(60)).mean())


@pytest.mark.parametrize("name", ["mezo", "zo_sgd", "zo_svrg"])
@pytest.mark.parametrize("scale", [1e150, 1e290])
def test_values_whose_squares_are_too_large_have_a_step_size_too(name: str, scale: float) -> None:
    with np.errstate(over="ignore"):  # an objective may say what it likes of steps much too long
        huge = minimize(lambda x: scale * float(((x - 1.0) ** 2).sum()), np.zeros(4), method=name, budget=200)
    assert huge.fun < 0.7 * 4.0 * scale

"""`method="auto"` and named methods: what is chosen, said, and filled in."""

from __future__ import annotations

import numpy as np
import pytest

from zoptim import mezo, minimize
from zoptim.doors.choose import choose


def chosen(method="auto", d=100, budget=None, noisy=False, sums=False, **settings):
    return choose(method, settings, np.zeros(d), budget=budget, noisy=noisy, components=12 * sums)


def test_auto_follows_dimension_and_budget_and_says_so():
    assert chosen(d=5, budget=24).method.name == "fd_newton" and "5 numbers" in chosen(d=5, budget=24).why
    assert chosen(d=5, budget=23).method.name == "mezo" and "10 numbers" in chosen(d=5, budget=23).why
    assert (
        chosen(d=300, budget=1000).method.name == "zo_sgd" and chosen(d=300, budget=1000).method.probe.n == 8
    )
    assert (
        chosen(d=300, budget=100).method.name == "mezo" and "budget of 100" in chosen(d=300, budget=100).why
    )
    assert chosen(d=5, sums=True).method.name == "mezo" and chosen(d=100, sums=True).method.name == "zo_sgd"
    found = minimize(lambda x: float(x @ x), np.ones(30), budget=3000)
    assert found.method == "fd_newton" and "auto chose fd_newton" in found.message and found.fun < 1e-12
    assert chosen(lr=0.1, n=2, sums=True).method.probe.n == 2  # settings win


def test_a_method_of_coordinates_is_told_the_dimension():
    assert chosen("zo_ncf", d=7).method.arguments["d"] == 7


def test_what_is_given_stays_and_the_rest_is_found():
    assert chosen("mezo").finds_lr and chosen("mezo", lr="auto").finds_lr
    assert not chosen("mezo", lr=0.5).finds_lr and chosen("mezo", lr=0.5).method.lr == 0.5
    assert chosen("mezo", eps=0.5).method.eps == 0.5
    assert chosen("mezo", eps="auto").method.eps == chosen("mezo").method.eps < 1e-5
    own = mezo(lr=3.0)
    assert chosen(own).method is own and not chosen(own).finds_lr


@pytest.mark.parametrize(
    ("method", "noisy", "budget", "schedule"),
    [
        ("mezo", False, 100, "constant"),
        ("mezo", True, 100, "cosine"),
        ("fzoo", False, 100, "cosine"),
        ("fzoo", True, None, "constant"),
    ],
)
def test_steps_shrink_where_they_do_not_come_to_rest(method, noisy, budget, schedule):
    made = chosen(method, noisy=noisy, budget=budget).method
    assert made.arguments["schedule"] == schedule
    assert (
        chosen(method, noisy=noisy, budget=budget, schedule="linear").method.arguments["schedule"] == "linear"
    )


@pytest.mark.parametrize("name", ["zo_gda", "zo_vrgda", "zo_bilevel", "zo_riemannian"])
def test_what_needs_a_space_of_its_own_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"method='{name}': it is not for a plain function of x"):
        minimize(lambda x: float(x @ x), np.ones(3), method=name, budget=100)


def test_a_setting_that_the_chosen_method_lacks_is_refused_by_who_chose() -> None:
    with pytest.raises(ValueError, match="auto chose fd_newton, which has no 'lr'.*name a method"):
        minimize(lambda x: float(x @ x), np.ones(3), budget=100, settings={"lr": 0.1})


def test_a_method_of_sums_asks_for_their_number() -> None:
    with pytest.raises(ValueError, match="method='zivr' is for finite sums: give n"):
        minimize(lambda x: float(x @ x), np.ones(3), method="zivr", budget=100)

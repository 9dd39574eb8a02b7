"""Accelerated random search: the paper's three sequences, and what they buy."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

import zoptim
from zoptim import noise
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.methods.accelerated import rgf_accelerated
from zoptim.methods.smooth import rgf, rgf_step
from zoptim.spaces.flat import Flat
from zoptim.testing import Trial, check_method, functions, objective

D, EPS = 6, 1e-4
UNITS = np.geomspace(0.05, 1.0, D)


def bowl(x: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * (UNITS * (x - 1.0) ** 2).sum(axis=-1))


def run(method: Any, steps: int, f: Any = bowl, d: int = D, key: int = 3) -> Run:
    made = Run(Flat(np.zeros(d)), method, Journal.create(None, {"key": key}), horizon=steps)
    for _ in range(steps):
        made.step(objective(f))
    return made


def edition(slot: int, steps: int, h: float, tau: float, n: int, sides: str) -> list[np.ndarray]:
    """Scheme FG as printed, x, v and y each for itself; d / n for d."""
    e = D / n
    theta, gamma = h * (e + 4) / (4 * (e + 1) ** 2), max(tau, 1 / (4 * (e + 4) * h))
    x = v = np.zeros(D)
    places = []
    for t in range(steps):
        b = gamma - tau
        alpha = (
            -theta * b + math.sqrt(theta**2 * b**2 + 4 * theta * gamma)
        ) / 2  # alpha^2 / theta = (1 - alpha) gamma + alpha tau
        after = (1 - alpha) * gamma + alpha * tau
        assert math.isclose(alpha**2 / theta, after, rel_tol=1e-9)
        lam, beta = alpha / after * tau, alpha * gamma / (gamma + alpha * tau)
        y = (1 - beta) * x + beta * v
        places.append(y)
        g = np.zeros(D)
        for i in range(n):
            u = noise.normals(3, t, i, slot, 0, D).astype(np.float64)
            c = (
                (bowl(y + EPS * u) - bowl(y - EPS * u)) / (2 * EPS)
                if sides == "two"
                else (bowl(y + EPS * u) - bowl(y)) / EPS
            )
            g += c * u / n
        x, v = y - h * g, (1 - lam) * v + lam * y - theta / alpha * g
        gamma = after
    return places


@pytest.mark.parametrize(
    ("tau", "n", "sides"), [(0.0, 1, "two"), (0.0, 3, "one"), (0.05, 1, "one"), (0.05, 2, "two")]
)
def test_the_parameters_are_the_papers_y(tau: float, n: int, sides: Any) -> None:
    h = 0.02
    made = Run(
        Flat(np.zeros(D)), rgf_accelerated(h, EPS, n=n, convexity=tau, sides=sides), Journal.create(None, {"key": 3}), horizon=40
    )  # fmt: skip
    for y in edition(made.slots[0].id, 40, h, tau, n, sides):
        np.testing.assert_allclose(made.space.x, y, rtol=0, atol=1e-10)
        made.step(objective(bowl))


def test_laws() -> None:
    trials = (Trial(functions.quadratic(), 3000, 1e-3, (0.05, 0.02)),)
    report = check_method(lambda: rgf_accelerated(0.02, 1e-4), functions=trials)
    assert not report.failed, str(report)
    held = {f.law for f in report.findings if f.status == "held"}
    assert {"1 replay", "2 one direction", "3 home", "8 degenerate equalities", "10 known minima"} <= held


def test_its_first_step_is_plain_whatever_tau() -> None:
    """From x = v: rgf's."""
    h = 0.02
    for tau in (0.0, 0.3):
        fast, plain = (run(m, 1) for m in (rgf_accelerated(h, EPS, convexity=tau), rgf(h, EPS, sides="two")))
        m = next(iter(fast.named.arrays["m"].values())).ravel()
        x = fast.space.x - fast.journal.records[0].terms[-1][1] * -h * m  # y less what momentum added
        np.testing.assert_allclose(x, plain.space.x, atol=1e-15)


def test_a_failed_step_leaves_its_momentum() -> None:
    """A skipped step moves nothing, and the next has the gamma of before."""
    made = run(rgf_accelerated(0.02, EPS), 5)
    before, gamma = made.space.x.copy(), made.method.coefficients._gamma
    assert made.step(objective(lambda x: np.full(len(x), np.nan))).kind == "skip"
    assert made.space.x.tobytes() == before.tobytes() and made.method.coefficients._gamma == gamma
    again = Run(Flat(np.zeros(D)), rgf_accelerated(0.02, EPS), Journal(None, made.journal.dump()), horizon=5)
    assert again.method.coefficients._gamma == gamma


def chain(x: np.ndarray) -> np.ndarray:
    """The paper's worst case: 1/2 x_1^2 + 1/2 sum (x_{i+1} - x_i)^2 + 1/2 x_d^2 - x_1, L1 = 4."""
    ends = x[:, 0] ** 2 + x[:, -1] ** 2
    return np.asarray(0.5 * (ends + (np.diff(x, axis=1) ** 2).sum(axis=1)) - x[:, 0])


def test_on_the_papers_chain_it_is_faster_than_without_momentum_at_the_papers_step() -> None:
    d, steps = 40, 12_000
    best = -0.5 * (1 - 1 / (d + 1))
    h = rgf_step(d, 4.0)
    gaps = {
        name: [float(chain(run(make(), steps, chain, d, key).space.x[None])[0]) - best for key in range(3)]
        for name, make in (
            ("fast", lambda: rgf_accelerated(h, 1e-6)), ("plain", lambda: rgf(h, 1e-6, sides="two")),
        )
    }  # fmt: skip
    assert max(gaps["fast"]) < 0.5 * min(gaps["plain"]), gaps


def test_on_a_badly_conditioned_bowl_it_ends_below_a_tenth_of_the_gap_after_as_many_questions() -> None:
    """Condition 1000, minimum 0, the paper's steps; whether or not it is told how convex the bowl is."""
    d, steps = 10, 5000
    units, h = np.geomspace(1e-3, 1.0, d), rgf_step(d, 1.0)

    def f(x: np.ndarray) -> np.ndarray:
        return np.asarray(0.5 * (units * (x - 1.0) ** 2).sum(axis=-1))

    made = [rgf(h, 1e-6, sides="two"), *(rgf_accelerated(h, 1e-6, convexity=tau) for tau in (0.0, units[0]))]
    for key in range(2):
        runs = [run(copy.deepcopy(method), steps, f, d, key) for method in made]
        assert len({sum(len(r.losses) for r in one.journal.records) for one in runs}) == 1
        plain, *fast = (float(f(one.space.x)) for one in runs)
        assert max(fast) < 0.1 * plain, (key, plain, fast)


def test_minimize_takes_it_by_name() -> None:
    found = zoptim.minimize(
        lambda x: float(bowl(x)),
        np.zeros(D),
        method="rgf_accelerated",
        budget=4000,
        settings={"lr": 0.02, "eps": EPS},
    )
    assert found.fun < 0.01 * bowl(np.zeros(D)) and found.nfev <= 4000


@pytest.mark.parametrize(
    ("setting", "said"),
    [({"convexity": -1.0}, "convexity=-1.0"), ({"n": 0}, "n=0"), ({"sides": "three"}, "sides='three'")],
)
def test_settings_are_checked(setting: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rgf_accelerated(**setting)

"""Frank-Wolfe by differences: the papers' lines, the set at every step, where they get, what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import zoptim
from zoptim import noise, sets
from zoptim.directions.coordinate import Rotating
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.method import Method
from zoptim.methods.finite import zo_spider_coord
from zoptim.methods.frank_wolfe import fzcgs, fzfw, jaguar, jaguar_stochastic, sgffw, zscg, zsfw_dvr
from zoptim.probes.recursive import by_chance
from zoptim.rules import FrankWolfe
from zoptim.spaces.flat import Flat
from zoptim.testing import check_method, objective

KEY, D, EPS = noise.key_from_seed(5), 6, 1e-5
BALL = sets.L1Ball(0.7)
A = noise.normals(KEY, 9, 0, 1, 0, 8 * D).astype(np.float64).reshape(8, D)
B = A @ np.array([1.0, -0.5, 0, 0, 0, 0.2]) + 0.1
SLOT = Flat(np.zeros(D)).slot.id

METHODS: dict[str, Callable[[], Method]] = {
    "zscg": lambda: zscg(set=BALL, eps=EPS, n=3),
    "sgffw": lambda: sgffw(set=BALL, d=D, eps=EPS, n=2),
    "kwsa": lambda: sgffw(set=BALL, d=D, eps=EPS, scheme="kwsa"),
    "fzfw": lambda: fzfw(set=BALL, d=D, eps=EPS, period=3),
    "fzcgs": lambda: fzcgs(set=BALL, d=D, eps=EPS, period=3),
    "jaguar": lambda: jaguar(set=BALL, eps=EPS, n=2),
    "rdsa": lambda: sgffw(set=BALL, d=D, eps=EPS, scheme="rdsa"),
    "jaguar_stochastic": lambda: jaguar_stochastic(set=BALL, d=D, eps=EPS, n=2),
    "zsfw_dvr": lambda: zsfw_dvr(set=BALL, eps=EPS, n=3, p=0.4),
}


def f(x: np.ndarray) -> float:
    return float(((A @ x - B) ** 2).mean())


F = objective(lambda x: ((x @ A.T - B) ** 2).mean(axis=1))


def run(method: Method, steps: int) -> tuple[Run, list[np.ndarray]]:
    made = Run(Flat(np.zeros(D)), method, Journal.create(None, {"key": KEY}), horizon=steps)
    path = [made.space.x.copy()]
    for _ in range(steps):
        made.step(F)
        path.append(made.space.x.copy())
    return made, path


# -- the papers' lines ------------------------------------------------------------------------------


def u(t: int, i: int) -> np.ndarray:
    return noise.normals(KEY, t, i, SLOT, 0, D).astype(np.float64)


def forward(x: np.ndarray, z: np.ndarray) -> float:
    return (f(x + EPS * z) - f(x)) / EPS


def central(x: np.ndarray) -> np.ndarray:
    return np.array([(f(x + EPS * e) - f(x - EPS * e)) / (2 * EPS) for e in np.eye(D)])


def lmo(v: np.ndarray) -> np.ndarray:
    s = np.zeros(D)
    j = np.abs(v).argmax()
    s[j] = -0.7 * np.sign(v[j])
    return s


def edition(name: str, steps: int) -> list[np.ndarray]:
    x, v, h = np.zeros(D), np.zeros(D), np.zeros(D)
    before, path = x, [x]
    chosen = Rotating(2)
    turns = chosen.init((Flat(np.zeros(D)).slot,), KEY)
    for t in range(steps):
        if name == "zscg":  # 1809.06474, algorithm 1
            v = np.mean([forward(x, u(t, i)) * u(t, i) for i in range(3)], axis=0)
            gamma = min(1.0, 6 / (t + 5))
        elif name in ("sgffw", "kwsa"):  # 1810.03233, eq. 8 and 9
            if name == "kwsa":
                g, share = np.array([forward(x, e) for e in np.eye(D)]), 4.0
            else:
                g, share = (
                    np.mean([forward(x, u(t, i)) * u(t, i) for i in range(2)], axis=0),
                    4 / (1 + D / 2) ** (1 / 3),
                )
            rho = min(1.0, share / (t + 8) ** (2 / 3))
            v = (1 - rho) * v + rho * g
            gamma = 2 / (t + 8)
        elif name == "fzfw":  # Gao and Huang, algorithm 1: SPIDER is exact on a whole sum
            v = central(x) if t % 3 == 0 else v + central(x) - central(before)
            gamma = 0.1
        elif name == "jaguar":  # 2409.10442, algorithm 1
            for j in chosen.chosen(t, turns):
                v = v.copy()
                v[j] = central(x)[j]
            gamma = 2 / (t + 2)
        else:  # 2501.07201 as reconstructed
            us = [u(t, i) for i in range(3)]
            if t == 0 or by_chance(KEY, t, 0.4):
                rest = [forward(x, z) - z @ h for z in us]
                v = h + np.mean([c * z for c, z in zip(rest, us, strict=True)], axis=0)
                h = h + sum(c * z for c, z in zip(rest, us, strict=True)) / (D + 3 + 1)
            else:
                v = v + np.mean([(forward(x, z) - forward(before, z)) * z for z in us], axis=0)
            gamma = min(1.0, 2 / (t + 2))
        before = x
        x = x + gamma * (lmo(v) - x)
        path.append(x)
    return path


@pytest.mark.parametrize("name", ["zscg", "sgffw", "kwsa", "fzfw", "jaguar", "zsfw_dvr"])
def test_it_is_the_paper_s_method(name: str) -> None:
    _, path = run(METHODS[name](), 12)
    np.testing.assert_allclose(path, edition(name, 12), atol=1e-6)
    assert len({x.tobytes() for x in path}) > 3


# -- the set, the solution, the laws -----------------------------------------------------------------


def solution() -> np.ndarray:
    x = np.zeros(D)
    for _ in range(20_000):
        x = BALL.project(x - 0.05 * 2 * A.T @ (A @ x - B) / len(A))
    return x


@pytest.mark.parametrize("name", METHODS)
def test_it_stays_in_the_set_and_closes_the_gap(name: str) -> None:
    method = zscg(set=BALL, eps=EPS, n=30) if name == "zscg" else METHODS[name]()
    _, path = run(method, 400)
    assert all(BALL.contains(x) for x in path)
    best = solution()
    within = {"zscg": 0.1, "rdsa": 0.05}.get(
        name, 0.02
    )  # a floor of noise; one draw a step, 0.3 % after 6,400
    assert f(path[-1]) - f(best) < within * (f(path[0]) - f(best))


def test_without_memory_only_more_draws_get_closer() -> None:
    best, few, many = f(solution()), *(f(run(zscg(set=BALL, eps=EPS, n=n), 400)[1][-1]) for n in (3, 30))
    assert few - best > 3 * (many - best)


@pytest.mark.parametrize("name", METHODS)
def test_laws(name: str) -> None:
    made = {"d": 9} if name in ("sgffw", "kwsa", "rdsa", "fzfw", "fzcgs", "jaguar_stochastic") else {}
    method = METHODS[name]()

    def make() -> Method:
        return zoptim.methods.build(method.name, {**method.arguments, **made})

    report = check_method(make, functions=())
    assert not report.failed, str(report)
    assert {"1 replay", "2 one direction", "3 home"} <= {x.law for x in report.findings if x.status == "held"}


def test_what_they_reduce_to() -> None:
    alone = fzfw(set=BALL, d=D, lr=0.1, eps=EPS, period=3)
    spider = zo_spider_coord(0.1, EPS, d=D, period=3, rule=FrankWolfe(BALL, "constant"))
    assert run(alone, 7)[0].space.x.tobytes() == run(spider, 7)[0].space.x.tobytes()
    every = jaguar(set=BALL, eps=EPS, n=D)  # all coordinates: nothing is remembered
    v = central(np.zeros(D))
    np.testing.assert_allclose(run(every, 1)[1][1], lmo(v), atol=1e-9)
    sure = zsfw_dvr(set=BALL, eps=EPS, n=3, p=1.0)  # no step between refreshes
    assert all(r.extra for r in run(sure, 5)[0].journal.records)


@pytest.mark.parametrize("name", METHODS)
def test_minimize_hands_the_set_over(name: str) -> None:
    found = zoptim.minimize(f, np.zeros(D), method=METHODS[name]().name, constraints=BALL, budget=600)
    assert BALL.contains(found.x) and found.fun < f(np.zeros(D)) and found.nfev <= 600


def test_a_set_without_projection() -> None:
    swap = np.eye(3)[[1, 0, 2]]
    found = zoptim.minimize(
        lambda x: float(((x.reshape(3, 3) - swap) ** 2).sum()), np.full(9, 1 / 3), method="jaguar",
        constraints=sets.Birkhoff(side=3), budget=600,
    )  # fmt: skip
    np.testing.assert_allclose(found.x.reshape(3, 3), swap, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: zscg(set=sets.HalfSpace(np.ones(D), 1.0)), "HalfSpace: lmo is not offered"),
        (lambda: zscg(set=BALL, gamma="1/t"), "gamma='1/t' must be one of"),
        (lambda: sgffw(set=BALL, d=D, scheme="spsa"), "scheme='spsa' must be one of 'irdsa', 'rdsa', 'kwsa'"),
        (lambda: jaguar_stochastic(set=BALL, d=2, n=3), "n=3 different coordinates a step: there are d=2"),
        (lambda: zsfw_dvr(set=BALL, p=0.0), "p=0.0 must be a number above 0"),
        (lambda: jaguar(set=BALL, n=0), "n=0 must be a whole number"),
        (lambda: zoptim.methods.build("zscg", {}), "zscg needs the setting set"),
    ],
)
def test_wrong_settings_are_named(make: Callable[[], Method], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()

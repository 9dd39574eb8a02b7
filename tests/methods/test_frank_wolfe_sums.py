"""Frank-Wolfe by differences on batches of a finite sum: the papers' lines, replays, costs, what they reduce to, other sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from reference.sums import Sum, normals

from zoptim import noise, sets
from zoptim.coefficients import Averaged, CentralSlopes, Forward
from zoptim.directions.coordinate import Rotating
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.lm.batches import Order
from zoptim.method import Method
from zoptim.methods.frank_wolfe import fzcgs, fzfw, jaguar, jaguar_stochastic, sgffw, zscg, zsfw_dvr
from zoptim.probes import TwoSided
from zoptim.probes.recursive import by_chance
from zoptim.spaces.flat import Flat
from zoptim.testing import objective

KEY, N, D, BATCH, EPS, R = noise.key_from_seed(33), 12, 5, 3, 1e-5, 0.8
BALL = sets.L1Ball(R)
STEPS = 12


A, B = normals(KEY, "A", N, D), normals(KEY, "b", N)


def components(x: np.ndarray, which: Any) -> np.ndarray:
    """Least squares' f_i at points (m, d), (m, len(which))."""
    return np.asarray((x @ A[which].T - B[which]) ** 2)


def asked(batch: int = BATCH) -> Sum:
    return Sum(components, KEY, N, batch)


def run(method: Method, steps: int = STEPS, question: Sum | None = None) -> Run:
    question = question or asked()
    made = Run(Flat(np.zeros(D)), method, Journal.create(None, {"key": KEY}), horizon=steps)
    for t in range(steps):
        made.step(question.at(t))
    return made


METHODS: dict[str, Callable[[], Method]] = {
    "zscg": lambda: zscg(set=BALL, eps=EPS, n=3),
    "irdsa": lambda: sgffw(set=BALL, d=D, eps=EPS, n=2),
    "rdsa": lambda: sgffw(set=BALL, d=D, eps=EPS, scheme="rdsa"),
    "kwsa": lambda: sgffw(set=BALL, d=D, eps=EPS, scheme="kwsa"),
    "fzfw": lambda: fzfw(set=BALL, d=D, eps=EPS, period=4),
    "fzcgs": lambda: fzcgs(set=BALL, d=D, eps=EPS, period=4),
    "jaguar": lambda: jaguar(set=BALL, eps=EPS, n=2),
    "jaguar_stochastic": lambda: jaguar_stochastic(set=BALL, d=D, eps=EPS, n=2),
    "zsfw_dvr": lambda: zsfw_dvr(set=BALL, eps=EPS, n=3, p=0.4),
}


# -- the papers' lines, on the batches that the run asked -------------------------------------------------


def lmo(v: np.ndarray) -> np.ndarray:
    j = np.abs(v).argmax()
    return -R * np.sign(v[j]) * np.eye(D)[j]


def condg(v: np.ndarray, x: np.ndarray, lr: float, gap: float) -> np.ndarray:
    """argmin <v, u> + |u - x|^2 / (2 lr): Gao and Huang, algorithm 3."""
    u = x
    for _ in range(100):
        slope = v + (u - x) / lr
        s = lmo(slope)
        if slope @ (u - s) <= gap:
            break
        u = u + min(1.0, slope @ (u - s) * lr / ((s - u) @ (s - u))) * (s - u)
    return u


class Edition:
    """One place x, one batch i, one line a quantity."""

    def __init__(self, slot: int) -> None:
        self.slot, self.order, self.all = slot, Order(KEY, [1] * N, BATCH), np.arange(N)
        self.x, self.before, self.v, self.h = (np.zeros(D) for _ in range(4))

    def f(self, x: np.ndarray, i: Any) -> float:
        return float(components(x[None], i).mean())

    def u(self, t: int, j: int) -> np.ndarray:
        return noise.normals(KEY, t, j, self.slot, 0, D).astype(np.float64)

    def D(self, x: np.ndarray, i: Any, u: np.ndarray) -> float:
        return (self.f(x + EPS * u, i) - self.f(x, i)) / EPS

    def random(self, x: np.ndarray, i: Any, t: int, n: int) -> np.ndarray:
        return np.mean([self.D(x, i, self.u(t, j)) * self.u(t, j) for j in range(n)], axis=0)

    def central(self, x: np.ndarray, i: Any) -> np.ndarray:
        return np.array([(self.f(x + EPS * e, i) - self.f(x - EPS * e, i)) / (2 * EPS) for e in np.eye(D)])

    def towards(self, gamma: float) -> np.ndarray:
        return self.x + min(1.0, gamma) * (lmo(self.v) - self.x)

    def zscg(self, t: int, i: Any) -> np.ndarray:  # 1809.06474, algorithm 1
        self.v = self.random(self.x, i, t, 3)
        return self.towards(6 / (t + 5))

    def averaged(self, t: int, g: np.ndarray, share: float) -> np.ndarray:  # 1810.03233, eq. 8 to 10
        rho = min(1.0, share / (t + 8) ** (2 / 3))
        self.v = (1 - rho) * self.v + rho * g
        return self.towards(2 / (t + 8))

    def irdsa(self, t: int, i: Any) -> np.ndarray:
        return self.averaged(t, self.random(self.x, i, t, 2), 4 / (1 + D / 2) ** (1 / 3))

    def rdsa(self, t: int, i: Any) -> np.ndarray:
        return self.averaged(t, self.random(self.x, i, t, 1), 4 / D ** (1 / 3))

    def kwsa(self, t: int, i: Any) -> np.ndarray:
        return self.averaged(t, np.array([self.D(self.x, i, e) for e in np.eye(D)]), 4.0)

    def spider(self, t: int, i: Any) -> None:  # Gao and Huang (ICML 2020), algorithms 1 and 2
        if t % 4 == 0:
            self.v = self.central(self.x, self.all)
        else:
            self.v = self.v + self.central(self.x, i) - self.central(self.before, i)

    def fzfw(self, t: int, i: Any) -> np.ndarray:
        self.spider(t, i)
        return self.towards(0.1)

    def fzcgs(self, t: int, i: Any) -> np.ndarray:
        self.spider(t, i)
        return condg(self.v, self.x, 0.1, 1e-3)

    def chosen(self, t: int) -> np.ndarray:
        turns = Rotating(2)
        return turns.chosen(t, turns.init((Flat(np.zeros(D)).slot,), KEY))

    def jaguar(self, t: int, i: Any) -> np.ndarray:  # 2409.10442, algorithm 1
        self.v = self.v.copy()
        self.v[self.chosen(t)] = self.central(self.x, i)[self.chosen(t)]
        return self.towards(2 / (t + 2))

    def jaguar_stochastic(self, t: int, i: Any) -> np.ndarray:  # 2409.10442, the stochastic form
        rest = np.zeros(D)
        rest[self.chosen(t)] = (self.central(self.x, i) - self.h)[self.chosen(t)]
        g, self.h = self.h + D / 2 * rest, self.h + rest
        return self.averaged(t, g, 4 / (1 + D / 2) ** (1 / 3))

    def zsfw_dvr(self, t: int, i: Any) -> np.ndarray:  # 2501.07201 as reconstructed
        us = [self.u(t, j) for j in range(3)]
        if t == 0 or by_chance(KEY, t, 0.4):
            rest = sum((self.D(self.x, self.all, u) - u @ self.h) * u for u in us)
            self.v, self.h = self.h + rest / 3, self.h + rest / (D + 3 + 1)
        else:
            self.v = self.v + self.random(self.x, i, t, 3) - self.random(self.before, i, t, 3)
        return self.towards(2 / (t + 2))


@pytest.mark.parametrize("name", METHODS)
def test_every_step_is_the_papers_and_stays_in_the_set(name: str) -> None:
    made = Run(Flat(np.zeros(D)), METHODS[name](), Journal.create(None, {"key": KEY}), horizon=STEPS)
    edition, question = Edition(made.slots[0].id), asked()
    for t in range(STEPS):
        made.step(question.at(t))
        new = getattr(edition, name)(t, edition.order(t))
        edition.before, edition.x = edition.x, new
        np.testing.assert_allclose(made.space.x, new, rtol=0, atol=1e-6, err_msg=f"step {t}")
        assert np.abs(made.space.x).sum() <= R * (1 + 1e-12)
    assert np.abs(new).max() > 0.05


@pytest.mark.parametrize("name", METHODS)
def test_it_replays_and_resumes_at_every_step(name: str) -> None:
    straight, question = run(METHODS[name]()), asked()
    for cut in (1, 4, 7):
        part = Run(Flat(np.zeros(D)), METHODS[name](), Journal.create(None, {"key": KEY}), horizon=STEPS)
        for t in range(cut):
            part.step(question.at(t))
        again = Run(Flat(np.zeros(D)), METHODS[name](), Journal(None, part.journal.dump()), horizon=STEPS)
        assert again.space.x.tobytes() == part.space.x.tobytes()
        for t in range(cut, STEPS):
            again.step(question.at(t))
        assert again.space.x.tobytes() == straight.space.x.tobytes()


COSTS = {  # components of a refresh, and of another step
    "zscg": (4 * BATCH, 4 * BATCH), "irdsa": (3 * BATCH, 3 * BATCH), "rdsa": (2 * BATCH, 2 * BATCH),
    "kwsa": ((D + 1) * BATCH, (D + 1) * BATCH), "fzfw": (2 * D * N, 4 * D * BATCH), "fzcgs": (2 * D * N, 4 * D * BATCH),
    "jaguar": (4 * BATCH, 4 * BATCH), "jaguar_stochastic": (4 * BATCH, 4 * BATCH), "zsfw_dvr": (4 * N, 8 * BATCH),
}  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_costs_in_components(name: str) -> None:
    question = asked()
    made = Run(Flat(np.zeros(D)), METHODS[name](), Journal.create(None, {"key": KEY}), horizon=20)
    for t in range(20):
        before = question.asked
        probe = made.method.probe
        refreshed = getattr(probe, "due", lambda *_: True)(t, KEY)
        made.step(question.at(t))
        assert question.asked - before == COSTS[name][0 if refreshed else 1]


# -- what they reduce to ----------------------------------------------------------------------------------


def test_averages_that_forget_everything_are_zscg() -> None:
    plain = zscg(set=BALL, eps=EPS, n=3, gamma="2/(t+8)")
    averaged = sgffw(set=BALL, d=D, eps=EPS, n=3)
    forgets = replace(averaged, coefficients=Averaged(Forward(), 1e9))  # rho = 1
    np.testing.assert_allclose(run(forgets).space.x, run(plain).space.x, rtol=0, atol=1e-12)
    assert np.abs(run(averaged).space.x - run(plain).space.x).max() > 1e-3


@pytest.mark.parametrize("d", [1, D])
def test_jaguar_with_all_coordinates_remembers_nothing(d: int) -> None:
    """At d = 1, with any n: the central difference along the only coordinate, which a SPIDER that always refreshes asks."""
    f = objective(lambda x: ((x - 0.3) ** 2).sum(axis=1) + 0.1 * x[:, 0])
    found = []
    for method in (
        jaguar(set=BALL, eps=EPS, n=d, gamma="constant", lr=0.1),
        fzfw(set=BALL, d=d, eps=EPS, period=1, lr=0.1),
    ):
        made = Run(Flat(np.zeros(d)), method, Journal.create(None, {"key": KEY}), horizon=STEPS)
        for _ in range(STEPS):
            made.step(f)
        found.append(made.space.x.copy())
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-9)
    assert np.abs(found[0]).max() > 0.1


def test_stochastic_jaguar_with_all_coordinates_is_kwsa_by_central_differences() -> None:
    share = 4 / 2 ** (1 / 3)
    kwsa = replace(
        sgffw(set=BALL, d=D, eps=EPS, scheme="kwsa"),
        probe=TwoSided(D),
        coefficients=Averaged(CentralSlopes(), share),
    )
    every = jaguar_stochastic(set=BALL, d=D, eps=EPS, n=D)
    np.testing.assert_allclose(run(every).space.x, run(kwsa).space.x, rtol=0, atol=1e-9)


def test_the_first_refresh_of_zsfw_dvr_is_zscg_and_with_its_anchor_here_v_stays() -> None:
    """No h yet: the mean of the draws.  Where x has not moved, the differences to the place before are 0, to the bit."""
    whole = asked(N)
    dvr, plain = zsfw_dvr(set=BALL, eps=EPS, n=3, p=0.4), zscg(set=BALL, eps=EPS, n=3)
    np.testing.assert_allclose(run(dvr, 1, whole).space.x, run(plain, 1, whole).space.x, rtol=0, atol=1e-12)
    still = zsfw_dvr(set=BALL, eps=EPS, n=3, p=1e-9, lr=1e-300)
    made = Run(Flat(np.full(D, 0.1)), still, Journal.create(None, {"key": KEY}), horizon=STEPS)
    question, seen = asked(), []
    for t in range(5):
        made.step(question.at(t))
        seen.append(next(iter(made.named.arrays["v"].values())).tobytes())
    assert len(set(seen)) == 1 and np.frombuffer(seen[0]).any()


def test_with_all_of_the_sum_and_p_1_the_tracker_closes_in_on_the_gradient() -> None:
    """E |grad - h|^2 falls by 1 - n / (d + n + 1) a refresh where x stays: half of the runs below the mean, all fall."""
    x = np.full(D, 0.1)
    gradient = 2 * A.T @ (A @ x - B) / N
    still = zsfw_dvr(set=BALL, eps=1e-7, n=3, p=1.0, lr=1e-300)
    steps, left = 40, []
    for seed in range(20):
        key = noise.key_from_seed(1000 + seed)
        made = Run(Flat(x.copy()), still, Journal.create(None, {"key": key}), horizon=steps)
        for t in range(steps):
            made.step(asked(N).at(t))
        h = next(iter(made.named.arrays["h"].values())).ravel()
        left.append(float(((gradient - h) ** 2).sum() / (gradient**2).sum()))
    assert np.mean(left) < 10 * (1 - 3 / (D + 3 + 1)) ** steps and max(left) < 1e-4


# -- other sets, against the exact solution -----------------------------------------------------------------


SETS = {"simplex": sets.Simplex(), "l1": sets.L1Ball(1.0), "nuclear": sets.NuclearBall(1.0, shape=(3, 3))}
FAR = np.array([0.9, -0.2, 0.4, 0.1, 0.7, -0.6, 0.3, 0.0, -0.5])


@pytest.mark.parametrize("where", SETS)
@pytest.mark.parametrize("name", METHODS)
def test_the_gap_closes_and_bounds_what_is_left(name: str, where: str) -> None:
    """f = |x - y|^2 / 2 over K: the solution is y's projection."""
    given, d = SETS[where], FAR.size
    method = METHODS[name]()
    arguments: dict[str, Any] = {"set": given, "eps": 1e-6}
    arguments |= {k: v for k, v in method.arguments.items() if k in ("scheme", "period", "p", "gamma", "lr")}
    arguments |= {"d": d} if "d" in method.arguments else {}
    arguments |= {"n": 40 if name == "zscg" else 6} if "n" in method.arguments else {}
    maker = {"irdsa": sgffw, "rdsa": sgffw, "kwsa": sgffw}.get(name) or globals()[name]
    start = given.lmo(np.arange(d) + 1.0)
    made = Run(Flat(start.copy()), maker(**arguments), Journal.create(None, {"key": KEY}), horizon=600)
    ask = objective(lambda x: 0.5 * ((x - FAR) ** 2).sum(axis=1))
    for _ in range(600):
        made.step(ask)
        assert given.contains(made.space.x)

    def f(x: np.ndarray) -> float:
        return float(0.5 * ((x - FAR) ** 2).sum())

    def gap(x: np.ndarray) -> float:
        return float((x - FAR) @ (x - given.lmo(x - FAR)))

    x, solution = made.space.x, given.project(FAR)
    assert gap(solution) < 1e-9
    assert 0.0 <= f(x) - f(solution) + 1e-12 <= gap(x) + 1e-12
    within = {"zscg": 0.1, "rdsa": 0.05, "irdsa": 0.05}.get(name, 0.02)  # zscg stops at its noise
    assert f(x) - f(solution) < within * (f(start) - f(solution))
    assert gap(x) < 0.15 * gap(start)


# -- what is given ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_plain_data_of_a_set_is_the_set(name: str) -> None:
    method = METHODS[name]()
    maker = {"irdsa": sgffw, "rdsa": sgffw, "kwsa": sgffw}.get(name) or globals()[name]
    again = maker(**method.arguments)
    assert method.arguments["set"] == sets.to_plain(BALL) == again.arguments["set"]
    assert run(again).space.x.tobytes() == run(method).space.x.tobytes()


@pytest.mark.parametrize("maker", [zscg, sgffw, fzfw, fzcgs, jaguar, jaguar_stochastic, zsfw_dvr])
def test_a_set_without_a_linear_minimum_is_refused(maker: Callable[..., Method]) -> None:
    needs = {"d": D} if maker in (sgffw, fzfw, fzcgs, jaguar_stochastic) else {}
    with pytest.raises(ValueError, match="HalfSpace: lmo is not offered"):
        maker(set=sets.HalfSpace(np.ones(D), 1.0), **needs)

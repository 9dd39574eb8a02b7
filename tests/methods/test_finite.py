"""Variance reduction over finite sums: the papers' lines, what each costs, what it reduces to, and where it gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from reference.sums import Sum, normals

from zoptim import noise
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.lm.batches import Order
from zoptim.method import Method
from zoptim.methods.finite import (
    zivr,
    zo_page,
    zo_spider_coord,
    zo_storm,
    zo_svrg,
    zo_svrg_coord,
    zo_svrg_coord_rand,
    zpdvr,
)
from zoptim.probes.recursive import by_chance
from zoptim.spaces.flat import Flat

KEY = noise.key_from_seed(21)
N, D, BATCH = 12, 5, 3


A, B = normals(KEY, "A", N, D), normals(KEY, "b", N)


def component(x: np.ndarray, which: Any) -> np.ndarray:
    """Ridge regression's f_i at points (m, d), (m, len(which))."""
    return np.asarray(0.5 * (x @ A[which].T - B[which]) ** 2 + 0.05 * (x**2).sum(1, keepdims=True))


def whole(x: np.ndarray) -> float:
    return float(component(x[None], np.arange(N)).mean())


SOLUTION = np.linalg.solve(A.T @ A / N + 0.1 * np.eye(D), A.T @ B / N)


def asked(batch: int = BATCH) -> Sum:
    return Sum(component, KEY, N, batch)


def run(method: Method, steps: int, question: Sum | None = None, x0: np.ndarray | None = None) -> Run:
    question = question or asked()
    made = Run(
        Flat(np.zeros(D) if x0 is None else x0), method, Journal.create(None, {"key": KEY}), horizon=steps
    )
    for t in range(steps):
        made.step(question.at(t))
    return made


METHODS: dict[str, Callable[[], Method]] = {
    "zo_svrg": lambda: zo_svrg(0.05, 1e-5, n=4, period=4),
    "zo_svrg_coord": lambda: zo_svrg_coord(0.1, 1e-5, d=D, period=4),
    "zo_svrg_coord_rand": lambda: zo_svrg_coord_rand(0.03, 1e-6, d=D, period=8),
    "zo_spider_coord": lambda: zo_spider_coord(0.1, 1e-5, d=D, period=4),
    "zo_page": lambda: zo_page(0.05, 1e-5, n=4, p=0.3),
    "zo_storm": lambda: zo_storm(0.03, 1e-5, n=4, a=0.2),
    "zpdvr": lambda: zpdvr(0.03, 1e-7, p=0.2),
    "zivr": lambda: zivr(0.02, 1e-7, d=D, components=N),
}


def z(t: int, i: int, slot: int) -> np.ndarray:
    return noise.normals(KEY, t, i, slot, 0, D).astype(np.float64)


class Edition:
    """What the papers print, line by line."""

    def __init__(self, slot: int, eps: float) -> None:
        self.slot, self.eps, self.order = slot, eps, Order(KEY, [1] * N, BATCH)
        self.all = np.arange(N)

    def f(self, x: np.ndarray, which: Any) -> float:
        return float(component(x[None], which).mean())

    def forward(self, x: np.ndarray, which: Any, u: np.ndarray) -> float:
        return (self.f(x + self.eps * u, which) - self.f(x, which)) / self.eps

    def rge(self, x: np.ndarray, which: Any, t: int, n: int, first: int = 0) -> np.ndarray:
        us = [z(t, first + i, self.slot) for i in range(n)]
        return np.mean([self.forward(x, which, u) * u for u in us], axis=0)

    def cge(self, x: np.ndarray, which: Any, central: bool = True) -> np.ndarray:
        e = np.eye(D)
        if not central:
            return np.array([self.forward(x, which, e[j]) for j in range(D)])
        pairs = [(self.f(x + self.eps * v, which), self.f(x - self.eps * v, which)) for v in e]
        return np.array([(a - b) / (2 * self.eps) for a, b in pairs])

    def svrg(self, estimate: Any, anchor: Any, lr: float, period: int, steps: int) -> np.ndarray:
        x = np.zeros(D)
        for t in range(steps):
            if t % period == 0:
                w, v = x, anchor(x, self.all, t)  # the snapshot and its estimate
                x = x - lr * v
            else:
                i = self.order(t)
                x = x - lr * (estimate(x, i, t) - estimate(w, i, t) + v)
        return x

    def carried(
        self, estimate: Any, fresh: Callable[[int], bool], lr: float, a: float, steps: int, big: Any
    ) -> np.ndarray:
        x = before = np.zeros(D)
        for t in range(steps):
            i = self.order(t)
            if t == 0 or fresh(t):
                v = estimate(x, i if big is None else big, t)
            else:
                v = estimate(x, i, t) + (1 - a) * (v - estimate(before, i, t))
            before, x = x, x - lr * v
        return x

    def zpdvr(self, lr: float, p: float, steps: int) -> np.ndarray:
        x, h = np.zeros(D), np.zeros(D)
        for t in range(steps):
            if t == 0 or by_chance(KEY, t, p):
                w, u, u0 = x, z(t, 0, self.slot), z(t, 1, self.slot)
                h = h + u * (self.forward(w, self.all, u) - u @ h) / (D + 2)
                v = h + u0 * (self.forward(w, self.all, u0) - u0 @ h)
            else:
                i, u = self.order(t), z(t, 2, self.slot)
                x = x - lr * (u * (self.forward(x, i, u) - self.forward(w, i, u)) + v)
        return x

    def zivr(self, lr: float, steps: int) -> np.ndarray:
        x, j, s = np.zeros(D), np.zeros((D, N)), np.zeros(D)
        for t in range(steps):
            words = noise.uniform_bits(KEY, noise.ORDER, t // 256, 5, 0, 4 * (t % 256), 4).tolist()
            i, k = ((words[a] + (words[a + 1] << 32)) % m for a, m in ((0, N), (2, D)))
            derivative = self.forward(x, np.array([i]), np.eye(D)[k])
            g = D * (derivative - j[k, i]) * np.eye(D)[k] + s
            s[k] += (derivative - j[k, i]) / N
            j[k, i] = derivative
            x = x - lr * g
        return x


def expected(name: str, slot: int, steps: int) -> np.ndarray:
    e = Edition(slot, 1e-6 if name == "zo_svrg_coord_rand" else 1e-7 if name in ("zpdvr", "zivr") else 1e-5)
    rge = lambda x, i, t: e.rge(x, i, t, 4)  # noqa: E731
    cge = lambda x, i, t: e.cge(x, i)  # noqa: E731
    made: dict[str, Callable[[], np.ndarray]] = {
        "zo_svrg": lambda: e.svrg(rge, rge, 0.05, 4, steps),
        "zo_svrg_coord": lambda: e.svrg(cge, cge, 0.1, 4, steps),
        "zo_svrg_coord_rand": lambda: e.svrg(
            lambda x, i, t: e.rge(x, i, t, 1, D), lambda x, i, t: e.cge(x, i, False), 0.03, 8, steps
        ),
        "zo_spider_coord": lambda: e.carried(cge, lambda t: t % 4 == 0, 0.1, 0.0, steps, e.all),
        "zo_page": lambda: e.carried(rge, lambda t: by_chance(KEY, t, 0.3), 0.05, 0.0, steps, e.all),
        "zo_storm": lambda: e.carried(rge, lambda t: False, 0.03, 0.2, steps, None),
        "zpdvr": lambda: e.zpdvr(0.03, 0.2, steps),
        "zivr": lambda: e.zivr(0.02, steps),
    }
    return made[name]()


@pytest.mark.parametrize("name", METHODS)
def test_the_trajectory_is_the_papers(name: str) -> None:
    r = run(METHODS[name](), 15)
    np.testing.assert_allclose(r.space.x, expected(name, r.slots[0].id, 15), rtol=0, atol=1e-6)
    assert np.abs(r.space.x).max() > 0.01


@pytest.mark.parametrize("name", METHODS)
def test_it_replays_and_resumes_at_every_step(name: str) -> None:
    question = asked()
    straight = run(METHODS[name](), 12)
    for cut in (1, 4, 7):
        part = Run(Flat(np.zeros(D)), METHODS[name](), Journal.create(None, {"key": KEY}), horizon=12)
        for t in range(cut):
            part.step(question.at(t))
        again = Run(Flat(np.zeros(D)), METHODS[name](), Journal(None, part.journal.dump()), horizon=12)
        assert again.space.x.tobytes() == part.space.x.tobytes()
        for t in range(cut, 12):
            again.step(question.at(t))
        assert again.space.x.tobytes() == straight.space.x.tobytes()


@pytest.mark.parametrize("name", METHODS)
def test_the_minimum_is_reached_beyond_the_noise_of_batches(name: str) -> None:
    method = METHODS[name]()
    r = run(method, 3000 if name == "zivr" else 1200)  # of a single component each
    gap = whole(r.space.x) - whole(SOLUTION)
    start = whole(np.zeros(D)) - whole(SOLUTION)
    if name == "zo_storm":  # never asks the whole sum: noise stays, less than that of plain batches
        plain = whole(run(zo_storm(0.03, 1e-5, n=4, a=1.0), 1200).space.x) - whole(SOLUTION)
        assert gap < 0.8 * plain
    else:
        assert gap < 1e-6 * start


COSTS = {  # components of a refresh, and of another step
    "zo_svrg": (5 * N, 2 * 5 * BATCH), "zo_svrg_coord": (2 * D * N, 4 * D * BATCH), "zo_svrg_coord_rand": ((D + 1) * N, 4 * BATCH),
    "zo_spider_coord": (2 * D * N, 4 * D * BATCH), "zo_page": (5 * N, 10 * BATCH), "zo_storm": (5 * BATCH, 10 * BATCH),
    "zpdvr": (3 * N, 4 * BATCH), "zivr": (0, 2),
}  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_costs_in_components(name: str) -> None:
    question = asked()
    r = Run(Flat(np.zeros(D)), METHODS[name](), Journal.create(None, {"key": KEY}), horizon=30)
    for t in range(30):
        before, refreshed = question.asked, name != "zivr" and r.method.probe.due(t, KEY)
        r.step(question.at(t))
        assert question.asked - before == COSTS[name][0 if refreshed else 1]


def test_degenerate_equalities() -> None:
    fresh, plain = zo_page(0.05, 1e-5, n=4, p=1.0), zo_storm(0.05, 1e-5, n=4, a=1.0)
    question = asked(N)  # the batch is all there is
    everything = run(fresh, 8, question).space.x
    np.testing.assert_allclose(run(plain, 8, asked(N)).space.x, everything, rtol=0, atol=1e-10)
    at_anchor = run(zo_svrg(0.05, 1e-5, n=4, period=1), 8, asked(N)).space.x
    assert at_anchor.tobytes() == everything.tobytes()  # an anchor a step is a fresh estimate a step


def test_the_tracker_closes_in_at_the_rate_of_the_averaging_trick() -> None:
    """E |grad - h|^2 falls by 1 - 1/(d + 2) a refresh, where the gradient stays."""
    g, repeats, refreshes = normals(KEY, "g", D), 150, 10
    left = []
    for seed in range(repeats):
        r = Run(
            Flat(np.zeros(D)),
            zpdvr(1e-12, 1e-3, p=1.0),
            Journal.create(None, {"key": noise.key_from_seed(seed)}),
        )
        for _ in range(refreshes):
            r.step(lambda view: view.x @ g)
        h = r.named.arrays["h"][r.slots[0].id][:, 0]
        left.append(((g - h) ** 2).sum() / (g @ g))
    rate = (1 - 1 / (D + 2)) ** refreshes
    assert abs(np.mean(left) - rate) < 5 * np.std(left) / repeats**0.5


def test_the_table_closes_in_on_every_derivative_at_the_minimum() -> None:
    """What is known of component i along j, from the records alone, and its mean, which is the vector s."""
    r = run(METHODS["zivr"](), 3000)
    again = Run(Flat(np.zeros(D)), METHODS["zivr"](), Journal(None, r.journal.dump()), horizon=3000)
    known = again.method.coefficients._known
    slopes = A * (A @ SOLUTION - B)[:, None] + 0.1 * SOLUTION
    np.testing.assert_allclose(known, slopes, rtol=0, atol=1e-4)
    assert np.abs(slopes).max() > 0.1  # components are far from a minimum of their own
    np.testing.assert_allclose(r.named.arrays["s"][r.slots[0].id][:, 0], known.mean(0), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("make", "said"), [
    (lambda: zo_svrg(period=0), "period=0"), (lambda: zo_page(p=0.0), "p=0.0"), (lambda: zo_page(big=-1), "big=-1"),
    (lambda: zivr(d=3, components=0), "components=0"), (lambda: zo_storm(a=2.0), "a=2.0"), (lambda: zpdvr(p=0), "p=0"), (lambda: zo_spider_coord(d=0), "d=0"),
    (lambda: zo_svrg_coord_rand(d=3, n=0), "n=0"), (lambda: zo_svrg_coord(d=3, period=True), "period=True"),
])  # fmt: skip
def test_settings_are_checked(make: Callable[[], Method], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()

"""Leaving saddle points that descent alone stays on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from zoptim.coefficients.saddle import STATIONARY
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.method import Method
from zoptim.methods.plain import mezo
from zoptim.methods.saddle import zo_ncf, zo_perturbed
from zoptim.spaces.flat import Flat
from zoptim.testing import objective

D = 6


def well(x: np.ndarray) -> np.ndarray:
    """Convex but along the last axis: a saddle at 0, minima at +-1 there, of value -1/4."""
    x = np.asarray(x, np.float64)
    last = x[:, -1]
    return np.asarray((x[:, :-1] ** 2).sum(1) / 2 - last**2 / 2 + last**4 / 4)


def run(method: Method, steps: int, f: Any = well, x0: np.ndarray | None = None) -> Run:
    made = Run(
        Flat(np.zeros(D) if x0 is None else x0), method, Journal.create(None, {"key": 8}), horizon=steps
    )
    for _ in range(steps):
        made.step(objective(f))
    return made


def value(r: Run) -> float:
    return float(well(r.space.x[None])[0])


def test_a_saddle_is_left_by_leaping_along_what_grew() -> None:
    r = run(zo_ncf(0.2, 1e-5, d=D, large=1e-3, reach=0.3, patience=100, small=1e-6), 300)
    assert value(r) < -0.25 + 1e-5
    kinds = [(rec.kind, rec.extra[:1]) for rec in r.journal.records]
    leap = kinds.index(("track", (2.0,))) + 1  # the step after w has grown
    assert kinds[0] == ("track", (1.0,)) and kinds[leap] == ("move", (0.0,))
    assert len(r.journal.records[leap].losses) == 3
    assert r.journal.records[-1].reason == STATIONARY or kinds[-1][0] == "track"


def test_what_is_felt_is_the_eigenvector_of_the_least_eigenvalue() -> None:
    rng = np.random.default_rng(4)  # of the test alone
    q, _ = np.linalg.qr(rng.standard_normal((D, D)))
    h = q @ np.diag([-1.0, 0.2, 0.4, 0.6, 0.8, 1.0]) @ q.T

    def bowl(x: np.ndarray) -> np.ndarray:
        return np.asarray(0.5 * ((x @ h) * x).sum(1))

    r = Run(
        Flat(np.zeros(D)),
        zo_ncf(0.5, 1e-4, d=D, large=1e-3, reach=0.5, small=1e-4),
        Journal.create(None, {"key": 1}),
    )
    while not (r.journal.records and r.journal.records[-1].extra[:1] == (2.0,)):
        r.step(objective(bowl))
    w = r.named.arrays["w"][r.slots[0].id][:, 0]
    assert abs(w @ q[:, 0]) / np.linalg.norm(w) > 0.99
    record = r.step(objective(bowl))
    assert record.kind == "move" and np.linalg.norm(r.space.x) == pytest.approx(0.5, rel=1e-9)


def test_a_minimum_is_said_to_be_one() -> None:
    r = run(zo_ncf(0.2, 1e-5, d=D, large=1e-2, patience=20), 30, lambda x: (x**2).sum(1))
    assert STATIONARY in [rec.reason for rec in r.journal.records]
    assert not r.space.x.any()


@pytest.mark.parametrize("make", [
    lambda: zo_ncf(0.2, 1e-5, d=D, large=1e-3, reach=0.3, patience=100), lambda: zo_perturbed(0.05, 1e-4, n=2, push=0.1),
])  # fmt: skip
def test_it_replays_and_resumes_at_every_step(make: Any) -> None:
    whole = run(make(), 40)
    for cut in (1, 5, 18, 19, 20, 21, 30):
        part = run(make(), cut)
        again = Run(Flat(np.zeros(D)), make(), Journal(None, part.journal.dump()), horizon=40)
        assert again.space.x.tobytes() == part.space.x.tobytes()
        for _ in range(40 - cut):
            again.step(objective(well))
        assert again.space.x.tobytes() == whole.space.x.tobytes(), cut


def test_a_push_leaves_the_saddle_and_its_absence_is_plain_descent() -> None:
    assert value(run(zo_perturbed(0.05, 1e-4, n=3, push=0.05), 600)) < -0.24
    start = np.linspace(-0.5, 0.5, D)
    calm = run(zo_perturbed(0.05, 1e-4, n=3, push=0.0), 20, x0=start.copy())
    plain = run(mezo(0.05, 1e-4, n=3, law="normal"), 20, x0=start.copy())
    np.testing.assert_allclose(calm.space.x, plain.space.x, rtol=0, atol=1e-15)
    assert not run(mezo(0.05, 1e-4, n=3, law="normal"), 20).space.x.any()  # it stays on the saddle

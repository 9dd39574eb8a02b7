"""Mirror descent from values: the papers' lines, the theory's promise on the simplex, what it becomes at the plain end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import zoptim
from zoptim import noise, sets
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.method import Method
from zoptim.methods import build, mezo
from zoptim.methods.mirror import mirror_step, zo_mirror
from zoptim.rules import Descent, Projected
from zoptim.spaces.flat import Flat
from zoptim.testing import check_method, objective

KEY, D, EPS = 11, 6, 1e-3
UNITS, AIM = np.linspace(1.0, 4.0, D), np.array([0.6, 0.3, -0.2, 0.1, 0.0, 0.4])
MIDDLE = np.full(D, 1.0 / D)


def bowl(x: np.ndarray) -> np.ndarray:
    return np.asarray((UNITS * (x - AIM) ** 2).sum(axis=-1))


def run(method: Method, x0: np.ndarray, steps: int, f: Any = bowl, key: int = KEY) -> tuple[Run, np.ndarray]:
    made = Run(Flat(x0.copy()), method, Journal.create(None, {"key": key}), horizon=steps)
    path = [x0]
    for _ in range(steps):
        made.step(objective(f))
        path.append(made.space.x.copy())  # type: ignore[attr-defined]
    return made, np.stack(path)


def drawn(law: str, t: int, i: int, d: int = D) -> tuple[np.ndarray, np.ndarray]:
    """(z, a): what is probed, what is applied."""
    slot = noise.slot_id("x")
    if law == "normal":
        z = noise.normals(KEY, t, i, slot, 0, d).astype(np.float64)
        return z, z
    s = noise.signs(KEY, t, i, slot, 0, d).astype(np.float64)
    if law == "signs":
        return s, s
    a, b = (noise.normals(KEY, t, i, slot, k * d, d).astype(np.float64) for k in (1, 2))
    e = (a**2 + b**2) / 2
    return d * s * e / e.sum(), s


def edition(
    x: np.ndarray, steps: int, *, simplex: float = 0.0, power: float = 2.0, n: int, sides: str, law: str, lr: float
) -> np.ndarray:  # fmt: skip
    """Duchi et al. 1312.2139: x+ = argmin <g, x> + D_psi(x, x_t) / alpha."""
    path, b = [x], power / (power - 1.0)

    def grad(v: np.ndarray, a: float) -> np.ndarray:  # of |v|_a^2 / 2
        return np.sign(v) * np.abs(v) ** (a - 1) * np.sum(np.abs(v) ** a) ** ((2 - a) / a)

    for t in range(steps):
        g = np.zeros(D)
        for i in range(n):
            z, a = drawn(law, t, i)
            if sides == "one":
                g += (bowl(x + EPS * z) - bowl(x)) / EPS * a / n
            else:
                g += (bowl(x + EPS * z) - bowl(x - EPS * z)) / (2 * EPS) * a / n
        if simplex:  # psi = sum x log x
            y = x * np.exp(-lr * g)
            x = simplex * y / y.sum()
        else:
            x = grad(grad(x, power) - lr * g, b)
        path.append(x)
    return np.stack(path)


@pytest.mark.parametrize("law", ["signs", "normal", "l1"])
@pytest.mark.parametrize(("sides", "n"), [("two", 1), ("one", 3)])
def test_it_is_the_paper_s_method(law: Any, sides: Any, n: int) -> None:
    how = {"n": n, "sides": sides, "law": law}
    _, path = run(zo_mirror(0.05, EPS, set=sets.Simplex(2.0), **how), 2 * MIDDLE, 12)  # type: ignore[arg-type]
    np.testing.assert_allclose(path, edition(2 * MIDDLE, 12, simplex=2.0, lr=0.05, **how), atol=1e-9)  # type: ignore[arg-type]
    _, path = run(zo_mirror(0.02, EPS, power=1.4, **how), MIDDLE, 12)  # type: ignore[arg-type]
    np.testing.assert_allclose(path, edition(MIDDLE, 12, power=1.4, lr=0.02, **how), atol=1e-9)  # type: ignore[arg-type]


def test_at_power_two_it_is_mezo() -> None:
    _, plain = run(mezo(0.02, EPS, law="signs"), MIDDLE, 20)
    _, path = run(zo_mirror(0.02, EPS, power=2.0), MIDDLE, 20)
    np.testing.assert_allclose(path, plain, atol=1e-12)


def test_it_stays_in_the_simplex_ends_at_the_solution_and_is_replayed() -> None:
    method = zo_mirror(0.2, 1e-5, set=sets.Simplex(), n=4, schedule="cosine")
    made, path = run(method, MIDDLE, 600)
    assert (path >= 0).all() and np.abs(path.sum(axis=1) - 1).max() < 1e-12
    best = MIDDLE
    for _ in range(3000):
        best = sets.Simplex().project(best - 0.05 * 2 * UNITS * (best - AIM))
    np.testing.assert_allclose(path[-1], best, atol=0.01)
    again = Run(
        Flat(MIDDLE.copy()), build("zo_mirror", method.arguments), Journal(None, made.journal.dump()), horizon=600
    )  # fmt: skip
    assert again.space.x.tobytes() == path[-1].tobytes()  # type: ignore[attr-defined]


def test_the_theory_s_promise_and_what_plain_steps_do_at_theirs() -> None:
    """d = 400: a gap of G sqrt(2 log d / T) for the average, where plain projected steps R / (G sqrt(d T)) have a larger one."""
    d, steps = 400, 300
    c = noise.normals(KEY, 0, 0, noise.slot_id("c"), 0, d, noise.INITIAL).astype(np.float64)
    size, x0 = float(np.linalg.norm(c)), np.full(d, 1.0 / d)
    promised = size * mirror_step(d, size, steps) * size

    def gap(method: Method, key: int) -> float:
        _, path = run(method, x0, steps, lambda x: x @ c, key)
        return float(c @ path[:-1].mean(axis=0) - c.min())

    mirror = np.mean(
        [gap(zo_mirror(mirror_step(d, size, steps), 1e-6, set=sets.Simplex()), key) for key in range(4)]
    )
    lr = 1.0 / (size * np.sqrt(d * steps))
    plain = replace(mezo(lr, 1e-6, law="signs"), rule=Projected(Descent(), sets.Simplex()))
    assert mirror < promised
    assert mirror < 0.8 * np.mean([gap(plain, key) for key in range(4)])


def test_laws() -> None:
    report = check_method(lambda: zo_mirror(0.02, power=1.5), functions=())
    assert not report.failed, str(report)
    assert {"1 replay", "2 one direction", "3 home", "4 address"} <= {
        f.law for f in report.findings if f.status == "held"
    }


def test_minimize_hands_the_simplex_over_and_finds_a_step_size() -> None:
    for size in (1e-3, 1.0, 1e4):
        asked: list[np.ndarray] = []

        def f(x: np.ndarray, size: float = size, asked: list[np.ndarray] = asked) -> float:
            asked.append(x.copy())
            return size * float(bowl(x))

        start = MIDDLE + np.array([1e-9, -1e-9, 0, 0, 0, 0])
        found = zoptim.minimize(f, start, method="zo_mirror", constraints=sets.Simplex(), budget=1500)
        assert all(sets.Simplex().contains(x) for x in asked) and found.nfev == len(asked) <= 1500
        assert found.fun / size < 0.264 + 2e-3  # the minimum is 0.26392


def test_a_norm_near_l1_needs_no_set() -> None:
    aim = np.zeros(60)
    aim[[3, 40]] = 2.0, -1.0
    found = zoptim.minimize(
        lambda x: float(((x - aim) ** 2).sum()), np.zeros(60), method="zo_mirror", budget=4000
    )
    assert found.fun < 1e-3


def test_a_start_below_0_by_rounding_only_is_one_on_the_edge() -> None:
    start = np.array([0.5, 0.5 + 1e-12, -1e-12])
    found = zoptim.minimize(
        lambda x: float((x**2).sum()), start, method="zo_mirror", constraints=sets.Simplex(), budget=60
    )
    assert found.x[2] >= 0.0


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: zo_mirror(set=sets.L2Ball(1.0)), "set=L2Ball: mirror steps are for a Simplex.*fd_spectral"),
        (lambda: zo_mirror(set=sets.Simplex(), power=1.5), "power=1.5: on a simplex"),
        (lambda: zo_mirror(power=3.0), "power=3.0 must be"),
        (lambda: zo_mirror(law="l2"), "law='l2' must be one of 'signs', 'normal', 'l1'"),  # type: ignore[arg-type]
        (lambda: zo_mirror(set={"set": "Simplex", "scale": -1.0}), "scale=-1.0"),
    ],
)
def test_wrong_settings_are_named(make: Callable[[], Method], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.parametrize(
    ("x0", "given", "says"),
    [
        (np.eye(3)[0], {"constraints": sets.Simplex()}, "all but one are 0.*1/d each"),
        (np.full(3, 0.2), {"bounds": (0, 1)}, "set=Box: mirror steps are for a Simplex"),
        (np.full(3, 0.2), {"penalty": sets.L1(0.1)}, "zo_mirror: its steps are of another geometry"),
        (np.full(3, 1 / 3), {"constraints": sets.Simplex(), "bounds": (0, 0.9)}, "set=Intersection"),
        (np.full(3, 0.2), {"constraints": sets.Simplex()}, "x0 lies outside Simplex.*set.project"),
    ],
)
def test_wrong_places_are_named(x0: np.ndarray, given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        zoptim.minimize(lambda x: float(x @ x), x0, method="zo_mirror", budget=100, **given)

"""A problem in a problem with a known answer, and the paper's lines in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from zoptim import noise
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.methods.bilevel import zo_bilevel
from zoptim.spaces.several import Several

KEY = noise.key_from_seed(11)
DX, DY, RHO = 3, 4, 0.5


def normals(what: str, *shape: int) -> np.ndarray:
    z = noise.normals(KEY, 0, 0, noise.slot_id(what), 0, int(np.prod(shape)), noise.INITIAL)
    return z.astype(np.float64).reshape(shape)


A, B = normals("A", DY, DX), normals("b", DY)
C = np.eye(DY) + 0.2 * np.diag(np.ones(DY - 1), 1) + 0.2 * np.diag(np.ones(DY - 1), -1)


def upper(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * ((y - B) ** 2).sum(-1) + 0.5 * RHO * (x**2).sum(-1))


def lower(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    r = y - x @ A.T
    return np.asarray(0.5 * ((r @ C) * r).sum(-1))


def ask(view: Any) -> np.ndarray:
    """(m, 1): F where the first component is asked, G where the second is."""
    values = upper(view.parts["x"], view.parts["y"]), lower(view.parts["x"], view.parts["y"])
    return np.array([[values[item.own][p]] for p, item in enumerate(view.items)])


def start() -> Several:
    return Several(x=np.zeros(DX), y=np.zeros(DY))


SOLUTION = np.linalg.solve(A.T @ A + RHO * np.eye(DX), A.T @ B)  # y*(x) = A x


def test_the_answer_is_found() -> None:
    method = zo_bilevel(0.003, 1e-3, ratio=20.0, pace=0.03, inner=6, solve=6, n=8, schedule="linear")
    run = Run(start(), method, Journal.create(None, {"key": KEY}), horizon=13 * 400)
    for _ in range(13 * 400):
        run.step(ask)

    def gap(x: np.ndarray) -> float:
        return float(upper(x, A @ x) - upper(SOLUTION, A @ SOLUTION))

    assert gap(run.space["x"]) < 0.05 * gap(np.zeros(DX))
    np.testing.assert_allclose(run.space["y"], A @ run.space["x"], atol=0.1)


def edition(
    space: Several,
    outer: int,
    *,
    lr: float,
    eps: float,
    ratio: float,
    pace: float,
    inner: int,
    solve: int,
    n: int,
    products: str,
) -> Any:
    """arXiv 2404.00158: the inner loop, the linear system by stochastic descent, the outer step."""
    ids = {slot.name: slot.id for slot in space.slots()}
    x, y, w, t = space["x"].copy(), space["y"].copy(), np.zeros(DY), 0
    f = lambda a, b: upper(a[None], b[None])[0]  # noqa: E731
    g = lambda a, b: lower(a[None], b[None])[0]  # noqa: E731

    def z(i: int, who: str) -> np.ndarray:
        return noise.normals(KEY, t, i, ids[who], 0, DX if who == "x" else DY).astype(np.float64)

    def across(a: np.ndarray, b: np.ndarray) -> float:
        """Along (a, b) of both players and along w at once."""
        four = [r * s * g(x + s * eps * a, y + s * eps * b + r * eps * w) for r in (1, -1) for s in (1, -1)]
        return float(sum(four)) / (4 * eps**2)

    for _ in range(outer):
        for _ in range(inner):
            v = [z(i, "y") for i in range(n)]
            y = y - ratio * lr * sum((g(x, y + eps * a) - g(x, y - eps * a)) / (2 * eps) * a for a in v) / n
            t += 1
        for _ in range(solve):
            v, o = [z(i, "y") for i in range(n)], [z(n + i, "y") for i in range(n)]
            d2 = [g(x, y + eps * a) + g(x, y - eps * a) - 2 * g(x, y) for a in v]
            hw = (
                sum(d / (2 * eps**2) * ((a @ w) * a - w) for d, a in zip(d2, v, strict=True)) / n
            )  # (v v' - I) w
            if products == "along":
                hw = sum(across(0 * x, a) * a for a in v) / n
            b = sum((f(x, y + eps * a) - f(x, y - eps * a)) / (2 * eps) * a for a in o) / n
            w = w - pace * (hw - b)
            t += 1
        u, v = [z(i, "x") for i in range(n)], [z(i, "y") for i in range(n)]
        d2 = [
            g(x + eps * a, y + eps * b) + g(x - eps * a, y - eps * b) - 2 * g(x, y)
            for a, b in zip(u, v, strict=True)
        ]
        gx = sum((f(x + eps * a, y) - f(x - eps * a, y)) / (2 * eps) * a for a in u) / n
        hxy = sum(d / (2 * eps * eps) * (b @ w) * a for d, a, b in zip(d2, u, v, strict=True)) / n
        if products == "along":
            hxy = sum(across(a, 0 * y) * a for a in u) / n
        x = x - lr * (gx - hxy)
        t += 1
    return x, y, w


@pytest.mark.parametrize("products", ["along", "drawn"])
def test_the_trajectory_is_the_papers(products: str) -> None:
    settings: dict[str, Any] = {
        "products": products,
        "lr": 0.02,
        "eps": 1e-2,
        "ratio": 4.0,
        "pace": 0.05,
        "inner": 2,
        "solve": 3,
        "n": 2,
    }
    run = Run(start(), zo_bilevel(**settings), Journal.create(None, {"key": KEY}))
    x, y, w = edition(run.space, 4, **settings)
    for _ in range(4 * 6):
        run.step(ask)
    held = run.named.arrays["w"]
    found = {slot.name: held[slot.id][:, 0] for slot in run.slots}
    for ours, theirs in ((run.space["x"], x), (run.space["y"], y), (found["y"], w)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9)
    assert not found["x"].any()
    again = Run(start(), zo_bilevel(**settings), Journal(None, run.journal.dump()))
    assert again.space["x"].tobytes() == run.space["x"].tobytes()
    assert all(again.named.arrays["w"][s.id].tobytes() == held[s.id].tobytes() for s in run.slots)


def test_curvature_across_is_what_the_second_difference_says() -> None:
    """E D2 / (2 eps^2) <v, w> u = H_xy w, of a quadratic exactly."""
    rng = np.random.default_rng(0)  # of the test alone
    x, y, w, eps = normals("x", DX), normals("y", DY), normals("w", DY), 0.1
    u, v = rng.standard_normal((200_000, DX)), rng.standard_normal((200_000, DY))
    d2 = lower(x + eps * u, y + eps * v) + lower(x - eps * u, y - eps * v) - 2 * lower(x[None], y[None])
    found = (d2 / (2 * eps**2) * (v @ w))[:, None] * u
    exact = -A.T @ C @ w
    assert (np.abs(found.mean(0) - exact) < 5 * found.std(0) / len(u) ** 0.5).all()


def test_along_w_the_noise_does_not_follow_the_trace() -> None:
    """Mean squares of the products of one draw, of H = I in 40 dimensions: d + 2 times |w|^2 along w, d^3 / 4 and more drawn."""
    d, n, eps = 40, 20_000, 0.1
    v, w = np.random.default_rng(0).standard_normal((n, d)), np.eye(d)[0]
    bowl = lambda y: 0.5 * (y**2).sum(-1)  # noqa: E731
    across = (
        sum(r * s * bowl(s * eps * v + r * eps * w) for r in (1, -1) for s in (1, -1))[:, None]
        / (4 * eps**2)
        * v
    )
    drawn = (2 * bowl(eps * v) / (2 * eps**2))[:, None] * ((v @ w)[:, None] * v - w)
    np.testing.assert_allclose((across**2).sum(1).mean(), d + 2, rtol=0.05)
    assert (drawn**2).sum(1).mean() > 0.2 * d**3
    for found in (across, drawn):
        assert (np.abs(found.mean(0) - w) < 5 * found.std(0) / n**0.5).all()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"inner": 0}, "inner=0"),
        ({"pace": -1.0}, "pace=-1.0"),
        ({"n": 0}, "n=0"),
        ({"products": "near"}, "products='near'"),
    ],
)
def test_settings_are_checked(setting: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        zo_bilevel(**setting)

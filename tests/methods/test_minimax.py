"""Games against their exact answers, and against the papers' lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from zoptim import noise
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.lm.batches import Order
from zoptim.method import Method
from zoptim.methods.minimax import zo_extragradient, zo_gda, zo_gdmsa, zo_vrgda
from zoptim.rules import Descent, Projected
from zoptim.sets import Box
from zoptim.spaces.several import Several

KEY = noise.key_from_seed(3)
DX, DY = 4, 3


def normals(what: str, *shape: int) -> np.ndarray:
    z = noise.normals(KEY, 0, 0, noise.slot_id(what), 0, int(np.prod(shape)), noise.INITIAL)
    return z.astype(np.float64).reshape(shape)


B = normals("B", DX, DY)


def curved(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Convex in x, concave in y; the saddle is at (ones, 0.5) of their own."""
    a, b = x - 1.0, y - 0.5
    return np.asarray(0.5 * (a * a).sum(-1) + ((a @ B) * b).sum(-1) - 0.5 * (b * b).sum(-1))


def bilinear(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(x[:, 0] * y[:, 0])


def asks(f: Callable[..., np.ndarray]) -> Callable[[Any], np.ndarray]:
    return lambda view: f(view.parts["x"], view.parts["y"])


def played(method: Method, f: Callable[..., np.ndarray], steps: int, **start: np.ndarray) -> Run:
    parts = start or {"x": normals("x", DX), "y": normals("y", DY)}
    run = Run(Several(**parts), method, Journal.create(None, {"key": KEY}), horizon=steps)
    for _ in range(steps):
        run.step(asks(f))
    return run


METHODS = {
    "zo_gda": lambda: zo_gda(0.02, ratio=2.0, nx=4, ny=3),
    "zo_gdmsa": lambda: zo_gdmsa(0.04, ratio=2.0, ascents=4, nx=4, ny=3),
    "zo_extragradient": lambda: zo_extragradient(0.04, ratio=1.0, nx=4, ny=3),
}


N, BATCH = 12, 3
C = normals("c", N, DX)
C -= C.mean(0)  # components differ, the saddle of their sum is curved's


def component(x: np.ndarray, y: np.ndarray, which: np.ndarray) -> np.ndarray:
    """(m, b): the game plus what sums to 0, with curvature of its own."""
    own = (x @ C[which].T) * (1.0 + 0.5 * y.sum(-1, keepdims=True))
    return curved(x, y)[:, None] + own


def summed(method: Method, steps: int, **start: np.ndarray) -> Run:
    parts = start or {"x": normals("x", DX), "y": normals("y", DY)}
    run, order = (
        Run(Several(**parts), method, Journal.create(None, {"key": KEY}), horizon=steps),
        Order(KEY, [1] * N, BATCH),
    )
    for t in range(steps):

        def ask(view: Any, t: int = t) -> np.ndarray:
            which = order(t) if view.items[0].batches == 1 else np.arange(N)
            return component(view.parts["x"], view.parts["y"], which)

        run.step(ask)
    return run


def edition_vrgda(
    ids: dict[str, int], *, steps: int, lr: float, eps: float, ratio: float, m: int, q: int, n: int
) -> Any:
    """arXiv 2006.09361, algorithm ZO-VRGDA, one move a step."""
    x, y = before = normals("x", DX), normals("y", DY)
    order = Order(KEY, [1] * N, BATCH)

    def f(a: np.ndarray, b: np.ndarray, which: Any) -> float:
        return float(component(a[None], b[None], which).mean())

    def estimates(
        a: np.ndarray, b: np.ndarray, which: Any, us: Any, vs: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        base = f(a, b, which)
        gx = sum((f(a + eps * u, b, which) - base) / eps * u for u in us)
        gy = sum((f(a, b + eps * v, which) - base) / eps * v for v in vs)
        return gx, gy

    for t in range(steps):
        if t % (q * (m + 1)) == 0:
            v, w = estimates(
                x, y, np.arange(N), np.eye(DX), np.eye(DY)
            )  # S1: every coordinate, all components
        else:
            us = [noise.normals(KEY, t, DX + DY + i, ids["x"], 0, DX).astype(float) for i in range(n)]
            vs = [noise.normals(KEY, t, DX + DY + n + i, ids["y"], 0, DY).astype(float) for i in range(n)]
            here, there = (estimates(*place, order(t), us, vs) for place in ((x, y), before))
            v, w = v + (here[0] - there[0]) / n, w + (here[1] - there[1]) / n
        before = x, y
        if t % (m + 1) == 0:
            x = x - lr * v
        else:
            y = y + ratio * lr * w
    return x, y


def test_the_trajectory_of_vrgda_is_the_papers() -> None:
    method = zo_vrgda(0.05, 1e-5, dx=DX, dy=DY, ratio=3.0, ascents=2, period=2, nx=2, ny=2)
    run = summed(method, 14)
    ids = {slot.name: slot.id for slot in run.slots}
    x, y = edition_vrgda(ids, steps=14, lr=0.05, eps=1e-5, ratio=3.0, m=2, q=2, n=2)
    np.testing.assert_allclose(run.space["x"], x, atol=1e-6)
    np.testing.assert_allclose(run.space["y"], y, atol=1e-6)
    held = run.named.arrays
    assert not held["vx"][ids["y"]].any() and not held["vy"][ids["x"]].any()
    again = Run(
        Several(x=normals("x", DX), y=normals("y", DY)), method, Journal(None, run.journal.dump()), horizon=14
    )
    assert again.space["x"].tobytes() == run.space["x"].tobytes()
    assert again.space["y"].tobytes() == run.space["y"].tobytes()


def test_vrgda_settles_where_plain_batches_keep_their_noise() -> None:
    def far(run: Run) -> float:
        return float(np.abs(run.space["x"] - 1.0).max() + np.abs(run.space["y"] - 0.5).max())

    carried = summed(zo_vrgda(0.05, 1e-6, dx=DX, dy=DY, ratio=1.0, ascents=2, period=8, nx=4, ny=3), 3000)
    plain = summed(zo_gda(0.05, 1e-6, ratio=1.0, nx=4, ny=3), 3000)
    assert far(carried) < 1e-3 < 0.05 < far(plain)


@pytest.mark.parametrize("name", METHODS)
def test_the_saddle_is_found(name: str) -> None:
    run = played(METHODS[name](), curved, 3000)
    np.testing.assert_allclose(run.space["x"], 1.0, atol=1e-4)
    np.testing.assert_allclose(run.space["y"], 0.5, atol=1e-4)


def test_only_extragradient_settles_on_a_bilinear_game() -> None:
    def start() -> dict[str, np.ndarray]:
        return {"x": np.ones(1), "y": np.ones(1)}

    def far(run: Run) -> float:
        return float(abs(run.space["x"][0]) + abs(run.space["y"][0]))

    settings = {"nx": 4, "ny": 4, "ratio": 1.0, "law": "signs"}
    assert far(played(zo_extragradient(0.2, **settings), bilinear, 400, **start())) < 1e-3
    assert far(played(zo_gda(0.2, **settings), bilinear, 100, **start())) > 10


def edition_gda(
    f: Any,
    x: np.ndarray,
    y: np.ndarray,
    space: Several,
    steps: int,
    lr: float,
    eps: float,
    ratio: float,
    n: int,
) -> Any:
    """arXiv 2001.07819, algorithm 1, with two-sided estimates."""
    ids = {slot.name: slot.id for slot in space.slots()}

    def z(t: int, i: int, who: str, size: int) -> np.ndarray:
        return noise.normals(KEY, t, i, ids[who], 0, size).astype(np.float64)

    for t in range(steps):
        gx, gy = np.zeros_like(x), np.zeros_like(y)
        for i in range(n):
            u, v = z(t, i, "x", x.size), z(t, i, "y", y.size)
            gx += (f((x + eps * u)[None], y[None]) - f((x - eps * u)[None], y[None])) / (2 * eps) * u / n
            gy += (f(x[None], (y + eps * v)[None]) - f(x[None], (y - eps * v)[None])) / (2 * eps) * v / n
        x, y = x - lr * gx, y + ratio * lr * gy
    return x, y


def test_the_trajectory_of_gda_is_the_papers() -> None:
    run = played(zo_gda(0.05, 1e-3, ratio=3.0, nx=2, ny=2), curved, 7)
    x, y = edition_gda(curved, normals("x", DX), normals("y", DY), run.space, 7, 0.05, 1e-3, 3.0, 2)
    np.testing.assert_allclose(run.space["x"], x, atol=1e-10)
    np.testing.assert_allclose(run.space["y"], y, atol=1e-10)


@pytest.mark.parametrize("name", METHODS)
def test_a_game_replays_and_resumes(name: str) -> None:
    run = played(METHODS[name](), curved, 9)
    again = Run(
        Several(x=normals("x", DX), y=normals("y", DY)),
        METHODS[name](),
        Journal(None, run.journal.dump()),
        horizon=9,
    )
    for either in (run, again):
        either.step(asks(curved))
    for part in ("x", "y"):
        assert again.space[part].tobytes() == run.space[part].tobytes()


def test_in_turn_moves_one_player_at_a_time() -> None:
    run = Run(
        Several(x=normals("x", DX), y=normals("y", DY)),
        zo_gdmsa(ascents=2),
        Journal.create(None, {"key": KEY}),
        horizon=6,
    )
    moved = []
    for _ in range(6):
        before = run.space["x"].copy(), run.space["y"].copy()
        run.step(asks(curved))
        moved.append("".join(n for n, b in zip("xy", before, strict=True) if (run.space[n] != b).any()))
    assert moved == ["y", "y", "x"] * 2


def test_y_stays_in_its_set() -> None:
    run = played(
        zo_gdmsa(0.04, ratio=2.0, ascents=4, nx=4, ny=3, y_rule=Projected(Descent(), Box(-0.2, 0.2))),
        curved,
        3000,
    )
    np.testing.assert_allclose(run.space["y"], 0.2, atol=0.1)
    assert np.abs(run.space["y"]).max() <= 0.2
    a = run.space["x"] - 1.0  # the best answer to that y
    np.testing.assert_allclose(a, -B @ (run.space["y"] - 0.5), atol=0.1)  # y comes and goes by its noise


@pytest.mark.parametrize(("make", "said"), [
    (lambda: zo_gda(ratio=0.0), "ratio=0.0 must be a positive finite number"),
    (lambda: zo_gda(nx=0), "nx=0 must be a whole number from 1"),
    (lambda: zo_gdmsa(ascents=0), "ascents=0 must be a whole number from 1"),
    (lambda: zo_vrgda(dx=0, dy=2), "dx=0 must be a whole number from 1"),
    (lambda: zo_vrgda(dx=2, dy=2, period=0), "period=0 must be a whole number from 1"),
])  # fmt: skip
def test_settings_are_checked(make: Callable[[], Method], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()

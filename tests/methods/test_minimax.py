"""Games against their exact answers, and against the papers' lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from zoptim import noise
from zoptim.engine import Method, Run
from zoptim.journal import Journal
from zoptim.methods.minimax import zo_extragradient, zo_gda, zo_gdmsa
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
])  # fmt: skip
def test_settings_are_checked(make: Callable[[], Method], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()

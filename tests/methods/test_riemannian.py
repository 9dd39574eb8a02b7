"""Descent on manifolds: the edition line by line, the manifolds' own laws, and problems with exact answers."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from zoptim import noise
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.manifolds import Geoopt, Pymanopt, Sphere, Stiefel
from zoptim.methods.riemannian import zo_riemannian
from zoptim.protocols import Manifold
from zoptim.spaces.curved import Curved
from zoptim.testing import objective

KEY = noise.key_from_seed(5)


def normals(what: str, *shape: int) -> np.ndarray:
    z = noise.normals(KEY, 0, 0, noise.slot_id(what), 0, int(np.prod(shape)), noise.INITIAL)
    return z.astype(np.float64).reshape(shape)


def on(manifold: Manifold, d: int, what: str = "x") -> np.ndarray:
    x = normals(what, d)
    return np.ascontiguousarray(manifold.retract(x, 0 * x))


MANIFOLDS = [(Sphere(), 7), (Sphere(2.5), 4), (Stiefel(6, 3), 18), (Stiefel(4, 4), 16)]


@pytest.mark.parametrize(("manifold", "d"), MANIFOLDS, ids=str)
def test_steps_are_tangent_and_come_back(manifold: Manifold, d: int) -> None:
    x, v = on(manifold, d), normals("v", 5, d)
    tangent = manifold.project(x, v)
    np.testing.assert_allclose(manifold.project(x, tangent), tangent, atol=1e-12)  # a projection
    back = manifold.retract(x, tangent)
    np.testing.assert_allclose(manifold.retract(back[0], 0 * back[0]), back[0], atol=1e-10)  # on the manifold
    normal = v - tangent
    np.testing.assert_allclose((normal * tangent).sum(-1), 0.0, atol=1e-10)  # at right angles
    h = 1e-6
    np.testing.assert_allclose(
        (manifold.retract(x, h * tangent) - x) / h, tangent, atol=1e-4
    )  # of first order


def edition(f, x, manifold, *, slot, steps, lr, eps, n):  # type: ignore[no-untyped-def]
    """arXiv 2003.11238, algorithm 1."""
    path = [x]
    for t in range(steps):
        u0 = [noise.normals(KEY, t, j, slot, 0, x.size).astype(np.float64) for j in range(n)]
        u = [manifold.project(x, z) for z in u0]  # u_j = P_x u0_j
        quotients = [(f(manifold.retract(x, eps * z)[None])[0] - f(x[None])[0]) / eps for z in u]
        g = sum(q * z for q, z in zip(quotients, u, strict=True)) / n  # (4)
        x = manifold.retract(x, -lr * g)  # x_{k+1} = Retr(-eta g)
        path.append(x)
    return path


@pytest.mark.parametrize(("manifold", "d"), MANIFOLDS[:3], ids=str)
def test_the_trajectory_is_the_papers(manifold: Manifold, d: int) -> None:
    a = normals("a", d)

    def f(x: np.ndarray) -> np.ndarray:
        return np.asarray(((x - a) ** 2).sum(-1))

    space = Curved(on(manifold, d), manifold)
    expected = edition(f, space.x.copy(), manifold, slot=space.slot.id, steps=6, lr=0.05, eps=1e-4, n=3)
    run = Run(space, zo_riemannian(0.05, 1e-4, manifold=manifold, n=3), Journal.create(None, {"key": KEY}))
    for x in expected[1:]:
        run.step(objective(f))
        np.testing.assert_allclose(space.x, x, rtol=0, atol=1e-9)
    other = Curved(on(manifold, d), manifold)
    Run(other, run.method, Journal(None, run.journal.dump()))
    assert other.x.tobytes() == space.x.tobytes()


def solved(f, manifold: Manifold, d: int, steps: int, **settings: float) -> np.ndarray:  # type: ignore[no-untyped-def]
    space = Curved(on(manifold, d), manifold)
    run = Run(
        space, zo_riemannian(manifold=manifold, **settings), Journal.create(None, {"key": KEY}), horizon=steps
    )  # type: ignore[arg-type]
    for _ in range(steps):
        run.step(objective(f))
    return space.x


def test_the_leading_eigenvector_is_found_on_the_sphere() -> None:
    b = normals("b", 6, 6)
    a = b + b.T
    x = solved(
        lambda x: -((x @ a) * x).sum(-1), Sphere(), 6, 1500, lr=0.01, eps=1e-5, n=2, differences="central"
    )  # type: ignore[arg-type]
    values, vectors = np.linalg.eigh(a)
    assert abs(x @ vectors[:, -1]) > 1 - 1e-6 and values[-1] - x @ a @ x < 1e-5


def test_procrustes_is_solved_on_stiefel() -> None:
    n, p = 6, 3
    a, truth = normals("A", 10, n), on(Stiefel(n, p), n * p, "truth").reshape(n, p)
    b = a @ truth

    def f(x: np.ndarray) -> np.ndarray:
        return np.asarray(((a @ x.reshape(-1, n, p) - b) ** 2).sum((1, 2)))

    d = n * p - p * (p + 1) // 2
    x = solved(f, Stiefel(n, p), n * p, 600, lr=1e-2, eps=1e-7, n=d)
    assert f(x[None])[0] < 1e-6 * f(on(Stiefel(n, p), n * p)[None])[0]


def test_a_start_off_the_manifold_is_refused() -> None:
    with pytest.raises(ValueError, match="x0 is .* away from the manifold Sphere"):
        Curved(np.ones(3), Sphere())
    with pytest.raises(ValueError, match="a 2 x 2 matrix has 4"):
        Curved(np.ones(3), Stiefel(2, 2))
    with pytest.raises(ValueError, match="differences='both'"):
        zo_riemannian(differences="both")


@pytest.mark.skipif(find_spec("pymanopt") is None, reason="pymanopt is not installed")
def test_a_manifold_of_pymanopt() -> None:
    from pymanopt.manifolds import Stiefel as Theirs

    ours, theirs = Stiefel(5, 2), Pymanopt(Theirs(5, 2, retraction="polar"), (5, 2))
    x, v = on(ours, 10), normals("v", 3, 10)
    np.testing.assert_allclose(theirs.project(x, v), ours.project(x, v), atol=1e-12)
    np.testing.assert_allclose(theirs.retract(x, v), ours.retract(x, v), atol=1e-12)


@pytest.mark.skipif(find_spec("geoopt") is None, reason="geoopt is not installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # its own
def test_a_manifold_of_geoopt() -> None:
    import geoopt

    ours, theirs = Sphere(), Geoopt(geoopt.Sphere(), (4,))
    x, v = on(ours, 4), normals("v", 3, 4)
    np.testing.assert_allclose(theirs.project(x, v), ours.project(x, v), atol=1e-12)
    np.testing.assert_allclose(
        theirs.retract(x, ours.project(x, v)), ours.retract(x, ours.project(x, v)), atol=1e-12
    )

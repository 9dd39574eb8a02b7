"""`minimize` and `Search` on a manifold: every point asked lies on it, step sizes are found along it, searches resume."""

from __future__ import annotations

import json

import numpy as np
import pytest

import zoptim
from zoptim import Search, minimize
from zoptim.manifolds import Sphere, Stiefel
from zoptim.methods.riemannian import zo_riemannian

A = np.diag([1.0, 2.0, 3.0, 5.0, 9.0]) + 0.1
TOP = float(np.linalg.eigvalsh(A)[-1])
START = np.full(5, 5**-0.5)


def rayleigh(x):
    return -float(x @ A @ x)


@pytest.mark.parametrize("method", ["auto", "zo_riemannian"])
def test_the_leading_eigenvector_is_found_on_the_sphere_alone(method):
    asked = []

    def fun(x):
        asked.append(x.copy())
        return rayleigh(x)

    found = minimize(fun, START, method=method, manifold=Sphere(), budget=1500)
    assert found.fun + TOP < 1e-4 and found.nfev == len(asked) <= 1500 and found.method == "zo_riemannian"
    np.testing.assert_allclose(np.linalg.norm(asked, axis=1), 1.0, atol=1e-12)
    np.testing.assert_array_equal(found.trace.values, [rayleigh(x) for x in asked])


@pytest.mark.parametrize("off", [0.0, 1e-8, 1e-4, 1e-2])
def test_a_start_near_a_critical_point_is_left_by_steps_of_a_sound_length(off):
    start = np.linalg.eigh(A)[1][:, 0] + off  # where the function is highest
    found = minimize(rayleigh, start / np.linalg.norm(start), manifold=Sphere(), budget=1500)
    assert found.fun + TOP < 1e-4
    assert max(record.lr for record in found.journal.records) < 5.0  # 1 / curvature is 0.06 or more


def test_a_matrix_keeps_its_shape_on_stiefel():
    start = np.linalg.qr(np.linspace(-1, 2, 10).reshape(5, 2) ** 2)[0]
    found = minimize(lambda x: -float(np.trace(x.T @ A @ x)), start, manifold=Stiefel(5, 2), budget=3000)
    assert found.x.shape == (5, 2) and "Stiefel(rows=5, cols=2)" in found.message
    np.testing.assert_allclose(found.x.T @ found.x, np.eye(2), atol=1e-12)
    assert found.fun + np.linalg.eigvalsh(A)[-2:].sum() < 1e-8


@pytest.mark.parametrize("h", [1e-3, 1.0, 1e3])
def test_the_step_size_follows_the_scale_of_the_function(h):
    one = minimize(lambda x: h * rayleigh(x), START, manifold=Sphere(), budget=300)
    other = minimize(rayleigh, START, manifold=Sphere(), budget=300)
    first = [result.journal.records[0].lr for result in (one, other)]
    assert first[0] * h == pytest.approx(first[1], rel=1e-3)


def test_ask_and_tell_is_minimize_and_resumes_with_the_same_bits():
    found = minimize(rayleigh, START, manifold=Sphere(), budget=200)
    for cut in (0, 3, 10, 20):
        search = Search(START, manifold=Sphere(), budget=200)
        for _ in range(cut):
            search.tell([rayleigh(x) for x in search.ask()])
        state = json.loads(json.dumps(search.state(), allow_nan=False))
        search = Search.from_state(state, manifold=Sphere())
        while not search.done:
            search.tell([rayleigh(x) for x in search.ask()])
        assert search.result().x.tobytes() == found.x.tobytes()
        assert search.result().journal.dump() == found.journal.dump()
    for other in (None, Sphere(2.0)):
        with pytest.raises(ValueError, match="give manifold=..., the same one"):
            Search.from_state(state, manifold=other)


def test_a_manifold_of_ones_own():
    class Product:
        """Two circles."""

        def project(self, x, v):
            parts = x.reshape(2, 2)
            return (
                v.reshape(-1, 2, 2) - (v.reshape(-1, 2, 2) * parts).sum(-1, keepdims=True) * parts
            ).reshape(v.shape)

        def retract(self, x, v):
            y = (x + v).reshape(-1, 2, 2)
            return (y / np.linalg.norm(y, axis=-1, keepdims=True)).reshape(v.shape)

    goal = np.array([0.6, 0.8, -1.0, 0.0])
    found = minimize(
        lambda x: float(((x - goal) ** 2).sum()), np.array([1.0, 0, 0, 1.0]), manifold=Product(), budget=500
    )
    np.testing.assert_allclose(found.x, goal, atol=1e-3)


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        ({"x0": np.ones(5)}, ValueError, "x0 is 0.55 away from the manifold Sphere"),
        ({"manifold": Stiefel(2, 2)}, ValueError, "a 2 x 2 matrix has 4"),
        ({"manifold": Sphere}, TypeError, "give one of zoptim.manifolds"),
        ({"manifold": "sphere"}, TypeError, "give one of zoptim.manifolds"),
        ({"method": "mezo"}, ValueError, "method='mezo': its steps leave the manifold; name one of zo_riemannian"),
        ({"method": zoptim.mezo()}, ValueError, "its steps leave the manifold"),
        ({"method": "zo_gda"}, ValueError, "its steps leave the manifold"),
        ({"method": zo_riemannian(manifold=Sphere(2.0))}, ValueError, "was built for Sphere\\(radius=2.0\\)"),
        ({"bounds": (-1, 1)}, ValueError, "know no bounds, constraints or penalty"),
        ({"output": "average"}, ValueError, "output='average': here there is only best or last or random"),
        ({"constraints": {"type": "ineq", "fun": lambda x: 1.0}}, ValueError, "manifold=.*: not beside constraints"),
        ({"budget": 5}, ValueError, "too small for one step"),
        ({"manifold": None, "method": "zo_riemannian"}, ValueError, "give manifold="),
        ({"manifold": None, "method": zo_riemannian()}, ValueError, "give manifold="),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(wrong, error, says):
    given = {"x0": START, "manifold": Sphere(), "budget": 100, **wrong}
    with pytest.raises(error, match=says):
        minimize(rayleigh, given.pop("x0"), **given)


def test_the_method_for_this_manifold_may_be_given():
    method = zo_riemannian(0.02, 1e-6, n=3)
    found = minimize(rayleigh, START, method=method, manifold=Sphere(), budget=900)
    assert found.fun + TOP < 1e-3 and "as given" in found.message

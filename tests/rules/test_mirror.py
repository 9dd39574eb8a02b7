"""Mirror steps: by hand, where they rest, and what they become in the plain geometry."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoptim.protocols import Stride
from zoptim.rules import Descent, Entropic, PNorm
from zoptim.rules.mirror import link
from zoptim.sets import Simplex


def test_an_entropic_step_by_hand() -> None:
    p, g = np.array([[0.5], [0.25], [0.25]]), np.array([[0.0], [np.log(2.0)], [-np.log(4.0)]])
    Entropic().apply(p, g, Stride(1.0, 0), [])
    np.testing.assert_allclose(p[:, 0], np.array([0.5, 0.125, 1.0]) / 1.625, rtol=1e-15)


@given(
    seed=st.integers(0, 2**32 - 1), lr=st.sampled_from([1e-3, 1.0, 1e4]), scale=st.sampled_from([1.0, 30.0])
)
@settings(deadline=None, max_examples=30)
def test_entropic_steps_stay_in_the_simplex_however_long(seed: int, lr: float, scale: float) -> None:
    r = np.random.default_rng(seed)
    for dtype in (np.float32, np.float64):
        p = (scale * r.dirichlet(np.full(9, 0.3)))[:, None].astype(dtype)
        Entropic(scale).apply(p, r.standard_normal((9, 1)).astype(dtype), Stride(lr, 0), [])
        assert p.dtype == dtype and Simplex(scale).contains(p)


def test_entropic_descent_finds_the_minimum_on_the_simplex() -> None:
    a, p = np.array([[0.7], [0.4], [-0.3], [0.1]]), np.full((4, 1), 0.25)
    for k in range(400):
        Entropic().apply(p, p - a, Stride(0.5, k), [])
    np.testing.assert_allclose(p, Simplex().project(a), atol=1e-4)


def test_entropic_steps_refuse_what_has_no_logarithm() -> None:
    for start in (np.array([[0.5], [-0.1]]), np.zeros((2, 1))):
        with pytest.raises(ValueError, match="from 0"):
            Entropic().apply(start, np.ones((2, 1)), Stride(0.1, 0), [])
    with pytest.raises(ValueError, match="all but one are 0"):
        Entropic().apply(np.eye(3)[:, :1].copy(), np.ones((3, 1)), Stride(0.1, 0), [])
    corner = np.eye(3)[:, :1].copy()
    Entropic().apply(corner, np.ones((3, 1)), Stride(0.1, 1), [])  # a run may well end there
    np.testing.assert_array_equal(corner, np.eye(3)[:, :1])
    for bad in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="scale_to="):
            Entropic(bad)


@given(seed=st.integers(0, 2**32 - 1), a=st.floats(1.05, 2.0))
@settings(deadline=None, max_examples=50)
def test_links_undo_one_another_and_are_gradients(seed: int, a: float) -> None:
    x, h = np.random.default_rng(seed).standard_normal((2, 6))
    np.testing.assert_allclose(link(link(x, a), a / (a - 1.0)), x, rtol=1e-7, atol=1e-9)

    def psi(z: np.ndarray) -> float:
        return 0.5 * float(np.sum(np.abs(z) ** a)) ** (2.0 / a)

    x = np.sign(x) * (0.1 + np.abs(x))
    slope = (psi(x + 1e-6 * h) - psi(x - 1e-6 * h)) / 2e-6
    assert link(x, a) @ h == pytest.approx(slope, rel=1e-5, abs=1e-5)


def test_at_power_two_a_p_norm_step_is_plain_descent() -> None:
    p, g = np.linspace(-1, 1, 7)[:, None], np.linspace(2, -1, 7)[:, None]
    q = p.copy()
    PNorm(2.0).apply(p, g.copy(), Stride(0.3, 0), [])
    Descent().apply(q, g.copy(), Stride(0.3, 0), [])
    np.testing.assert_allclose(p, q, atol=1e-14)
    p = np.zeros((2, 1))
    PNorm().apply(p, np.array([[1.0], [0.0]]), Stride(0.1, 0), [])  # from 0, and with log d < 1
    np.testing.assert_allclose(p, [[-0.1], [0.0]])
    for bad in (1.0, 2.5, np.nan):
        with pytest.raises(ValueError, match="power="):
            PNorm(bad)


def test_p_norm_descent_reaches_a_sparse_minimum() -> None:
    p, aim = np.zeros((50, 1)), np.zeros((50, 1))
    aim[3] = 2.0
    for k in range(600):
        PNorm().apply(p, p - aim, Stride(0.05, k), [])
    np.testing.assert_allclose(p, aim, atol=1e-3)

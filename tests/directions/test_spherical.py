"""Directions of one length: what QR says of the same normals, exact lengths over several slots, and equal bits everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from zoptim import kernels, noise
from zoptim.directions import L1Sphere, Sampled, Spherical, UnitSphere
from zoptim.directions.spherical import orthonormal
from zoptim.protocols import Draw, Mix, Slot, Step
from zoptim.testing.subjects import made_up

KEY = noise.key_from_seed(5)
SLOTS = tuple(
    Slot(noise.slot_id(n), n, s) for n, s in (("a", (7, 5)), ("b", (11,)), ("c", (2, 3, 4)), ("d", ()))
)
D = 71
LAWS = [Spherical(), Spherical(3), UnitSphere(4), L1Sphere()]
TERMS = (((Draw(4, 0), 0.5), (Draw(4, 2), -1.25)), ((Draw(9, 1), 2.0), (Draw(4, 2), 1.0)), ())


def flat(slot: Slot) -> tuple[int, int]:
    rows = slot.shape[0] if slot.shape else 1
    return rows, int(np.prod(slot.shape)) // rows


def whole(directions: Any, draws: list[Draw], slots: tuple[Slot, ...] = SLOTS) -> np.ndarray:
    """(k, d), all slots in a row."""
    state = directions.init(slots, KEY)
    mix, parts = Mix.of(*[((z, 1.0),) for z in draws]), []
    for slot in slots:
        out = np.empty((len(draws), *flat(slot)))
        directions.form(out, slot, slice(0, flat(slot)[0]), mix, None, state)
        parts.append(out.reshape(len(draws), -1))
    return np.concatenate(parts, axis=1)


def raw(draws: list[Draw], slots: tuple[Slot, ...] = SLOTS) -> np.ndarray:
    return np.stack(
        [
            np.concatenate([noise.normals(KEY, z.t, z.i, s.id, 0, int(np.prod(s.shape))) for s in slots])
            for z in draws
        ]
    ).astype(np.float64)


def test_a_block_is_the_q_of_qr_over_all_slots() -> None:
    draws = [Draw(3, i) for i in range(4, 8)]  # the second block of four
    q, r = np.linalg.qr(raw(draws).T)
    np.testing.assert_allclose(whole(UnitSphere(4), draws), (q * np.sign(np.diag(r))).T, atol=1e-14)
    np.testing.assert_allclose(whole(Spherical(4), draws), D**0.5 * whole(UnitSphere(4), draws), rtol=1e-15)


@pytest.mark.parametrize("q", [1, 3, 64])
def test_lengths_and_right_angles(q: int) -> None:
    z = whole(UnitSphere(q), [Draw(2, i) for i in range(q)])
    np.testing.assert_allclose(z @ z.T, np.eye(q), atol=1e-13)


def test_another_block_is_another_frame_and_a_part_of_one_is_its_beginning() -> None:
    one, two = (whole(UnitSphere(3), [Draw(2, i) for i in some]) for some in ((0, 1, 2), (3, 4, 5)))
    assert np.abs(one @ two.T).max() > 1e-3
    np.testing.assert_array_equal(whole(UnitSphere(3), [Draw(2, 1)])[0], one[1])


def test_a_block_is_never_wider_than_the_space() -> None:
    slots = (Slot(noise.slot_id("b"), "b", (3,)),)
    z = whole(UnitSphere(8), [Draw(0, i) for i in range(5)], slots)
    np.testing.assert_allclose(z[:3] @ z[:3].T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(z[3:] @ z[3:].T, np.eye(2), atol=1e-12)  # a new block
    assert np.abs(z[3] @ z[0]) > 1e-3


def test_one_dimension_is_a_sign() -> None:
    z = whole(UnitSphere(), [Draw(t, 0) for t in range(40)], (SLOTS[3],))
    assert set(np.round(z[:, 0], 14)) == {-1.0, 1.0}


def test_elimination_in_integers_is_cholesky() -> None:
    g = np.array([[3, -1, 2, 5], [1, 4, -2, 0], [7, 1, 1, -3]])
    found = orthonormal((g @ g.T).tolist()) / 2.0**21
    np.testing.assert_allclose(found, np.linalg.inv(np.linalg.cholesky(g @ g.T)), rtol=1e-14, atol=1e-16)
    twice = np.stack([g[0], 2 * g[0], g[1]])
    assert (
        orthonormal((twice @ twice.T).tolist())[1:] == 0
    ).all()  # nothing is left of what lies along another


@pytest.mark.parametrize("block", [0, -1, 1.5])
def test_blocks_are_whole_numbers(block: Any) -> None:
    with pytest.raises(ValueError, match="block="):
        Spherical(block)


def test_the_l1_sphere_over_all_slots() -> None:
    z = whole(L1Sphere(), [Draw(t, 0) for t in range(8)])
    np.testing.assert_allclose(np.abs(z).sum(1), D, rtol=1e-13)
    np.testing.assert_array_equal(np.sign(z), whole(L1Sphere().image, [Draw(t, 0) for t in range(8)]))


def test_sizes_on_the_l1_sphere_are_exponential() -> None:
    """P(|z| > x) = (1 - x/d)^(d - 1), a sign apart that knows nothing of it."""
    z = whole(L1Sphere(), [Draw(t, i) for t in range(10) for i in range(40)])
    for x in (0.1, 0.5, 1.0, 2.0, 4.0):
        share = (np.abs(z) > x).mean()
        expected = (1 - x / D) ** (D - 1)
        assert abs(share - expected) < 5 * (expected * (1 - expected) / z.size) ** 0.5
    assert abs((z * np.abs(z)).mean()) < 5 * (np.abs(z) ** 2).std() / z.size**0.5


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_numpy_and_torch_form_the_same_bits(law: Any, dtype: str) -> None:
    for slot in SLOTS:
        rows, cols = flat(slot)
        base = torch.from_numpy(made_up("base", rows, cols)).to(getattr(torch, dtype))
        out = torch.empty(3, rows, cols, dtype=base.dtype)
        mix = Mix.of(*TERMS)
        law.form(out, slot, slice(0, rows), mix, base, law.init(SLOTS, KEY), 0.3)
        assert torch.equal(out[2], base)
        if dtype == "bfloat16":
            wide = torch.empty(3, rows, cols)
            law.form(wide, slot, slice(0, rows), mix, base.float(), law.init(SLOTS, KEY), 0.3)
            assert torch.equal(out, wide.bfloat16())
            continue
        same = np.empty(out.shape, dtype)
        law.form(same, slot, slice(0, rows), mix, base.numpy(), law.init(SLOTS, KEY), 0.3)
        assert same.tobytes() == out.numpy().tobytes()


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_the_numpy_kernels_make_the_same_bits(law: Any) -> None:
    best = whole(law, [Draw(5, i) for i in range(6)])
    try:
        kernels.choose("reference")
        assert whole(law, [Draw(5, i) for i in range(6)]).tobytes() == best.tobytes()
    finally:
        kernels.choose("")


@pytest.mark.parametrize("law", [Spherical(3), UnitSphere(2).image, L1Sphere().image], ids=str)
def test_an_update_is_the_step_as_formed(law: Any) -> None:
    slot, state = SLOTS[0], law.init(SLOTS, KEY)
    p = made_up("p", 7, 5).astype(np.float32)
    steps = [Step(tuple(Draw(t, i) for i in range(3)), np.array([0.5, -1.0, 2.0]), -0.1, t) for t in range(4)]
    expected = p.copy()
    for draws, coefs, scale, _ in steps:
        law.form(expected[None], slot, slice(0, 7), Mix(draws, coefs[None]), expected, state, scale)
    assert law.update(p, slot, slice(0, 7), kernels.Steps(steps), state)
    assert p.tobytes() == expected.tobytes() and not np.array_equal(p, made_up("p", 7, 5).astype(np.float32))


def test_coordinates_drawn_are_uniform_and_draws_know_nothing_of_each_other() -> None:
    law = Sampled()
    state = law.init(SLOTS, KEY)
    drawn = law.numbers([Draw(t, i) for t in range(200) for i in range(50)], state)
    counts = np.bincount(drawn, minlength=D)
    assert len(counts) == D
    expected = len(drawn) / D
    assert ((counts - expected) ** 2 / expected).sum() < D + 5 * (2 * D) ** 0.5
    pairs = drawn.reshape(200, 50)
    assert abs((pairs[:, ::2] == pairs[:, 1::2]).mean() - 1 / D) < 5 * (1 / D / (200 * 25)) ** 0.5

"""Directions along chosen weights: numbers for those alone, at the same places in visits and in steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zoptim import kernels
from zoptim.directions import Choosing, Chosen, Dense, Scaled
from zoptim.directions.sparse import anywhere, count, largest, top
from zoptim.kernels.product import scratch_size
from zoptim.method import begun
from zoptim.noise import key_from_seed, slot_id
from zoptim.protocols import Draw, Mix, Point, Slot
from zoptim.spaces.module import Module

KEY = key_from_seed(5)
SLOT = Slot(slot_id("a"), "a", (37, 11))
ALL = slice(0, 37)
rng = np.random.default_rng(4)
BASE = rng.standard_normal((37, 11)).astype(np.float32)
MIX = Mix.of(((Draw(3, 0), 0.5), (Draw(3, 1), -1.25)), ((Draw(3, 1), 2.0),), ())
ONE = Mix.of(((Draw(3, 0), 0.5),))
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


def opened(density: float = 0.2, **how: Any) -> tuple[Choosing, Any]:
    made = Choosing(Dense("normal"), density=density, **how)
    state = made.init((SLOT,), KEY)
    made.begin(SLOT, BASE, state)
    return made, state


@pytest.mark.parametrize("choice", ["magnitude", "random"])
@pytest.mark.parametrize("density", [1e-9, 0.01, 0.3, 0.5, 0.77, 1.0])
def test_the_share_that_is_chosen_is_what_was_asked_for(density: float, choice: Any) -> None:
    _, state = opened(density, choice=choice)
    at = state[SLOT.id]
    assert len(at) == count(BASE.size, density) == max(1, round(density * BASE.size))
    assert (np.diff(at) > 0).all() and at[0] >= 0 and at[-1] < BASE.size


def test_every_element_is_as_likely_by_chance() -> None:
    seen = np.zeros(30)
    for n in range(2000):
        seen[anywhere(KEY, Slot(n, "", (30,)), 30, 1 / 3)] += 1
    assert seen.sum() == 2000 * 10
    assert abs(seen / 2000 - 1 / 3).max() < 0.053  # 5 standard errors


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30), st.data())
def test_top_takes_the_first_of_equal_ones(scores: list[int], data: Any) -> None:
    k = data.draw(st.integers(1, len(scores)))
    expected = sorted(sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:k])
    assert top(np.array(scores), k).tolist() == expected


def test_numbers_are_those_of_the_list() -> None:
    """The j-th position gets the j-th number of the tensor's stream, whatever the mask."""
    made, state = opened()
    at = state[SLOT.id]
    out = np.empty((3, 37, 11), np.float32)
    made.form(out, SLOT, ALL, MIX, None, state)
    plain = np.empty((3, len(at), 1), np.float32)
    kernels.form(plain, None, law="normal", key=KEY, slot=SLOT.id, rows=slice(0, len(at)),
                 draws=[(3, 0), (3, 1)], coefs=MIX.coefs)  # fmt: skip
    expected = np.zeros((3, BASE.size), np.float32)
    expected[:, at] = plain[:, :, 0]
    assert np.array_equal(out.reshape(3, -1), expected)


def test_everything_chosen_is_dense_bitwise() -> None:
    made, state = opened(1.0)
    a, b = np.empty((2, 3, 37, 11), np.float32)
    made.form(a, SLOT, ALL, MIX, BASE, state, -0.7)
    Dense("normal").form(b, SLOT, ALL, MIX, BASE, KEY, -0.7)
    assert np.array_equal(a, b)


@pytest.mark.parametrize(
    "rows", [slice(3, 20), slice(0, 1), np.array([30, 2, 7]), np.arange(37)[::-1].copy()], ids=str
)
@pytest.mark.parametrize("density", [0.004, 0.2])
def test_rows_formed_alone_are_those_formed_with_the_rest(rows: Any, density: float) -> None:
    made, state = opened(density)
    for base in (BASE, None):
        whole = np.empty((3, 37, 11), np.float32)
        made.form(whole, SLOT, ALL, MIX, base, state, 0.3)
        part = np.full((3, *BASE[rows].shape), np.nan, np.float32)
        made.form(part, SLOT, rows, MIX, None if base is None else base[rows], state, 0.3)
        assert np.array_equal(part, whole[:, rows])


STEPS = kernels.Steps(
    [([(3, 0), (3, 1)], np.array([0.5, -1.0]), -0.1, 3), ([(4, 0)], np.array([2.0]), 0.3, 4)]
)


@pytest.mark.parametrize("units", [False, True])
@pytest.mark.parametrize("dtype", DTYPES[:2])
def test_update_has_the_bits_of_form(dtype: torch.dtype, units: bool) -> None:
    made, state = opened()
    scales = rng.uniform(0.1, 3.0, (37, 11)).astype(np.float32) if units else None
    full: Any = Scaled(made, {SLOT.id: scales}) if scales is not None else made
    p = torch.from_numpy(BASE.copy()).to(dtype)
    q = p.clone()
    for draws, coefs, scale, _ in STEPS:
        full.form(q[None], SLOT, ALL, Mix(tuple(Draw(*z) for z in draws), coefs[None]), q, state, scale)
    assert full.update(p, SLOT, ALL, STEPS, state)
    assert torch.equal(p, q) and not torch.equal(p, torch.from_numpy(BASE.copy()).to(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_outside_the_choice_is_touched(dtype: torch.dtype) -> None:
    made, state = opened()
    p = torch.from_numpy(BASE.copy()).to(dtype)
    before = p.clone()
    for _ in range(20):
        made.update(p, SLOT, ALL, STEPS, state)
    inside = np.zeros(BASE.size, bool)
    inside[state[SLOT.id]] = True
    assert np.array_equal((p != before).numpy().ravel(), inside)


def test_half_precision_moves_by_what_the_step_says_in_the_mean() -> None:
    """Rounded stochastically: steps far below an ulp add up."""
    made, state = opened(1.0)
    p = torch.ones(37, 11, dtype=torch.bfloat16)
    steps = kernels.Steps([([(0, 0)], np.array([1.0]), 1e-4, t) for t in range(500)])
    made.update(p, SLOT, ALL, steps, state)
    z = np.empty((1, 37, 11), np.float32)
    made.form(z, SLOT, ALL, Mix.of(((Draw(0, 0), 1.0),)), None, state)
    moved = (p.float().numpy() - 1.0).ravel()
    slope = float(moved @ z.ravel() / (z.ravel() @ z.ravel()))
    assert slope == pytest.approx(0.05, rel=0.05)


def test_given_positions_are_taken_and_other_slots_stand_still() -> None:
    made = Chosen(Dense("normal"), {SLOT.id: np.array([5, 400])})
    other = Slot(slot_id("b"), "b", (3, 2))
    state = made.init((SLOT, other), KEY)
    out = np.empty((1, 37, 11), np.float32)
    made.form(out, SLOT, ALL, ONE, None, state)
    assert np.flatnonzero(out).tolist() == [5, 400]
    still = np.empty((1, 3, 2), np.float32)
    made.form(still, other, slice(0, 3), ONE, None, state)
    assert not still.any()
    p = np.ones((3, 2), np.float32)
    assert made.update(p, other, slice(0, 3), STEPS, state) and (p == 1).all()


@pytest.mark.parametrize("choice", ["gradient", "activations"])
def test_a_choice_that_must_be_measured_says_so(choice: Any) -> None:
    with pytest.raises(ValueError, match=f"mask='{choice}' is measured"):
        opened(choice=choice)


def test_largest_reads_half_precision() -> None:
    p = torch.tensor([[1.0, -4.0], [3.0, -2.0]], dtype=torch.bfloat16)
    assert largest(p, 0.5).tolist() == [1, 2]


@pytest.mark.parametrize("tokens", [1, 3, 4000])
@pytest.mark.parametrize("density", [0.004, 0.2])
def test_a_layer_computes_at_base_and_the_few_numbers(tokens: int, density: float) -> None:
    """With few inputs they are added to the plain product, with many the weights are formed."""
    layer = torch.nn.Linear(11, 37, bias=False)
    space = Module(layer)
    made = Choosing(Dense("normal"), density=density)
    state = begun(made, space, KEY)
    x = torch.from_numpy(rng.standard_normal((tokens, 11)).astype(np.float32))
    points = [Point(((Draw(3, 0), 0.5), (Draw(3, 1), -1.25))), Point(((Draw(3, 1), 2.0),)), Point(())]
    mix = Mix.of(*(p.terms for p in points))
    w = np.empty((3, 37, 11), np.float32)
    made.form(w, space.slots()[0], ALL, mix, layer.weight.detach().numpy(), state)
    with space.visit(points, made, state) as view:
        y = view.split(layer(view.expand(x))).numpy()
    for p in range(3):
        np.testing.assert_allclose(y[p], x.numpy() @ w[p].T, rtol=1e-4, atol=1e-5)


def test_the_layers_product_takes_both_roads() -> None:
    made, state = opened(0.01)
    weight = torch.from_numpy(BASE.copy())
    for tokens, few in ((1, True), (4000, False)):
        x = torch.from_numpy(rng.standard_normal((1, tokens, 11)).astype(np.float32))
        y = x.new_empty(1, tokens, 37)
        if not scratch_size(x, weight):
            pytest.skip("no native product here")
        room = torch.empty(scratch_size(x, weight))
        assert made.multiply(y, x, SLOT, ONE, weight, state, room) is few

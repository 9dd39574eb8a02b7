"""Scaled and coordinate directions: what a draw stands for, in any chunking and of either array kind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoptim.directions import Coordinate, Dense, Scaled
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.method import Method
from zoptim.methods import fzoo, mezo
from zoptim.noise import key_from_seed, slot_id
from zoptim.protocols import Draw, Mix, Record, Slot
from zoptim.spaces.flat import Flat

KEY = key_from_seed(5)
SLOTS = tuple(Slot(slot_id(n), n, s) for n, s in (("a", (7, 5)), ("b", (11,)), ("c", (2, 3, 4))))
rng = np.random.default_rng(3)
SCALES = {SLOTS[0].id: rng.uniform(0.1, 3.0, (7, 5)).astype(np.float32),
          SLOTS[2].id: rng.uniform(0.1, 3.0, (2, 12)).astype(np.float32)}  # fmt: skip
TERMS = (((Draw(4, 0), 0.5), (Draw(4, 2), -1.25)), ((Draw(4, 2), 2.0),), ())
MIX = Mix.of(*TERMS)


def flat(slot: Slot) -> tuple[int, int]:
    """(rows, cols) of a slot as a space gives it."""
    rows = slot.shape[0]
    return rows, int(np.prod(slot.shape)) // rows


def formed(
    directions: Any, slot: Slot, mix: Mix = MIX, rows: Any = slice(None), base: Any = None, **kw: Any
) -> Any:
    n, cols = flat(slot)
    wanted = np.arange(n)[rows]
    rows = slice(int(wanted[0]), int(wanted[-1]) + 1) if isinstance(rows, slice) else wanted
    out = np.full((len(mix.coefs), len(wanted), cols), np.nan, np.float32)
    directions.form(out, slot, rows, mix, base, directions.init(SLOTS, KEY), **kw)
    return out


# -- scaled ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", ["signs", "normal"])
def test_scaled_is_the_scale_times_the_inner_direction(law: Any) -> None:
    plain, made = Dense(law), Scaled(Dense(law), SCALES)
    slot = SLOTS[0]
    one = Mix.of(((Draw(4, 2), 1.0),))
    assert np.array_equal(formed(made, slot, one), formed(plain, slot, one) * SCALES[slot.id])
    assert np.array_equal(formed(made, slot), formed(plain, slot) * SCALES[slot.id])


def test_a_slot_without_scales_is_plain() -> None:
    base = rng.standard_normal((11, 1)).astype(np.float32)
    for kw in ({}, {"base": base}, {"base": base, "scale": -0.3}):
        assert np.array_equal(
            formed(Scaled(Dense(), SCALES), SLOTS[1], **kw), formed(Dense(), SLOTS[1], **kw)
        )


@pytest.mark.parametrize("slot", SLOTS, ids="abc")
def test_scaled_forms_the_same_bits_in_any_chunking(slot: Slot) -> None:
    made = Scaled(Dense("normal"), SCALES)
    n, cols = flat(slot)
    base = rng.standard_normal((n, cols)).astype(np.float32)
    whole = formed(made, slot, base=base, scale=0.7)
    for row in range(n):
        part = formed(made, slot, rows=slice(row, row + 1), base=base[row : row + 1], scale=0.7)
        assert np.array_equal(part[:, 0], whole[:, row])
    looked_up = np.array([n - 1, 0])
    assert np.array_equal(
        formed(made, slot, rows=looked_up, base=base[looked_up], scale=0.7), whole[:, looked_up]
    )


def test_scaled_sum_then_scale_then_base_each_rounded() -> None:
    """`p += s * g` fused is the two roundings of the rule, and `out` may be the base itself."""
    made, slot = Scaled(Dense("normal"), SCALES), SLOTS[0]
    base = rng.standard_normal((7, 5)).astype(np.float32)
    one = Mix.of(TERMS[0])
    g = formed(made, slot, one)[0]
    out = base.copy()
    made.form(out[None], slot, slice(0, 7), one, out, KEY, -0.013)
    assert np.array_equal(out, base + g * np.float32(-0.013))
    g *= 0.013
    base -= g
    assert np.array_equal(out, base)


@pytest.mark.parametrize("law", ["signs", "normal"])
def test_scaled_torch_and_numpy_have_the_same_bits(law: Any) -> None:
    made, slot = Scaled(Dense(law), SCALES), SLOTS[2]
    base = rng.standard_normal((2, 12)).astype(np.float32)
    out = torch.empty(3, 2, 12)
    made.form(out, slot, slice(0, 2), MIX, torch.from_numpy(base), KEY, 0.4)
    assert np.array_equal(out.numpy(), formed(made, slot, base=base, scale=0.4))
    wide = np.empty((3, 2, 12))
    made.form(wide, slot, slice(0, 2), MIX, base.astype(np.float64), KEY, 0.4)
    assert (
        wide.dtype == np.float64
        and np.allclose(wide, out.numpy(), atol=1e-6)
        and not np.array_equal(wide, out.numpy())
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_scaled_half_precision_is_formed_in_float32_and_rounded_once(dtype: torch.dtype) -> None:
    made, slot = Scaled(Dense("signs"), SCALES), SLOTS[0]
    base = torch.from_numpy(rng.standard_normal((7, 5)).astype(np.float32)).to(dtype)
    out, wide = torch.empty(3, 7, 5, dtype=dtype), torch.empty(3, 7, 5)
    made.form(out, slot, slice(0, 7), MIX, base, KEY, 0.01)
    made.form(wide, slot, slice(0, 7), MIX, base.float(), KEY, 0.01)
    assert torch.equal(out, wide.to(dtype))
    alone = base.clone()  # out is base
    made.form(alone[None], slot, slice(0, 7), Mix.of(TERMS[0]), alone, KEY, 0.01)
    assert torch.equal(alone, out[0])


def test_scaled_passes_on_what_the_inner_directions_are() -> None:
    learned = []

    class Inner:
        memoryless, scope = False, "slot"

        def learn(self, record: Record, slot: Any, p: Any, state: Any) -> None:
            learned.append((record, slot, p, state))

    inner: Any = Inner()
    made, record = Scaled(inner, SCALES), Record("move", 0, 0.1)
    made.learn(record, "slot", "p", "state")
    assert (made.memoryless, made.scope, learned) == (False, "slot", [(record, "slot", "p", "state")])
    assert Scaled(Dense(), {}).memoryless and Scaled(Dense(), {}).init(SLOTS, KEY) == KEY


@pytest.mark.parametrize("make", [mezo, fzoo])
def test_a_scaled_run_is_the_plain_run_in_other_units(make: Any) -> None:
    """theta = s u: plain steps on f(s u) in u are scaled steps on f in theta."""
    s = rng.uniform(0.2, 5.0, 12).astype(np.float64)
    target = rng.standard_normal(12)
    method: Method = make(lr=0.01, eps=1e-3, n=3, schedule="constant")
    u, theta = np.zeros(12), np.zeros(12)
    spaces = Flat(u), Flat(theta)
    slot = spaces[1].slots()[0]
    scales = {slot.id: s.astype(np.float32).reshape(12, -1)}
    exact = s.astype(np.float32).astype(np.float64)
    runs = (Run(spaces[0], method, Journal.create(None, {"key": KEY})),
            Run(spaces[1], replace(method, directions=Scaled(method.directions, scales)), Journal.create(None, {"key": KEY})))  # fmt: skip
    for _ in range(20):
        runs[0].step(lambda view: ((view.x * exact - target) ** 2).sum(-1))
        runs[1].step(lambda view: ((view.x - target) ** 2).sum(-1))
    assert np.abs(theta).max() > 1e-3
    assert np.allclose(theta, u * exact, rtol=1e-6, atol=1e-9)


# -- coordinate --------------------------------------------------------------------------------------------


SIZE = sum(int(np.prod(s.shape)) for s in SLOTS)


def test_coordinate_draws_are_the_unit_vectors_in_order() -> None:
    made = Coordinate()
    for j in range(SIZE):
        one = Mix.of(((Draw(0, j), 1.0),))
        whole = np.concatenate([formed(made, s, one).ravel() for s in SLOTS])
        assert np.array_equal(whole, np.eye(SIZE, dtype=np.float32)[j])


def test_a_coordinate_beyond_the_last_is_nothing() -> None:
    one = Mix.of(((Draw(0, SIZE), 1.0),))
    assert not any(formed(Coordinate(), s, one).any() for s in SLOTS)


@settings(max_examples=50, deadline=None)
@given(
    js=st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=6),
    coefs=st.lists(st.floats(-4, 4, width=32), min_size=6, max_size=6),
    scale=st.floats(-2, 2, width=32),
    rows=st.lists(st.integers(0, 6), min_size=1, max_size=9),
)
def test_coordinate_sums_over_looked_up_rows(
    js: list[int], coefs: list[float], scale: float, rows: list[int]
) -> None:
    """Against a sum of unit vectors; a row looked up twice is there twice."""
    slot, base = SLOTS[0], np.arange(35, dtype=np.float32).reshape(7, 5)
    mix = Mix.of(tuple((Draw(1, j), c) for j, c in zip(js, coefs, strict=False)), ())
    wanted = np.zeros(SIZE)
    for j, c in zip(js, coefs, strict=False):
        wanted[j] += scale * c
    got = formed(Coordinate(), slot, mix, rows=np.array(rows), base=base[rows], scale=scale)
    assert np.allclose(got[0], (base + wanted[:35].reshape(7, 5))[rows], atol=1e-5)
    assert np.array_equal(got[1], base[rows])


def test_coordinate_same_in_torch_and_in_place() -> None:
    mix = Mix.of(((Draw(0, 8), 0.5), (Draw(0, 34), -2.0)))
    base = torch.arange(35.0).reshape(7, 5)
    out = torch.empty(1, 7, 5)
    Coordinate().form(out, SLOTS[0], slice(0, 7), mix, base, Coordinate().init(SLOTS, KEY), 0.5)
    wanted = base.clone()
    wanted[1, 3] += 0.25
    wanted[6, 4] -= 1.0
    assert torch.equal(out[0], wanted)
    Coordinate().form(base[None], SLOTS[0], slice(0, 7), mix, base, Coordinate().init(SLOTS, KEY), 0.5)
    assert torch.equal(base, wanted)


def test_coordinate_has_nothing_to_learn() -> None:
    assert Coordinate.memoryless and Coordinate.scope == "rows"
    state = Coordinate().init(SLOTS, KEY)
    ends = {SLOTS[0].id: range(35), SLOTS[1].id: range(35, 46), SLOTS[2].id: range(46, 70)}
    assert state == Coordinate().init(SLOTS, KEY + 1) == ends


@pytest.mark.parametrize("edition", ["", "scalar", "reference"])
@pytest.mark.parametrize("law", ["signs", "normal"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scaled_updates_are_their_forms(edition: str, law: Any, dtype: Any) -> None:
    """A whole update in one sweep has the bits of `form`, step after step, for scaled slots and plain ones."""
    from zoptim import kernels

    rng = np.random.default_rng(0)
    slots = [Slot(5, "a", (9, 700)), Slot(6, "b", (9, 700))]
    scaled = Scaled(Dense(law), {5: rng.uniform(0.5, 2, (9, 700)).astype(np.float32)})
    state = scaled.init(slots, 3)
    kernels.choose(edition)
    try:
        for slot in slots:
            p = rng.standard_normal((9, 700)).astype(dtype)
            want, got = p.copy(), p.copy()
            steps = []
            for t in range(3):
                mix = Mix.of([(Draw(t, i), 0.3 - i) for i in range(t + 1)])
                scaled.form(want[None], slot, slice(0, 9), mix, want, state, -0.1)
                steps.append((mix.draws, mix.coefs[0], -0.1, t))
            assert scaled.update(got, slot, slice(0, 9), kernels.Steps(steps), state)
            assert got.tobytes() == want.tobytes() != p.tobytes()
        assert not scaled.update(got, slot, slice(0, 9), kernels.Steps(steps), state, got)
    finally:
        kernels.choose("")

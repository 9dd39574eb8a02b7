"""Directions of the small weights: the mask follows the unperturbed weights wherever a direction is formed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from zoptim.directions import Dense, Scaled, Small
from zoptim.directions.masked import threshold
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.method import begun
from zoptim.methods.sparse import sparse_mezo
from zoptim.noise import key_from_seed, slot_id
from zoptim.protocols import Draw, Mix, Point, Slot
from zoptim.spaces.module import Module

KEY = key_from_seed(5)
SLOT = Slot(slot_id("a"), "a", (37, 11))
rng = np.random.default_rng(4)
BASE = rng.standard_normal((37, 11)).astype(np.float32)
MIX = Mix.of(((Draw(3, 0), 0.5), (Draw(3, 1), -1.25)), ((Draw(3, 1), 2.0),))
ONE = Mix.of(((Draw(3, 0), 0.5),))


def opened(sparsity: float) -> tuple[Small, Any]:
    made = Small(Dense("normal"), sparsity)
    state = made.init((SLOT,), KEY)
    made.begin(SLOT, BASE, state)
    return made, state


@pytest.mark.parametrize("sparsity", [0.0, 0.2, 0.75, 0.99, 0.99999])
def test_the_share_that_moves_is_what_was_asked_for(sparsity: float) -> None:
    made, state = opened(sparsity)
    out = np.empty((1, 37, 11), np.float32)
    made.form(out, SLOT, slice(0, 37), ONE, None, state, at=BASE)
    moved = out[0] != 0
    assert moved.sum() == max(1, round((1 - sparsity) * BASE.size))
    assert abs(BASE[moved]).max() <= abs(BASE[~moved]).min(initial=math.inf)


def test_what_moves_has_the_bits_of_the_inner_direction() -> None:
    made, state = opened(0.6)
    plain, masked = np.empty((2, 2, 37, 11), np.float32)
    Dense("normal").form(plain, SLOT, slice(0, 37), MIX, BASE, KEY, -0.3)
    made.form(masked, SLOT, slice(0, 37), MIX, BASE, state, -0.3)
    small = abs(BASE) <= state[SLOT.id]
    assert np.array_equal(masked, np.where(small, plain, BASE))


@pytest.mark.parametrize("rows", [slice(3, 20), np.array([30, 2, 7])], ids=["chunk", "looked up"])
def test_rows_formed_alone_are_those_formed_with_the_rest(rows: Any) -> None:
    made, state = opened(0.6)
    whole = np.empty((2, 37, 11), np.float32)
    made.form(whole, SLOT, slice(0, 37), MIX, BASE, state)
    part = np.empty((2, *BASE[rows].shape), np.float32)
    made.form(part, SLOT, rows, MIX, BASE[rows], state)
    assert np.array_equal(part, whole[:, rows])


def test_in_place_is_as_into_a_scratch() -> None:
    made, state = opened(0.6)
    out, p = np.empty((1, 37, 11), np.float32), BASE.copy()
    made.form(out, SLOT, slice(0, 37), ONE, BASE, state, -0.1)
    made.form(p[None], SLOT, slice(0, 37), ONE, p, state, -0.1)
    assert np.array_equal(p, out[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_a_visit_and_a_step_see_one_mask_in_every_precision(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(40, 30, bias=False, dtype=dtype)
    before = layer.weight.detach().clone()
    space = Module(layer, ["weight"])
    run = Run(space, sparse_mezo(lr=1.0, eps=1.0, sparsity=0.7), Journal.create(None, {"key": KEY}))
    eye = torch.eye(40, dtype=dtype)
    with space.visit([Point(((Draw(0, 0), 1.0),))], run.method.directions, run.state):
        probed = (before != layer(eye).T) & (before != 0)
    run.step(lambda view: view.split(layer(view.expand(eye))).double().square().mean((1, 2)))
    moved = layer.weight != before
    assert round(0.3 * 1200) <= probed.sum() <= 0.32 * 1200  # ties in half precision
    assert not (moved & ~probed).any() and moved.any()


def test_a_tensor_of_equal_magnitudes_is_not_masked() -> None:
    assert (
        threshold(np.ones((5, 1)), 0.75)
        == threshold(-torch.ones(5, 1, dtype=torch.bfloat16), 0.75)
        == math.inf
    )
    assert threshold(np.array([[1.0, 1.0, 1.0, -2.0]]), 0.75) == 1.0


def test_units_go_on_top() -> None:
    """In measured units the threshold is begun all the same, and the mask looks at the weights, not at the probe."""
    scales = rng.uniform(0.1, 3.0, (37, 11)).astype(np.float32)
    made = Scaled(Small(Dense("normal"), 0.6), {SLOT.id: scales})

    class Space:
        def slots(self) -> Any:
            return (SLOT,)

        def tensor(self, slot: Slot) -> Any:
            from contextlib import nullcontext

            return nullcontext(BASE)

    state = begun(made, Space(), KEY)  # type: ignore[arg-type]
    a, b = np.empty((2, 1, 37, 11), np.float32)
    made.form(a, SLOT, slice(0, 37), ONE, BASE, state)
    made.form(b, SLOT, slice(0, 37), ONE, None, state, at=BASE)
    assert ((a[0] != BASE) == (abs(BASE) <= state[SLOT.id])).all()
    assert np.array_equal(a[0], BASE + b[0])


def test_a_float32_master_is_refused() -> None:
    """A step would read the master, a probe its rounded image: next to the threshold they disagree."""
    layer = nn.Linear(4, 3, bias=False, dtype=torch.bfloat16)
    space = Module(layer, ["weight"], master=torch.float32)
    for method in (sparse_mezo(), replace(sparse_mezo(), directions=Scaled(sparse_mezo().directions, {}))):
        with pytest.raises(ValueError, match="leave the master out"):
            Run(space, method, Journal.create(None, {"key": KEY}))

"""Sparse methods: equal to the dense ones where they should be, and nothing outside a mask ever moves."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from zoptim.doors.optimizer import Optimizer
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.methods import mezo
from zoptim.methods.sparse import senszoq, sparse_mezo
from zoptim.spaces.flat import Flat
from zoptim.testing.subjects import Subject, subjects

SUBJECTS = pytest.mark.parametrize("subject", subjects(), ids=lambda s: s.name)


def steps(subject: Subject, method: Any, count: int = 4) -> tuple[Any, Run]:
    space = subject.make()
    run = Run(space, method, Journal.create(None, {"key": 7}), horizon=count)
    for _ in range(count):
        run.step(subject.ask(space))
    return space, run


@SUBJECTS
def test_nothing_frozen_is_mezo_bitwise(subject: Subject) -> None:
    plain, a = steps(subject, mezo(lr=0.01, n=2, law="signs"))
    masked, b = steps(subject, sparse_mezo(lr=0.01, n=2, law="signs", sparsity=0.0))
    assert subject.bits(plain) == subject.bits(masked)
    assert list(a.journal.records) == list(b.journal.records)


@SUBJECTS
def test_the_large_weights_never_move_and_the_small_ones_do(subject: Subject) -> None:
    before = subject.values(subject.make())
    space, _ = steps(subject, sparse_mezo(lr=1e-5, sparsity=0.5))
    for slot_id, now in subject.values(space).items():
        was = before[slot_id]
        kept = np.sort(abs(was).ravel())[: round(was.size / 2)]
        assert np.array_equal(now != was, abs(was) <= kept[-1])


def test_a_weight_that_grew_beyond_the_threshold_stays() -> None:
    """Membership follows the weights: pushed out by its own steps, a weight is frozen from then on."""
    space = Flat(np.array([0.01, 0.1, 5.0]))
    run = Run(space, sparse_mezo(lr=0.01, sparsity=0.5), Journal.create(None, {"key": 7}))
    path = [space.x.copy()]
    for _ in range(30):
        run.step(lambda view: -view.x[:, 0])  # downhill is outwards, whatever the draw
        path.append(space.x.copy())
    moved = np.diff(path, axis=0) != 0
    out = int(np.argmax(np.array(path)[:, 0] > 0.1))
    assert 1 < out < 20
    assert moved[:out, 0].all() and not moved[out:, 0].any()
    assert not moved[:, 2].any()


@SUBJECTS
@pytest.mark.parametrize("mask", ["magnitude", "random"])
def test_weights_that_were_not_chosen_never_move(subject: Subject, mask: Any) -> None:
    before = subject.values(subject.make())
    space, run = steps(subject, senszoq(lr=1e-3, density=0.3, mask=mask))
    for slot_id, now in subject.values(space).items():
        moved = np.flatnonzero(now != before[slot_id])
        assert moved.tolist() == run.state[slot_id].tolist()


@SUBJECTS
def test_everything_chosen_is_mezo(subject: Subject) -> None:
    """Bitwise in one piece of numbers; a layer's product is formed by another road, which rounds otherwise."""
    plain, _ = steps(subject, mezo(lr=0.01, n=2))
    whole, _ = steps(subject, senszoq(lr=0.01, n=2, density=1.0))
    for slot_id, a in subject.values(plain).items():
        b = subject.values(whole)[slot_id]
        assert (
            np.array_equal(a, b)
            if subject.name.startswith("flat")
            else np.allclose(a, b, rtol=1e-3, atol=1e-4)
        )


@pytest.mark.parametrize("make", [senszoq, sparse_mezo])
def test_a_checkpoint_of_trained_weights_is_refused(make: Any) -> None:
    """What was read off the initial weights cannot be read off those: they must be replayed from the start."""
    torch.manual_seed(0)
    model = torch.nn.Linear(6, 5)
    fresh, again = copy.deepcopy(model), copy.deepcopy(model)
    x = torch.randn(8, 6)
    optimizer = Optimizer(model, make(lr=1e-3), seed=1)
    for _ in range(3):
        optimizer.step(lambda: (model(x) ** 2).mean())
    state = optimizer.state_dict()
    Optimizer(fresh, make(lr=1e-3), seed=1).load_state_dict(state)
    assert torch.equal(fresh.weight, model.weight)
    with pytest.raises(ValueError, match="onto the model's initial weights"):
        other = Optimizer(again, make(lr=1e-3), seed=1)
        again.load_state_dict(model.state_dict())
        other.load_state_dict(state)


@pytest.mark.parametrize("value", [0, 0.0, -1, 1.01, float("nan"), "all", True])
def test_a_density_out_of_range_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="density="):
        senszoq(density=value)


def test_an_unknown_mask_is_refused_with_the_closest() -> None:
    with pytest.raises(ValueError, match="mask='gradients' must be one of .*did you mean 'gradient'"):
        senszoq(mask="gradients")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [-0.1, 1.0, 1.5, float("nan"), "most", True])
def test_a_sparsity_out_of_range_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="sparsity="):
        sparse_mezo(sparsity=value)

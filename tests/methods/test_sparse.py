"""Sparse methods: equal to the dense ones where they should be, and nothing outside a mask ever moves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.methods import mezo
from zoptim.methods.sparse import sparse_mezo
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


@pytest.mark.parametrize("value", [-0.1, 1.0, 1.5, float("nan"), "most", True])
def test_a_sparsity_out_of_range_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="sparsity="):
        sparse_mezo(sparsity=value)

"""Which examples a step sees: a function of (key, t) alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoptim.lm.batches import WINDOW, Order, evaluation

KEY, OTHER = 12345678901234567890, 8765432109876543210
LENGTHS = [3 + (k * 37) % 29 for k in range(103)]


def test_a_batch_depends_on_key_and_t_alone() -> None:
    straight = [Order(KEY, LENGTHS, 8)(t).tolist() for t in range(40)]
    one = Order(KEY, LENGTHS, 8)
    shuffled = {t: one(t).tolist() for t in np.random.default_rng(0).permutation(40).tolist()}
    assert [shuffled[t] for t in range(40)] == straight
    assert [Order(OTHER, LENGTHS, 8)(t).tolist() for t in range(40)] != straight


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 90), batch=st.integers(1, 100), epoch=st.integers(0, 5))
def test_an_epoch_sees_each_example_at_most_once(n: int, batch: int, epoch: int) -> None:
    lengths = LENGTHS[:n]
    order = Order(KEY, lengths, batch)
    assert order.per_epoch == max(1, n // min(batch, n))
    first = epoch * order.per_epoch
    seen = [order(t) for t in range(first, first + order.per_epoch)]
    assert all(len(b) == min(batch, n) for b in seen)
    flat = np.concatenate(seen)
    assert len(set(flat.tolist())) == len(flat) and set(flat.tolist()) <= set(range(n))
    assert n - len(flat) < min(batch, n)


def test_epochs_differ_and_leave_out_others() -> None:
    order = Order(KEY, LENGTHS, 10)  # 3 of 103 are left out of each epoch
    epochs = [np.sort(np.concatenate([order(10 * e + k) for k in range(10)])) for e in range(30)]
    assert len({e.tobytes() for e in epochs}) > 20
    assert set(np.concatenate(epochs).tolist()) == set(range(103))
    assert order(0).tolist() != order(10).tolist()


def test_batches_hold_like_lengths() -> None:
    """Less is padded than in batches taken at random, but batches do not come sorted."""
    order, lengths = Order(KEY, LENGTHS, 8), np.array(LENGTHS)
    batches = [order(t) for t in range(order.per_epoch)]
    padded = sum(8 * lengths[b].max() - lengths[b].sum() for b in batches)
    random = np.random.default_rng(1).permutation(103)[: 8 * order.per_epoch].reshape(-1, 8)
    assert padded < 0.5 * sum(8 * lengths[b].max() - lengths[b].sum() for b in random)
    means = [lengths[b].mean() for b in batches[:WINDOW]]
    assert means != sorted(means)


@pytest.mark.parametrize("n", [1, 2, 17, 103])
@pytest.mark.parametrize("tokens", [1, 40, 4096])
def test_evaluation_covers_all_once_within_its_tokens(n: int, tokens: int) -> None:
    lengths = LENGTHS[:n]
    batches = evaluation(lengths, tokens)
    assert sorted(np.concatenate(batches).tolist()) == list(range(n))
    assert all(len(b) == 1 or len(b) * max(lengths[i] for i in b) <= tokens for b in batches)
    flat = [lengths[i] for b in batches for i in b]
    assert flat == sorted(flat)


def test_evaluation_of_nothing() -> None:
    assert evaluation([]) == []

"""The flat space: a vector, visited by copies and moved in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoptim import noise
from zoptim.directions import Dense
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.methods import mezo
from zoptim.protocols import Draw, Point, Space
from zoptim.spaces import Flat

KEY = 3
LAWS = {"signs": noise.signs, "normal": noise.normals}


@pytest.mark.parametrize(
    "x",
    [np.zeros((2, 2)), np.zeros(0), np.arange(3), np.zeros(3, np.float16), np.zeros(3, complex)],
    ids=["2-d", "empty", "integers", "float16", "complex"],
)
def test_what_is_no_vector_is_refused(x: np.ndarray) -> None:
    with pytest.raises(ValueError, match="give a non-empty 1-d float array"):
        Flat(x)


@given(
    d=st.integers(1, 70), law=st.sampled_from(sorted(LAWS)), dtype=st.sampled_from([np.float32, np.float64]),
    scales=st.lists(st.lists(st.tuples(st.integers(0, 3), st.floats(-2, 2)), max_size=3), min_size=1, max_size=4),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_points_are_base_plus_sum_bitwise(
    d: int, law: Any, dtype: Any, scales: list[list[tuple[int, float]]]
) -> None:
    x = np.linspace(-1, 1, d).astype(dtype)
    space, before = Flat(x), x.copy()
    points = [Point(tuple((Draw(i, i + 1), s) for i, s in dict(terms).items())) for terms in scales]
    order = list(
        dict.fromkeys(z for p in points for z, _ in p.terms)
    )  # sums run in order of first appearance
    with space.visit(points, Dense(law), KEY) as view:
        assert view.m == len(points) and view.x.shape == (len(points), d) and view.x.dtype == dtype
        got = view.x.copy()
        view.x[:] = 7.0  # the objective's to keep
    for p, point in enumerate(points):
        total = np.zeros(d, dtype)
        for z in order:
            if (scale := dict(point.terms).get(z, 0.0)) != 0.0:
                total = total + dtype(scale) * LAWS[law](KEY, z.t, z.i, space.slot.id, 0, d).astype(dtype)
        np.testing.assert_array_equal(got[p], before + total)
    assert (x == before).all()


def test_it_is_a_space_and_trains_in_place() -> None:
    x = np.zeros(5)
    space: Space = Flat(x)
    (slot,) = space.slots()
    assert slot.shape == (5,) and slot.id == noise.slot_id("x")
    with space.tensor(slot) as p:
        assert p.shape == (5, 1) and np.shares_memory(p, x)
        assert space.widen(p) is p and space.empty_like(p).shape == (5, 1)
        with pytest.raises(AssertionError):
            space.narrow(p, p, slot, slice(0, 5), 1, 0)
    run = Run(space, mezo(lr=0.1), Journal.create(None, {"key": KEY}))
    run.step(lambda view: ((view.x - 1) ** 2).sum(axis=1))
    assert x.any()


def test_what_cannot_be_trained_in_place_is_refused() -> None:
    frozen = np.zeros(4)
    frozen.setflags(write=False)
    for x in (np.zeros(10)[::2], frozen):
        with pytest.raises(ValueError, match=r"give x\.copy\(\)"):
            Flat(x)


def test_a_round_is_one_visit() -> None:
    points = [Point(()), Point(())]
    assert list(Flat(np.zeros(5)).groups(points)) == [points]

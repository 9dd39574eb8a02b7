"""Low-rank methods: equal to simpler ones where they should be; members as factors == as formed; the population's rank."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from zoptim import noise
from zoptim.coefficients import ZScored
from zoptim.directions import LowRank, Members, Subspace
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.methods import lozo, mezo
from zoptim.methods.lowrank import eggroll, lozo_m
from zoptim.protocols import Draw, Mix, Point, Record, Slot, Weighing
from zoptim.spaces.module import Module
from zoptim.testing.subjects import Subject, subjects

SUBJECTS = pytest.mark.parametrize("subject", subjects(), ids=lambda s: s.name)
KEY = noise.key_from_seed(5)
MATRIX = Slot(noise.slot_id("w"), "w", (9, 5))
MEMBERS = [Draw(0, 0), Draw(0, 1), Draw(3, 2)]


def steps(subject: Subject, method: Any, count: int = 4) -> tuple[Any, Run]:
    space = subject.make()
    run = Run(space, method, Journal.create(None, {"key": 7}), horizon=count)
    for _ in range(count):
        run.step(subject.ask(space))
    return space, run


def formed(made: Any, mix: Mix, state: Any, base: Any = None, dtype: Any = np.float64) -> np.ndarray:
    out = np.full((len(mix.coefs), 9, 5), np.nan, dtype)
    made.form(out, MATRIX, slice(0, 9), mix, base, state)
    return out


# -- LOZO-M -----------------------------------------------------------------------------------------------------


@SUBJECTS
def test_momentum_of_zero_is_lozo_bitwise(subject: Subject) -> None:
    plain, a = steps(subject, lozo(lr=0.01, n=2, keep=3))
    other, b = steps(subject, lozo_m(lr=0.01, n=2, keep=3, beta=0.0))
    assert subject.bits(plain) == subject.bits(other)
    assert list(a.journal.records) == list(b.journal.records)


def test_projection_is_the_least_squares_one() -> None:
    """N V_new^T is near the point of the new subspace nearest to N V_old^T: exactly so but for V^T V ~ cols I."""
    slot = Slot(noise.slot_id("wide"), "wide", (3, 4000))
    made, n = Subspace(2, 1), np.random.default_rng(0).standard_normal((3, 2))
    moved = made._projected(n, slot, 4, Draw(5, 0), KEY)
    old, new = (made.transposed(slot, (p, 0), n, KEY) for p in (4, 5))
    best = np.linalg.lstsq(new.T, (n @ old).T, rcond=None)[0].T
    np.testing.assert_allclose(moved, n @ old @ new.T / 4000, rtol=1e-12)
    assert np.abs(moved - best).max() < 0.05 * np.abs(n).max()
    assert np.abs(best).max() < 0.2 * np.abs(n).max()  # another subspace keeps little of N


def test_state_is_thin() -> None:
    made = Subspace(2, 3)
    state = made.init((MATRIX,), KEY)
    for t in range(4):
        made.learn(Record("move", t, 0.1, ((Draw(t, 0), 1.0),)), MATRIX, np.zeros((9, 5)), state)
    assert state[MATRIX.id][1] == 1 and state[MATRIX.id][0].shape == (9, 2)


# -- EGGROLL: members -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", ["normal", "signs"])
def test_every_member_has_its_own_factors(law: Any) -> None:
    zs = formed(Members(2, 1, law), Mix.of(*[((z, 1.0),) for z in MEMBERS]), KEY)
    if law == "normal":  # a few signs may be dependent
        assert [np.linalg.matrix_rank(z) for z in zs] == [2, 2, 2]
        assert np.linalg.matrix_rank(np.vstack(zs)) == 5 and np.linalg.matrix_rank(np.hstack(zs)) == 6
    make = {"normal": noise.normals, "signs": noise.signs}[law]
    a = make(KEY, 3, 2, MATRIX.id, 0, 18).reshape(9, 2).astype(float)
    b = make(KEY, 3, 2, MATRIX.id, 18, 10).reshape(2, 5).astype(float)
    np.testing.assert_allclose(zs[2], a @ b / math.sqrt(2), atol=1e-14)


def test_one_draw_a_step_is_lozo_with_a_new_v_each_step() -> None:
    mix = Mix.of(((Draw(4, 0), 0.3),), ((Draw(9, 0), -1.0),))
    assert np.array_equal(formed(Members(2), mix, KEY), formed(LowRank(2, 1), mix, KEY))


@pytest.mark.parametrize("kind", ["linear", "conv1d"])
@pytest.mark.parametrize("still", [False, True], ids=["population", "and an unmoved point"])
def test_layers_take_each_points_own_factors(kind: str, still: bool) -> None:
    from transformers.pytorch_utils import Conv1D

    torch.manual_seed(0)
    layer = nn.Linear(5, 9).double() if kind == "linear" else Conv1D(9, 5).double()
    space, x = Module(nn.Sequential(layer)), torch.randn(3, 5).double()
    points = [Point(((z, s),)) for z in MEMBERS for s in (0.1, -0.1)] + [Point(())] * still
    with space.visit(points, Members(2), KEY) as view:
        together = view.split(space.model(view.expand(x)))
    for point, seen in zip(points, together, strict=True):
        with torch.no_grad():
            w = layer.weight.clone(), layer.bias.clone()
        for slot in space.slots():
            p = w[0] if len(slot.shape) == 2 else w[1][:, None]
            z = torch.zeros(1, *p.shape, dtype=p.dtype)
            Members(2).form(z, slot, slice(0, len(p)), Mix.of(point.terms), None, KEY)
            p += z[0]
        wanted = x @ (w[0].T if kind == "linear" else w[0]) + w[1]
        assert torch.allclose(seen, wanted, rtol=0, atol=1e-12)


def test_the_update_of_a_population_has_full_rank() -> None:
    torch.manual_seed(0)
    for n, rank in ((2, 2), (6, 6), (20, 6)):
        space = Module(nn.Linear(6, 8, bias=False))
        before = next(space.model.parameters()).detach().clone()
        run = Run(space, eggroll(lr=0.1, n=n), Journal.create(None, {"key": KEY}))
        x = torch.randn(4, 6)
        run.step(lambda view, s=space, x=x: (view.split(s.model(view.expand(x))) ** 2).mean((1, 2)).double())
        moved = next(space.model.parameters()).detach() - before
        assert torch.linalg.matrix_rank(moved.double(), rtol=1e-4) == rank


# -- EGGROLL: scores --------------------------------------------------------------------------------------------


def test_z_scores_by_hand() -> None:
    losses = np.array([1.0, 3.0, 2.0, 2.5])
    coefs = ZScored().weigh(Weighing((Draw(0, 0), Draw(0, 1)), (), losses, np.zeros(2), 1e-3)).coefs
    f = (losses - losses.mean()) / losses.std()
    np.testing.assert_allclose(coefs, [(f[0] - f[1]) / 2, (f[2] - f[3]) / 2])  # sqrt(4) mean f s, s = +-1
    same = ZScored().weigh(Weighing((Draw(0, 0),), (), np.ones(2), np.zeros(1), 1e-3))
    assert not same.coefs.any()


def test_vectors_alone_are_mezos_directions() -> None:
    """On a space of vectors a population's members are dense, as mezo's."""
    slot = Slot(3, "b", (7,))
    mix, a, b = Mix.of(((Draw(0, 1), 1.0),)), np.empty((1, 7, 1)), np.empty((1, 7, 1))
    Members().form(a, slot, slice(0, 7), mix, None, KEY)
    mezo().directions.form(b, slot, slice(0, 7), mix, None, KEY)
    assert np.array_equal(a, b)


@pytest.mark.parametrize("wrong", [{"n": 0}, {"rank": 0}], ids=str)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name}="):
        eggroll(**wrong)

"""One part of the weights at a time: what is left when the parts are all, and that each part is only itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import reference

from zoptim.directions import Blocks, Dense, LowRank, Rotating
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.method import Method
from zoptim.methods import mezo
from zoptim.methods.blocks import blockwise, deepzero
from zoptim.noise import slot_id
from zoptim.processes import spread
from zoptim.protocols import Draw, Mix, Point, Slot
from zoptim.spaces import Flat
from zoptim.spaces.flat import FlatView
from zoptim.testing import functions, objective

KEY, STEPS = 5, 12
PROBLEM = functions.quadratic(8, 5.0)


class Halves(Flat):
    """A vector as two slots of two groups."""

    def __init__(self, x: np.ndarray) -> None:
        super().__init__(x)
        self.parts = [
            Slot(slot_id(n), n, (x.size // 2,), n) for n in "xy"
        ]  # "x": the noise of the whole vector's slot

    def slots(self) -> Any:
        return self.parts

    @contextmanager
    def tensor(self, slot: Slot) -> Iterator[np.ndarray]:
        k, half = self.parts.index(slot), self.x.size // 2
        yield self.x[k * half : (k + 1) * half, None]

    @contextmanager
    def visit(self, points: Any, directions: Any, state: Any) -> Iterator[FlatView]:
        mix, half = Mix.of(*(p.terms for p in points)), self.x.size // 2
        out = np.empty((2, len(points), half, 1))
        for o, slot in zip(out, self.parts, strict=True):
            with self.tensor(slot) as p:
                directions.form(o, slot, slice(0, half), mix, p, state)
        yield FlatView(len(points), np.concatenate([out[0], out[1]], 1)[:, :, 0])


def run_of(method: Method, space: Any, steps: int = STEPS, **how: Any) -> Run:
    run = Run(space, method, Journal.create(None, {"key": KEY}), horizon=STEPS, **how)
    for _ in range(steps):
        run.step(objective(PROBLEM.f))
    return run


# -- blocks ------------------------------------------------------------------------------------------------


def test_one_block_is_mezo() -> None:
    spaces = Flat(PROBLEM.x0.copy()), Flat(PROBLEM.x0.copy())
    runs = [run_of(make(0.05, n=2), s) for make, s in zip((blockwise, mezo), spaces, strict=True)]
    assert np.array_equal(spaces[0].x, spaces[1].x) and not np.array_equal(spaces[0].x, PROBLEM.x0)
    assert list(runs[0].journal.records) == list(runs[1].journal.records)


def test_blocks_take_turns_and_leave_the_others_alone() -> None:
    space = Halves(PROBLEM.x0.copy())
    run = run_of(blockwise(0.05), space, 0)
    for t in range(4):
        before = space.x.copy()
        run.step(objective(PROBLEM.f))
        moved = space.x != before
        assert moved[(t % 2) * 4 : (t % 2) * 4 + 4].all() and moved.sum() == 4


def test_two_blocks_follow_the_reference_where_the_noise_is_the_first_slots() -> None:
    """The edition has one slot; the first block's noise is its first elements, the second's is another slot's."""
    space = Halves(PROBLEM.x0.copy())
    run_of(blockwise(0.05), space, 1)
    path = reference.EDITIONS["blockwise"](
        PROBLEM.f, PROBLEM.x0, key=KEY, slot=slot_id("x"), steps=1, horizon=STEPS, blocks=2,
        **blockwise(0.05).arguments,
    )  # fmt: skip
    np.testing.assert_allclose(space.x, path[-1], rtol=1e-12)


def test_blocks_replay_and_have_noise_of_their_own() -> None:
    space = Halves(PROBLEM.x0.copy())
    run = run_of(blockwise(0.05, law="signs"), space)
    again = Halves(PROBLEM.x0.copy())
    Run(again, blockwise(0.05, law="signs"), Journal(None, run.journal.dump()), horizon=STEPS)
    assert again.x.tobytes() == space.x.tobytes()
    made, state = Blocks(Dense("signs")), Blocks(Dense("signs")).init(space.slots(), KEY)
    z = np.empty((2, 2, 64, 1))
    for k, slot in enumerate(space.slots()):
        made.form(
            z[k],
            slot,
            slice(0, 64),
            Mix.of(((Draw(0, 0), 1.0),), ((Draw(1, 0), 1.0),)),
            None,
            state,
        )
    assert not z[0, 1].any() and not z[1, 0].any() and abs(z[0, 0] * z[1, 1]).all()
    assert not np.array_equal(z[0, 0], z[1, 1])  # the published code: the same


def test_a_draw_may_name_its_group() -> None:
    space = Halves(PROBLEM.x0.copy())
    made = Blocks(Dense())
    state = made.init(space.slots(), KEY)
    draws = (Draw(0, 0), Draw(1, 0), Draw(0, 0, "y"))
    assert [made.touches(s, draws, state).tolist() for s in space.slots()] == [
        [True, False, False],
        [False, True, True],
    ]


def test_blocks_of_low_rank_directions() -> None:
    """Anything can be restricted; without an `update` of its own `form` does it."""
    made = Blocks(LowRank(1, 5, "normal"))
    slots = [Slot(slot_id(n), n, (4, 3), n) for n in "ab"]
    state = made.init(slots, KEY)
    out = np.ones((1, 4, 3))
    for slot, moved in zip(slots, (True, False), strict=True):
        made.form(out, slot, slice(0, 4), Mix.of(((Draw(0, 0), 1.0),)), None, state)
        assert bool(out.any()) == moved
    assert made.memoryless and made.scope == "rows" and made.vectors == 0


# -- coordinates -------------------------------------------------------------------------------------------


def test_all_coordinates_are_the_gradient() -> None:
    space, x = Flat(PROBLEM.x0.copy()), PROBLEM.x0.copy()
    run = run_of(deepzero(0.01, 1e-6, n=8, beta=0.0, schedule="constant"), space, 1)
    exact = [
        (float(PROBLEM.f(x + 1e-6 * e)[0]) - float(PROBLEM.f(x - 1e-6 * e)[0])) / 2e-6
        for e in np.eye(8)[:, None]
    ]
    np.testing.assert_allclose((x - space.x) / 0.01, exact, rtol=1e-4, atol=1e-4)
    assert len(run.journal.records[0].losses) == 9


def test_coordinates_that_leave_keep_their_momentum() -> None:
    space = Flat(PROBLEM.x0.copy())
    run = run_of(deepzero(0.01, n=1, schedule="constant"), space, 1)
    first = space.x != PROBLEM.x0
    before = space.x.copy()
    while run.method.directions.numbers((Draw(run.t, 0),), run.state)[0] == np.flatnonzero(first)[0]:  # type: ignore[attr-defined]
        run.step(objective(PROBLEM.f))
        before = space.x.copy()
    run.step(objective(PROBLEM.f))
    assert first.sum() == 1 and (space.x != before)[first].all() and (space.x != before).sum() == 2


def test_a_set_is_kept_for_its_period_and_every_coordinate_has_its_turn() -> None:
    slots = [Slot(slot_id(n), n, (k,), n) for n, k in (("a", 30), ("b", 10))]
    made = Rotating(8, 3)
    state = made.init(slots, KEY)
    sets = [made.numbers([Draw(t, i) for i in range(8)], state).tolist() for t in range(90)]
    assert all(s == sorted(set(s)) for s in sets)
    assert sets[0] == sets[1] == sets[2] != sets[3]
    assert set().union(*sets) == set(range(40))
    assert made.numbers([Draw(0, 40)], Rotating(60).init(slots, KEY)).tolist() == [-1]


def test_shares_are_chances() -> None:
    slots = [Slot(slot_id(n), n, (100,), n) for n in "abc"]
    made = Rotating(60, 1, {"a": 0.4, "b": 0.2, "c": 1e-12})
    state = made.init(slots, KEY)
    counts = np.zeros(3)
    for period in range(200):
        counts += np.bincount(made.chosen(period, state) // 100, minlength=3)
    np.testing.assert_allclose(counts / 200, [40, 20, 0], atol=1.0)
    dense = Rotating(60, 1, {"a": 1.0, "b": 0.1, "c": 0.1}).init(
        [slots[0]._replace(shape=(40,)), *slots[1:]], KEY
    )
    assert (
        np.diff([0, *np.searchsorted(Rotating(60, 1, {"a": 1.0, "b": 0.1, "c": 0.1}).chosen(0, dense), [40])])
        > 30
    ).all()


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="every=0"):
        deepzero(every=0)
    with pytest.raises(ValueError, match=r"shares\['a'\]=-1"):
        deepzero(shares={"a": -1})


# -- processes ---------------------------------------------------------------------------------------------


class OneByOne(Flat):
    """Every point its own visit."""

    def groups(self, points: Any, directions: Any = None, state: Any = None) -> Any:
        return [[p] for p in points]


def test_records_do_not_depend_on_the_number_of_processes() -> None:
    spaces = [OneByOne(PROBLEM.x0.copy()) for _ in range(2)]
    runs = [run_of(deepzero(0.01, n=6), s, 3, processes=k) for k, s in zip((1, 3), spaces, strict=True)]
    assert list(runs[0].journal.records) == list(runs[1].journal.records)
    assert spaces[0].x.tobytes() == spaces[1].x.tobytes()


def test_processes_hand_errors_back_in_order() -> None:
    def work(x: int) -> int:
        if x > 2:
            raise KeyError(x)
        return x

    assert spread(work, [0, 1, 2], 8) == [0, 1, 2]
    with pytest.raises(KeyError, match="3"):
        spread(work, [0, 3, 1, 4], 2)


def test_a_process_that_dies_is_told(capfd: Any) -> None:
    def work(x: int) -> int:
        import os

        os._exit(3)

    with pytest.raises(RuntimeError, match="without an answer"):
        spread(work, [0, 1], 2)


def test_points_are_visited_block_by_block() -> None:
    torch = pytest.importorskip("torch")
    from zoptim.spaces.module import Module

    space = Module(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)), points_per_pass=4)
    made = Rotating(12)
    state = made.init(space.slots(), KEY)
    points = [Point(()), *(Point(((Draw(0, i), 1.0),)) for i in range(12))]
    assert [len(g) for g in space.groups(points, made, state)] == [4, 4, 4, 1]
    space.sharing = frozenset("01")
    assert [len(g) for g in space.groups(points, made, state)] == [1, 4, 2, 4, 2]
    assert [len(g) for g in space.groups(points)] == [4, 4, 4, 1]


# -- shares ------------------------------------------------------------------------------------------------


def test_grasp_ranks_as_the_exact_scores_do() -> None:
    torch = pytest.importorskip("torch")
    from zoptim.methods.grasp import grasp
    from zoptim.spaces.module import Module

    torch.manual_seed(4)  # a network where |S| would be ranked otherwise
    model = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)).double()
    x, y = torch.randn(40, 4).double(), torch.randn(40, 3).double()
    space = Module(model)
    bits = [p.clone() for p in model.parameters()]
    shares = grasp(
        space,
        lambda v: ((v.split(model(v.expand(x))) - y) ** 2).sum(2).numpy(),
        key=KEY,
        keep=0.3,
        n=4000,
        eps=1e-4,
    )
    assert all(torch.equal(a, b) for a, b in zip(bits, model.parameters(), strict=True))
    names, ps = zip(*model.named_parameters(), strict=True)
    g = torch.autograd.grad(((model(x) - y) ** 2).sum(1).mean(), ps, create_graph=True)
    hg = torch.autograd.grad(sum((a * a.detach()).sum() for a in g), ps)
    s = {n: -(p * h).detach().numpy().ravel() for n, p, h in zip(names, ps, hg, strict=True) if p.dim() > 1}
    bound = np.sort(np.concatenate(list(s.values())))[round(0.3 * 35) - 1]
    exact = {n: float((v <= bound).mean()) for n, v in s.items()}
    assert shares["0.bias"] == shares["2.bias"] == 1.0
    for name, share in exact.items():
        assert shares[name] == pytest.approx(share, abs=0.06)
    assert abs(exact["0.weight"] - exact["2.weight"]) > 0.15  # it had something to find
    size = np.sort(-np.abs(np.concatenate(list(s.values()))))[round(0.3 * 35) - 1]
    unsigned = {n: float((-np.abs(v) <= size).mean()) for n, v in s.items()}
    assert all(abs(unsigned[n] - exact[n]) > 0.09 for n in s)
    with pytest.raises(ValueError, match="keep=1"):
        grasp(space, lambda v: np.zeros(v.m), key=KEY, keep=1)

"""What lies in front of the moved block is computed once: the same answers, fewer rows, and a way back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
from spaces import zoo  # noqa: E402
from spaces.test_lockstep import NAMES, space_of  # noqa: E402
from torch import nn  # noqa: E402

from zoptim.directions import Blocks, Coordinate, Dense, Rotating  # noqa: E402
from zoptim.protocols import Draw, Partial, Point  # noqa: E402
from zoptim.spaces.module import Module, group_of  # noqa: E402

DIRECTIONS, KEY, EPS = Blocks(Dense("signs")), 7, 1e-2
PROBES = [Point(((Draw(0, 0), EPS),)), Point(((Draw(0, 1), -EPS),))]
SHARES = {"llama", "gpt2", "opt", "convolutions"}


def question(name: str, model: nn.Module) -> Any:
    """`zoo.question`, its inputs entered instead of expanded."""
    dtype = next(model.parameters()).dtype

    def ask(view: Any) -> Any:
        if name == "convolutions":
            logits = view.apart(model(view.enter(zoo.PIXELS.to(dtype))))
            return zoo._classes(view, logits)
        logits = model(
            input_ids=view.enter(zoo.IDS), attention_mask=view.enter(zoo.MASK), use_cache=False
        ).logits
        logits = view.apart(logits).double()
        picked = view.expand(zoo.IDS[:, 1:])[..., None]
        logp = torch.log_softmax(logits[:, :-1], -1).gather(-1, picked)[..., 0]
        return -view.split((logp * view.expand(zoo.MASK[:, 1:])).sum(-1)).numpy()

    return ask


@pytest.mark.parametrize("name", sorted(SHARES & set(NAMES)))
def test_every_block_answers_as_with_all_rows(name: str) -> None:
    space = space_of(name, "all", torch.float64)
    ask, state = question(name, space.model), DIRECTIONS.init(space.slots(), KEY)
    assert space.check(ask, PROBES, DIRECTIONS, state) is None
    assert space.lockstep
    verified = space.sharing
    assert len(verified) >= len(state.order) - 3
    for t in range(len(state.order)):
        points = [Point(((Draw(t, 0), EPS),)), Point(((Draw(t, 0), -EPS),)), Point(())]
        seen = []
        for space.sharing in (frozenset(), verified):
            with space.visit(points, DIRECTIONS, state) as view:
                seen.append(ask(view))
        np.testing.assert_allclose(seen[1], seen[0], rtol=1e-12)
        assert not np.array_equal(seen[0][0], seen[0][1])  # the block matters


class Skips(nn.Module):
    """The input comes back after the blocks: rows of two kinds meet."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

    def forward(self, x: Any) -> Any:
        y = x
        for layer in self.layers:
            y = torch.tanh(layer(y))
        return (x + y).sum(-1)


class Plain(Skips):
    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return x.sum(-1)


X = torch.arange(20.0, dtype=torch.float64).view(5, 4).sin()


def bowl(space: Module) -> Any:
    return lambda view: view.split(view.apart(space.model(view.enter(X)))).numpy() ** 2


def made(kind: type[nn.Module]) -> Module:
    torch.manual_seed(0)
    return Module(kind().double())


def test_rows_become_the_points_at_the_moved_block() -> None:
    space = made(Plain)
    state = DIRECTIONS.init(space.slots(), KEY)
    assert space.check(bowl(space), PROBES, DIRECTIONS, state) is None and space.sharing
    rows: list[int] = []
    for layer in space.model.layers:  # type: ignore[union-attr]
        layer.register_forward_hook(lambda m, a, y: rows.append(len(y)))
    for t, expected in ((0, [10, 10, 10]), (1, [5, 10, 10]), (2, [5, 5, 10])):
        rows.clear()
        with space.visit([Point(((Draw(t, 0), s),)) for s in (EPS, -EPS)], DIRECTIONS, state) as view:
            bowl(space)(view)
        assert rows == expected
    with space.visit([Point(()), Point(())], DIRECTIONS, state) as view:
        assert bowl(space)(view).shape == (2, 5)  # nothing moves: repeated at the end
    assert not any(layer._forward_pre_hooks for layer in space.model.layers)  # type: ignore[union-attr]


def test_a_path_around_the_blocks_falls_back() -> None:
    space = made(Skips)
    state = DIRECTIONS.init(space.slots(), KEY)
    assert space.check(bowl(space), PROBES, DIRECTIONS, state) is None
    assert space.lockstep and not space.sharing
    with space.visit([Point(((Draw(1, 0), s),)) for s in (EPS, -EPS)], DIRECTIONS, state) as view:
        assert bowl(space)(view).shape == (2, 5)


def test_dense_directions_have_nothing_to_share() -> None:
    space = made(Plain)
    assert space.check(bowl(space), PROBES, Dense(), KEY) is None
    assert not space.sharing


@pytest.mark.parametrize("directions", [Coordinate(), Rotating(30, 2)])
def test_coordinates_move_one_layer_each(directions: Coordinate) -> None:
    assert isinstance(directions, Partial)
    space = made(Plain)
    state = directions.init(space.slots(), KEY)
    assert space.check(bowl(space), PROBES, directions, state) is None and space.sharing
    points, verified = [Point(((Draw(0, i), EPS),)) for i in range(30)], space.sharing
    seen = []
    for space.sharing in (frozenset(), verified):
        with space.visit(points, directions, state) as view:
            seen.append(bowl(space)(view))
    np.testing.assert_allclose(seen[1], seen[0], rtol=1e-12)
    assert len(np.unique(seen[0].sum(1))) == 30


def test_names_of_blocks() -> None:
    assert group_of("model.layers.12.self_attn.q_proj.weight") == "model.layers.12"
    assert group_of("scale") == "."
    assert [s.group for s in made(Plain).slots()][::2] == ["layers.0", "layers.1", "layers.2"]

"""Low-rank directions: addresses, moments, periods; as factors == as formed; the paper's trajectory on a matrix."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import reference
import torch
import transformers
from torch import nn

from zoptim import noise
from zoptim.directions import Dense, LowRank
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.methods import lozo
from zoptim.noise import key_from_seed, slot_id
from zoptim.protocols import Draw, Mix, Point, Slot
from zoptim.spaces.flat import Flat, FlatView
from zoptim.spaces.module import Module
from zoptim.testing import objective

KEY = key_from_seed(12)
MATRIX = Slot(slot_id("w"), "w", (9, 5))


def formed(
    directions: LowRank, slot: Slot, mix: Mix, rows: Any = None, base: Any = None, dtype: Any = np.float64
) -> np.ndarray:
    n = slot.shape[0]
    wanted = np.arange(n) if rows is None else np.arange(n)[rows]
    out = np.full((len(mix.coefs), len(wanted), math.prod(slot.shape[1:])), np.nan, dtype)
    directions.form(out, slot, slice(0, n) if rows is None else rows, mix, base, KEY)
    return out


def one(*draws: Draw) -> Mix:
    return Mix.of(*[((z, 1.0),) for z in draws])


# -- what a draw stands for -----------------------------------------------------------------------------------


@pytest.mark.parametrize("law", ["normal", "signs"])
def test_addresses(law: Any) -> None:
    """U from the draw, V behind U in the stream of (period, 0), exactly as docs/noise.md says."""
    make = {"normal": noise.normals, "signs": noise.signs}[law]
    u = make(KEY, 7, 2, MATRIX.id, 0, 9 * 3).reshape(9, 3).astype(float)
    vt = make(KEY, 7 // 4, 0, MATRIX.id, 9 * 3, 3 * 5).reshape(3, 5).astype(float)
    z = formed(LowRank(3, 4, law), MATRIX, one(Draw(7, 2)))[0]
    np.testing.assert_allclose(z, u @ vt / math.sqrt(3), rtol=0, atol=1e-14)


def test_v_is_kept_for_a_period_and_shared_by_draws() -> None:
    made = LowRank(2, 4)
    draws = [Draw(4, 0), Draw(7, 0), Draw(7, 3), Draw(8, 0)]
    zs = formed(made, MATRIX, one(*draws))
    assert [np.linalg.matrix_rank(z) for z in zs] == [2, 2, 2, 2]
    assert np.linalg.matrix_rank(np.vstack(zs[:3])) == 2  # one row space, that of V
    assert np.linalg.matrix_rank(np.vstack(zs)) == 4
    assert np.linalg.matrix_rank(np.hstack(zs[:3])) == 6  # three U


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [slice(2, 6), slice(8, 9), np.array([8, 0, 3])], ids=str)
def test_any_rows_have_the_bits_of_the_whole(rows: Any, dtype: Any) -> None:
    mix = Mix.of(((Draw(0, 0), 0.5), (Draw(9, 1), -2.0)), (), ((Draw(9, 1), 1.0),))  # two periods
    base = np.random.default_rng(0).standard_normal((9, 5)).astype(dtype)
    made = LowRank(2, 5)
    whole = formed(made, MATRIX, mix, None, base, dtype)
    assert np.array_equal(formed(made, MATRIX, mix, rows, base[rows], dtype), whole[:, rows])
    assert np.array_equal(whole[1], base)
    alone = formed(made, MATRIX, one(Draw(0, 0), Draw(9, 1)))
    np.testing.assert_allclose(whole[0], base + 0.5 * alone[0] - 2.0 * alone[1], rtol=1e-5, atol=1e-6)


def test_vectors_are_dense_and_tensors_are_matrices() -> None:
    vector, kernel = Slot(slot_id("b"), "b", (11,)), Slot(MATRIX.id, "w", (9, 1, 5))
    mix = Mix.of(((Draw(0, 0), 0.5), (Draw(9, 1), -2.0)))
    out = np.empty((1, 11, 1))
    Dense("normal").form(out, vector, slice(0, 11), mix, None, KEY)
    assert np.array_equal(formed(LowRank(), vector, mix), out)
    assert LowRank().factors(vector, mix, out, KEY) is None
    assert np.array_equal(formed(LowRank(), kernel, mix), formed(LowRank(), MATRIX, mix))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_tensors_have_the_bits_of_arrays(dtype: torch.dtype) -> None:
    mix = one(Draw(3, 0), Draw(60, 1))
    base = torch.from_numpy(np.random.default_rng(1).standard_normal((9, 5))).to(dtype)
    out = torch.empty(2, 9, 5, dtype=dtype)
    LowRank().form(out, MATRIX, slice(0, 9), mix, base, KEY, 0.1)
    wide = np.empty((2, 9, 5), np.float64 if dtype == torch.float64 else np.float32)
    LowRank().form(wide, MATRIX, slice(0, 9), mix, base.double().numpy().astype(wide.dtype), KEY, 0.1)
    assert torch.equal(out, torch.from_numpy(wide).to(dtype))


@pytest.mark.parametrize(("law", "rank"), [("normal", 1), ("normal", 3), ("signs", 2)])
def test_moments(law: Any, rank: int) -> None:
    """E z = 0, E <g,z> z = g, and for normals E |<g,z> z|^2 = (d + 2 (rows + cols + r + 1) / r) |g|^2."""
    slot = Slot(slot_id("m"), "m", (4, 3))
    g = np.random.default_rng(2).standard_normal(12)
    made = LowRank(rank, 1, law)
    z = np.concatenate([formed(made, slot, one(Draw(t, 0))).reshape(1, 12) for t in range(6000)])

    def within(samples: np.ndarray, expected: Any) -> None:
        error = samples.std(axis=0) / math.sqrt(len(samples))
        assert (np.abs(samples.mean(axis=0) - expected) < 5 * error).all()

    within(z, 0.0)
    within((z @ g)[:, None] * z, g)
    if law == "normal":
        second = 12 + 2 * (4 + 3 + rank + 1) / rank
        within((z @ g) ** 2 * (z**2).sum(axis=1) / (g @ g), second)


@pytest.mark.parametrize("wrong", [{"rank": 0}, {"rank": 1.5}, {"keep": 0}, {"keep": -3}], ids=str)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name}="):
        lozo(**wrong)


# -- the paper ------------------------------------------------------------------------------------------------


class MatrixSpace(Flat):
    """A flat vector, told to be a matrix."""

    def __init__(self, x: np.ndarray, shape: tuple[int, int]) -> None:
        super().__init__(x)
        self.slot = Slot(self.slot.id, "x", shape)

    @contextmanager
    def visit(self, points: Sequence[Point], directions: Any, state: Any) -> Iterator[FlatView]:
        out = np.empty((len(points), *self.slot.shape))
        mix = Mix.of(*(point.terms for point in points))
        rows = slice(0, self.slot.shape[0])
        directions.form(out, self.slot, rows, mix, self.x.reshape(self.slot.shape), state)
        yield FlatView(len(points), out.reshape(len(points), -1))

    @contextmanager
    def tensor(self, slot: Slot) -> Iterator[np.ndarray]:
        yield self.x.reshape(slot.shape)


@pytest.mark.parametrize(
    "how", [{}, {"keep": 3}, {"rank": 1, "keep": 1}, {"rank": 3, "n": 4, "keep": 2, "schedule": "cosine"}],
    ids=str,
)  # fmt: skip
def test_the_papers_trajectory_on_a_matrix(how: dict[str, Any]) -> None:
    """Also over the steps where V is renewed: what is applied is what was probed."""
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((8, 12)), rng.standard_normal(8)

    def f(x: np.ndarray) -> np.ndarray:
        return np.log1p((x @ a.T - b) ** 2).sum(axis=1)

    x0 = rng.standard_normal(12)
    method = lozo(0.01, 1e-2, **how)
    space = MatrixSpace(x0.copy(), (4, 3))
    run = Run(space, method, Journal.create(None, {"key": KEY}), horizon=7)
    path = reference.lozo(
        f, x0, key=KEY, slot=space.slot.id, steps=7, horizon=7, shape=(4, 3), **method.arguments
    )
    for t in range(7):
        run.step(objective(f))
        np.testing.assert_allclose(space.x, path[t + 1], rtol=1e-10)


# -- as factors -----------------------------------------------------------------------------------------------

EPS = 1e-2
POINTS = [
    Point(((Draw(0, 0), EPS),)),
    Point(()),
    Point(((Draw(0, 0), -EPS),)),
    Point(((Draw(0, 1), EPS), (Draw(70, 2), 0.5 * EPS))),  # two periods
]
IDS = torch.from_numpy(np.random.default_rng(0).integers(4, 50, (3, 8)))
COMMON = {"vocab_size": 50, "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3}
WIDE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 32}
CONFIGS = {
    "llama": lambda: transformers.LlamaConfig(
        **COMMON, **WIDE, intermediate_size=24, num_key_value_heads=1, attention_bias=True
    ),
    "qwen2, tied": lambda: transformers.Qwen2Config(
        **COMMON, **WIDE, intermediate_size=24, num_key_value_heads=1, tie_word_embeddings=True
    ),
    "gpt2, tied": lambda: transformers.GPT2Config(**COMMON, n_embd=16, n_layer=2, n_head=2, n_positions=32),
}
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 3e-2}


class Formed(LowRank):
    """The same directions without their factors."""

    factors = None  # type: ignore[assignment]


def made(name: str, dtype: torch.dtype = torch.float32) -> Module:
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS[name]())
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return Module(model.to(dtype))


def losses(space: Module, directions: LowRank, points: Sequence[Point]) -> np.ndarray:
    with space.visit(points, directions, KEY) as view:
        return np.asarray(view.split(answer(space.model, view.expand(IDS))))


def answer(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    logp = model(input_ids=ids, use_cache=False).logits.double().log_softmax(-1)
    return -logp[:, :-1].gather(-1, ids[:, 1:, None])[..., 0].mean(-1)


def by_hand(space: Module, points: Sequence[Point]) -> np.ndarray:
    """Deep copies whose every tensor is moved by U V^T / sqrt(r), formed by numpy in float64."""
    rows = []
    for point in points:
        twin = copy.deepcopy(space.model)
        own = dict(twin.named_parameters(remove_duplicate=False))
        for slot in space.slots():
            p = own[slot.name].data
            for z, c in point.terms:
                if p.dim() == 1:
                    move = noise.normals(KEY, z.t, z.i, slot.id, 0, p.numel()).astype(float)
                else:
                    n, cols = p.shape
                    u = noise.normals(KEY, z.t, z.i, slot.id, 0, n * 2).reshape(n, 2).astype(float)
                    vt = noise.normals(KEY, z.t // 50, 0, slot.id, n * 2, 2 * cols).reshape(2, cols)
                    move = u @ vt / math.sqrt(2)
                p.copy_((p.double() + c * torch.from_numpy(move)).to(p.dtype))
        with torch.no_grad():
            rows.append(np.asarray(answer(twin, IDS)))
    return np.stack(rows)


def near(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    return bool(np.abs(a - b).max() <= tolerance * np.abs(b).max())


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize("name", list(CONFIGS))
def test_factors_are_what_would_be_formed(name: str, dtype: torch.dtype) -> None:
    space = made(name, dtype)
    before = {k: v.clone() for k, v in space.model.state_dict().items()}
    together = losses(space, LowRank(), POINTS)
    tolerance = TOLERANCE[dtype]
    alone = np.concatenate([losses(space, LowRank(), [p]) for p in POINTS])
    assert near(together, alone, tolerance)
    assert near(together, losses(space, Formed(), POINTS), tolerance)
    assert near(together, by_hand(space, POINTS), tolerance)
    assert not near(together[0], together[2], min(tolerance, 1e-3))  # the points do differ
    with torch.no_grad():
        assert near(together[1], np.asarray(answer(space.model, IDS)), tolerance)
    assert all(torch.equal(v, before[k]) for k, v in space.model.state_dict().items())


@pytest.mark.parametrize("name", list(CONFIGS))
def test_no_matrix_is_formed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Embeddings form the rows looked up; Linear and Conv1D weights are never formed."""
    asked: list[tuple[str, int]] = []
    form = LowRank.form

    def noting(self: LowRank, out: Any, slot: Slot, *args: Any, **kwargs: Any) -> None:
        asked.append((slot.name, out.shape[1]))
        form(self, out, slot, *args, **kwargs)

    monkeypatch.setattr(LowRank, "form", noting)
    space = made(name)
    losses(space, LowRank(), POINTS)
    looked_up = len(IDS.unique())
    matrices = {s.name: s.shape[0] for s in space.slots() if len(s.shape) > 1}
    formed_rows = {n: rows for n, rows in asked if n in matrices}
    tables = ("embed_tokens", "wpe", "lm_head")  # a tied table goes by its head's name
    assert all(any(table in n for table in tables) for n in formed_rows)
    assert all(rows <= max(looked_up, IDS.shape[1]) < 50 for rows in formed_rows.values())
    assert len(matrices) > len(formed_rows) > 0


def test_candidates_rows_of_a_head() -> None:
    space = made("llama")
    head, rows = space.model.lm_head, np.array([7, 3])
    x = torch.randn(len(POINTS) * 2, 16)
    with space.visit(POINTS, LowRank(), KEY):
        some, all_ = head.forward(x, rows=rows), head.forward(x)
    assert near(some.numpy(), all_[:, torch.from_numpy(rows)].numpy(), 1e-5)


def test_convolutions_are_formed() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 5))
    space, x = Module(model.double()), torch.randn(2, 3, 4, 4).double()
    with space.visit(POINTS, LowRank(), KEY) as view:
        together = view.split(model(view.expand(x))).numpy()
    with space.visit(POINTS, Formed(), KEY) as view:
        assert near(together, view.split(model(view.expand(x))).numpy(), 1e-12)
    assert not near(together[0], together[2], 1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_run_replays_bitwise(dtype: torch.dtype) -> None:
    space, other = made("gpt2, tied", dtype), made("gpt2, tied", dtype)
    run = Run(space, lozo(1e-3, 1e-2, keep=2), Journal.create(None, {"key": KEY}), horizon=5)
    for _ in range(5):
        assert run.step(lambda view: view.split(answer(space.model, view.expand(IDS)))).kind == "move"
    Run(other, lozo(1e-3, 1e-2, keep=2), Journal(None, run.journal.dump()), horizon=5)
    for slot in space.slots():
        assert torch.equal(space.parameter(slot), other.parameter(slot))


def test_a_subclass_that_forms_otherwise_has_no_factors() -> None:
    class Other(LowRank):
        def form(self, *args: Any, **how: Any) -> None: ...

    slot = Slot(1, "w", (4, 3))
    mix = Mix((Draw(0, 0),), np.ones((1, 1)))
    like = np.zeros((4, 3), np.float32)
    assert LowRank().factors(slot, mix, like, 5) is not None
    assert Other().factors(slot, mix, like, 5) is None

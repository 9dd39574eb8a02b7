"""The module space: lockstep == one by one == plainly perturbed copies, on many architectures; and home."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import zoptim.spaces.layers as layers  # noqa: E402
import zoptim.spaces.module as module_space  # noqa: E402
from zoptim.directions import Dense  # noqa: E402
from zoptim.engine import Run  # noqa: E402
from zoptim.journal import Journal  # noqa: E402
from zoptim.methods import fzoo, mezo  # noqa: E402
from zoptim.protocols import Draw, Mix, Point, Record  # noqa: E402
from zoptim.spaces.module import Module  # noqa: E402

KEY = 5
EPS = 1e-2
POINTS = [
    Point(((Draw(0, 0), EPS),)),
    Point(((Draw(0, 0), -EPS),)),
    Point(()),
    Point(((Draw(0, 1), EPS), (Draw(3, 2), 0.5 * EPS))),
]
SIGNS = Dense("signs")
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 3e-2, torch.float16: 4e-3}

Build = Callable[[], nn.Module]
Question = Callable[[Any, nn.Module], Any]  # (view, model) -> per-item losses (m, B)


class Alone:
    """A view of one plain model."""

    m = 1

    def expand(self, x: Any) -> Any:
        return x

    def split(self, x: Any) -> Any:
        return x[None]


# -- models ------------------------------------------------------------


def language_model(config_name: str, head: str = "CausalLM", **how: Any) -> nn.Module:
    import transformers

    common = {"vocab_size": 50, "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3}
    config = getattr(transformers, config_name)(**{**common, **how})
    torch.manual_seed(0)
    return getattr(transformers, f"AutoModelFor{head}").from_config(config)


SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 32}


def llama(**how: Any) -> nn.Module:
    return language_model("LlamaConfig", intermediate_size=24, num_key_value_heads=1, **SIZES, **how)


def qwen2() -> nn.Module:
    more = {"num_key_value_heads": 1, "tie_word_embeddings": True}
    return language_model("Qwen2Config", intermediate_size=24, **more, **SIZES)


def gpt2() -> nn.Module:
    return language_model("GPT2Config", n_embd=16, n_layer=2, n_head=2, n_positions=32)


def opt() -> nn.Module:
    return language_model("OPTConfig", ffn_dim=24, word_embed_proj_dim=8, **SIZES)


def bert() -> nn.Module:
    return language_model("BertConfig", "SequenceClassification", intermediate_size=24, num_labels=3, **SIZES)


def lora() -> nn.Module:
    import peft

    config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers under an old name
        return peft.get_peft_model(llama(), config)


class Scalar(nn.Module):
    """A parameter without dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.5))

    def forward(self, x: Any) -> Any:
        return self.gain * x


class Vision(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.down = nn.Conv2d(4, 4, 2, stride=2, groups=2, bias=False)
        self.gain, self.group, self.head = Scalar(), nn.GroupNorm(2, 4), nn.Linear(4, 5)
        self.norm.running_mean.uniform_(-1, 1)
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x: Any) -> Any:
        x = self.group(self.gain(self.down(torch.relu(self.norm(self.conv(x))))))
        return self.head(input=x.mean((2, 3)))


class Attentive(nn.Module):
    """Its attention reads out_proj's parameters without calling it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(50, 8), nn.Linear(8, 5)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, ids: Any) -> Any:
        x = self.embed(ids)
        y, _ = self.attention(x, x, x, need_weights=False)
        return self.head((x + y).mean(1))


class Direct(nn.Module):
    """No module that owns parameters is ever called."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(8, 6), nn.Linear(6, 5)

    def forward(self, x: Any) -> Any:
        x = torch.tanh(nn.functional.linear(x, self.inner.weight, self.inner.bias))
        return nn.functional.linear(x, self.head.weight, self.head.bias)


class Mixing(nn.Module):
    """Subtracts the batch mean: rows of a batch are not apart."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(8, 6), nn.Linear(6, 5)

    def forward(self, x: Any) -> Any:
        x = self.inner(x)
        return self.head(torch.tanh(x - x.mean(0, keepdim=True)))


class Positions(nn.Module):
    """Learned positions, asked once for all rows; and a whole model that owns a parameter itself."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place, self.head = nn.Embedding(50, 8), nn.Embedding(8, 8), nn.Linear(8, 5)
        self.project, self.shift = nn.Linear(8, 8), nn.Parameter(torch.randn(8))

    def forward(self, ids: Any) -> Any:
        x = self.embed(ids) + self.project(self.place(torch.arange(ids.shape[1])[None]))
        return {"scores": self.head((x + self.shift).tanh().mean(1)), "nothing": None}


IDS = torch.from_numpy(np.random.default_rng(0).integers(4, 50, (3, 8)))
PIXELS = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 3, 6, 6)))
ROWS = torch.from_numpy(np.random.default_rng(2).normal(size=(3, 8)))
LABELS = torch.tensor([0, 2, 1])


def language(view: Any, model: nn.Module) -> Any:
    logits = model(input_ids=view.expand(IDS), use_cache=False).logits.double()
    logp = torch.log_softmax(logits[:, :-1], -1).gather(-1, view.expand(IDS[:, 1:])[..., None])[..., 0]
    return -view.split(logp.mean(-1)).numpy()


def classes(view: Any, logits: Any) -> Any:
    logp = torch.log_softmax(logits.double(), -1)
    return -view.split(logp.gather(-1, view.expand(LABELS)[:, None])[:, 0]).numpy()


def sentences(view: Any, model: nn.Module) -> Any:
    mask = torch.ones_like(IDS)
    mask[1, 5:] = 0
    return classes(view, model(input_ids=view.expand(IDS), attention_mask=view.expand(mask)).logits)


def plain(data: Any) -> Question:
    def question(view: Any, model: nn.Module) -> Any:
        x = data if not data.is_floating_point() else data.to(next(model.parameters()).dtype)
        out = model(view.expand(x))
        return classes(view, out["scores"] if isinstance(out, dict) else out)

    return question


MODELS: dict[str, tuple[Build, Question]] = {
    "llama": (llama, language),
    "qwen2, tied": (qwen2, language),
    "gpt2": (gpt2, language),
    "opt": (opt, language),
    "bert": (bert, sentences),
    "lora": (lora, language),
    "vision": (Vision, plain(PIXELS)),
    "positions": (Positions, plain(IDS)),
    "attention": (Attentive, plain(IDS)),
    "direct": (Direct, plain(ROWS)),
    "mixing": (Mixing, plain(ROWS)),
}
CLEAN = [name for name in MODELS if name not in ("attention", "direct", "mixing")]


def made(name: str, dtype: Any = torch.float32, **how: Any) -> tuple[Module, Callable[[Any], Any]]:
    """The space of a model (of its trainable parameters) and its objective."""
    build, question = MODELS[name]
    torch.manual_seed(0)
    model = build().to(dtype)
    names = [n for n, p in model.named_parameters() if p.requires_grad]
    space = Module(model, names, **how)
    return space, lambda view: question(view, model)


def perturbed_copies(space: Module, name: str, points: Sequence[Point]) -> np.ndarray:
    """What each point's losses must be: a deep copy, every parameter moved by hand."""
    rows = []
    for point in points:
        twin = copy.deepcopy(space.model)
        mix = Mix.of(point.terms)
        own = dict(twin.named_parameters(remove_duplicate=False))
        for slot in space.slots():
            p = own[slot.name].data
            flat = p.reshape(p.shape[0] if p.dim() else 1, -1)
            out = torch.empty(1, *flat.shape, dtype=p.dtype)
            SIGNS.form(out, slot, slice(0, flat.shape[0]), mix, flat.contiguous(), KEY)
            p.copy_(out.view(p.shape))
        with torch.no_grad():
            rows.append(MODELS[name][1](Alone(), twin))
    return np.concatenate(rows)


def ask(space: Module, objective: Callable[[Any], Any], points: Sequence[Point] = POINTS) -> np.ndarray:
    answers = []
    for group in space.groups(points):
        with space.visit(group, SIGNS, KEY) as view:
            answers.append(objective(view))
    return np.concatenate(answers)


def bits(space: Module) -> bytes:
    tensors = [*space.model.parameters(), *space.model.buffers()]
    return b"".join(x.detach().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes() for x in tensors)


def close(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    return a.shape == b.shape and bool(np.abs(a - b).max() <= tolerance * np.abs(b).max())


# -- lockstep ------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", CLEAN)
def test_lockstep_is_one_by_one_is_plain_copies(name: str, dtype: Any) -> None:
    space, objective = made(name, dtype)
    before = bits(space)
    together = ask(space, objective)
    alone = np.concatenate([ask(space, objective, [p]) for p in POINTS])
    copies = perturbed_copies(space, name, POINTS)
    tolerance = TOLERANCE[dtype]
    assert close(together, alone, tolerance) and close(together, copies, tolerance)
    assert not close(together[:1], together[1:2], 20 * tolerance)  # the points do differ
    assert bits(space) == before
    assert space.check(objective, POINTS, SIGNS, KEY) is None and space.lockstep
    assert bits(space) == before


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", ["llama", "gpt2", "bert", "vision"])
def test_half_precision(name: str, dtype: Any) -> None:
    space, objective = made(name, dtype)
    before = bits(space)
    assert close(ask(space, objective), perturbed_copies(space, name, POINTS), TOLERANCE[dtype])
    assert bits(space) == before


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_formed_weights_are_the_copies_weights_bitwise(dtype: Any) -> None:
    space, _ = made("llama", dtype)
    slot = next(s for s in space.slots() if s.name.endswith("gate_proj.weight"))
    base = space.parameter(slot)
    with space.visit(POINTS, SIGNS, KEY) as view:
        got = view.form(slot, slice(0, base.shape[0]), base).clone()
        part = view.form(slot, np.array([3, 0]), base[[3, 0]]).clone()
    whole = torch.empty_like(got)
    SIGNS.form(whole, slot, slice(0, base.shape[0]), Mix.of(*[p.terms for p in POINTS]), base, KEY)
    assert torch.equal(got, whole) and torch.equal(part, whole[:, [3, 0]])
    assert torch.equal(got[2], base) and not torch.equal(got[0], base)


def test_chunks_of_scratch_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("llama", "gpt2"):
        space, objective = made(name)
        whole = ask(space, objective)
        monkeypatch.setattr(layers, "SCRATCH", 50)
        assert close(ask(space, objective), whole, 1e-5)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 9])
def test_points_per_pass(size: int) -> None:
    whole, objective = made("llama")
    space, other = made("llama", points_per_pass=size)
    assert [len(g) for g in space.groups(POINTS)] == [min(size, 4 - i) for i in range(0, 4, size)]
    assert close(ask(space, other), ask(whole, objective), 1e-5)


def noting() -> tuple[dict[str, list[Any]], Dense]:
    """Directions, and the rows they were asked to form of each slot."""
    asked: dict[str, list[Any]] = {}

    class Watching(Dense):
        def form(self, out: Any, slot: Any, rows: Any, *rest: Any, **more: Any) -> None:
            asked.setdefault(slot.name, []).append(rows)
            super().form(out, slot, rows, *rest, **more)

    return asked, Watching("signs")


def test_only_rows_looked_up_are_made() -> None:
    asked, watching = noting()
    space, objective = made("llama")
    with space.visit(POINTS, watching, KEY) as view:
        objective(view)
    (rows,) = asked["model.embed_tokens.weight"]
    np.testing.assert_array_equal(rows, np.unique(IDS.numpy()))


def test_a_subclass_that_forms_otherwise_is_not_bypassed() -> None:
    class Doubled(Dense):
        def form(self, out: Any, slot: Any, rows: Any, mix: Mix, *rest: Any, **more: Any) -> None:
            super().form(out, slot, rows, Mix(mix.draws, 2 * mix.coefs), *rest, **more)

    space, objective = made("llama")
    wanted = ask(space, objective, [Point(tuple((z, 2 * c) for z, c in p.terms)) for p in POINTS])
    with space.visit(POINTS, Doubled("signs"), KEY) as view:
        assert close(np.asarray(objective(view)), wanted, 1e-5)


def test_without_a_product_each_row_is_formed_once_a_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, watching = noting()
    space, objective = made("llama")
    fused = ask(space, objective)
    monkeypatch.setattr("zoptim.spaces.visit.scratch_size", lambda x, weight: 0)
    with space.visit(POINTS, watching, KEY) as view:
        assert close(np.asarray(objective(view)), fused, 1e-5)
    head = [np.arange(50)[r] for r in asked["lm_head.weight"]]
    pairs = sum(any(p.terms for p in POINTS[pair]) for pair in view.pairs())
    np.testing.assert_array_equal(np.concatenate(head), np.tile(np.arange(50), pairs))  # each row once a pair


def test_a_head_may_score_some_rows_only() -> None:
    space, _ = made("llama", torch.float64)
    head, some = space.model.lm_head, np.array([7, 3, 11])
    x = torch.from_numpy(np.random.default_rng(3).normal(size=(3, 16)))
    with space.visit(POINTS, SIGNS, KEY) as view:
        whole = head(view.expand(x))
        part = head.forward(view.expand(x), rows=some)
    np.testing.assert_allclose(part.detach(), whole[:, torch.from_numpy(some)].detach(), rtol=1e-12)


def test_tied_tensors_are_one_slot_and_move_together() -> None:
    space, _ = made("qwen2, tied", torch.float64)
    names = [s.name for s in space.slots()]
    assert "lm_head.weight" in names and "model.embed_tokens.weight" not in names and names == sorted(names)
    assert (
        len([m for m, own in space.owners.items() if "lm_head.weight" in [s.name for s in own.values()]]) == 2
    )
    alias, _ = made("qwen2, tied", torch.float64)
    only = Module(alias.model, ["model.embed_tokens.weight"])
    assert [s.name for s in only.slots()] == ["lm_head.weight"]


# -- the check, and what it falls back to ------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", ["attention", "direct", "mixing"])
def test_check_finds_what_lockstep_cannot_do(name: str, dtype: Any) -> None:
    space, objective = made(name, dtype)
    before = bits(space)
    copies = perturbed_copies(space, name, POINTS)
    assert not close(ask(space, objective), copies, TOLERANCE[dtype])
    note = space.check(objective, POINTS, SIGNS, KEY)
    assert note and ("rows of a batch" if name == "mixing" else "read directly") in note
    assert [len(g) for g in space.groups(POINTS)] == [1] * 4
    assert close(ask(space, objective), copies, TOLERANCE[dtype])
    assert bits(space) == before
    with suppress(ZeroDivisionError), space.visit(POINTS[:1], SIGNS, KEY) as view:
        objective(view)
        _ = 1 / 0
    assert bits(space) == before


def test_modules_that_are_not_used_at_all_keep_lockstep() -> None:
    space, objective = made("positions")
    space.model.spare = nn.Linear(4, 4)
    space = Module(space.model)
    assert any(s.name.startswith("spare") for s in space.slots())
    assert space.check(objective, POINTS, SIGNS, KEY) is None and space.lockstep and not space.swapped


def test_check_survives_a_model_whose_shapes_break_in_lockstep() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(8, 5)

        def forward(self, x: Any) -> Any:
            return self.head(x.view(3, 8))

    torch.manual_seed(0)
    model = Fixed()
    space = Module(model)
    note = space.check(lambda view: plain(ROWS)(view, model), POINTS, SIGNS, KEY)
    assert note and "one point at a time" in note
    assert ask(space, lambda view: plain(ROWS)(view, model)).shape == (4, 3)


def test_check_passes_on_what_is_wrong_with_the_question() -> None:
    space, _ = made("direct")
    with pytest.raises(KeyError):
        space.check(lambda view: {}["no such thing"], POINTS, SIGNS, KEY)


def test_check_of_plain_points_asks_nothing() -> None:
    space, _ = made("direct")
    assert space.check(lambda view: 1 / 0, [Point(())], SIGNS, KEY) is None


# -- home ------------------------------------------------------------


@pytest.mark.parametrize("name", CLEAN)
def test_an_exception_anywhere_leaves_every_bit(name: str) -> None:
    space, objective = made(name)
    before, forwards = bits(space), {m: m.__dict__.get("forward") for m in space.model.modules()}
    calls = 0

    class Failing(Dense):
        def form(self, *args: Any, **how: Any) -> None:
            self.fail()
            super().form(*args, **how)

        def multiply(self, *args: Any, **how: Any) -> bool:
            self.fail()
            return super().multiply(*args, **how)

        def fail(self) -> None:
            nonlocal calls
            calls -= 1
            if calls < 0:
                raise MemoryError

    for calls_ in (0, 1, 3, 6):
        calls = calls_
        with pytest.raises(MemoryError), space.visit(POINTS, Failing("signs"), KEY) as view:
            objective(view)
        assert bits(space) == before
    assert {m: m.__dict__.get("forward") for m in space.model.modules()} == forwards
    assert all(
        isinstance(p, nn.Parameter)
        for m in space.model.modules()
        for p in m._parameters.values()
        if p is not None
    )


def test_buffers_stay_even_if_someone_put_the_model_in_training_mode() -> None:
    space, objective = made("vision")
    before = bits(space)
    plain_answer = ask(space, objective)
    space.model.train()
    assert (ask(space, objective) == plain_answer).all()
    assert bits(space) == before


def test_overridden_forwards_come_back() -> None:
    space, objective = made("vision")
    head = space.model.head
    mine = head.__dict__["forward"] = lambda input: nn.functional.linear(input, head.weight, head.bias)
    ask(space, objective)
    assert head.__dict__["forward"] is mine


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_thousand_visits_change_no_bit(dtype: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 2)).to(dtype)
    space = Module(model)
    before, x = bits(space), ROWS.to(dtype)
    for t in range(1000):
        with space.visit([Point(((Draw(t, 0), s),)) for s in (1e-3, -1e-3)], SIGNS, KEY) as view:
            model(view.expand(x))
    assert bits(space) == before


# -- updates ------------------------------------------------------------


def start(space: Module, method: Any, dump: bytes | None = None) -> Run:
    journal = Journal.create(None, {"key": KEY}) if dump is None else Journal(None, dump)
    return Run(space, method, journal, horizon=10)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_tiny_updates_arrive_in_expectation(dtype: Any) -> None:
    linear = nn.Linear(64, 64, bias=False).to(dtype)
    nn.init.ones_(linear.weight)
    space = Module(linear)
    run = start(space, mezo(lr=1.0, law="signs"))
    steps, c = 400, 2e-5  # far below half the distance of neighbours, 2**-9 or 2**-12
    for t in range(steps):
        run.commit(Record("move", t, 1.0, ((Draw(0, 0), c),)))
    z = torch.empty(1, 64, 64)
    SIGNS.form(z, space.slots()[0], slice(0, 64), Mix.of(((Draw(0, 0), 1.0),)), None, KEY)
    moved = -(linear.weight.detach().double() - 1.0) * z[0]
    error = float(moved.std()) / 64
    assert error < 0.1 * steps * c
    assert abs(float(moved.mean()) - steps * c) < 5 * error


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", ["llama", "vision", "lora"])
def test_steps_replay_bitwise(name: str, dtype: Any) -> None:
    def method() -> Any:
        return fzoo(lr=1e-3, n=3) if name != "lora" else mezo(lr=1e-3, n=2, weight_decay=0.1)

    space, objective = made(name, dtype)
    first = bits(space)
    run = start(space, method())
    for _ in range(4):
        assert run.step(objective).kind == "move"
    assert bits(space) != first
    other, again = made(name, dtype)
    reopened = start(other, method(), run.journal.dump())
    assert bits(other) == bits(space)
    assert reopened.step(again) == run.step(objective)
    assert bits(other) == bits(space)


def test_frozen_parameters_and_other_layouts() -> None:
    plain_, objective = made("vision")
    turned, other = made("vision")
    turned.model.to(memory_format=torch.channels_last)
    assert not turned.model.conv.weight.is_contiguous()
    a, b = start(plain_, mezo(lr=1e-2)), start(turned, mezo(lr=1e-2))
    assert close(ask(turned, other), ask(plain_, objective), 1e-5)
    record = a.step(objective)
    b.commit(record)
    for p, q in zip(plain_.model.parameters(), turned.model.parameters(), strict=True):
        assert torch.equal(p, q)
    frozen = {n: p.clone() for n, p in plain_.model.named_parameters() if not n.startswith("head")}
    head = Module(plain_.model, (n for n, _ in plain_.model.named_parameters() if n.startswith("head")))
    start(head, mezo(lr=1e-2)).step(objective)
    assert all(torch.equal(frozen[n], p) for n, p in plain_.model.named_parameters() if n in frozen)
    assert [s.name for s in head.slots()] == ["head.bias", "head.weight"]


def test_what_cannot_be_a_space_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Vision()
    with pytest.raises(ValueError, match=r"no parameter 'conv\.wieght'"):
        Module(model, ["conv.weight", "conv.wieght"])
    with pytest.raises(ValueError, match="nothing to train"):
        Module(model, [])
    with pytest.raises(ValueError, match="nothing to train"):
        Module(nn.ReLU())
    monkeypatch.setattr(module_space, "slot_id", lambda name: 3)
    with pytest.raises(ValueError, match="share the noise address 3"):
        Module(model)


def test_a_run_learns() -> None:
    space, objective = made("vision")
    run = start(space, fzoo(lr=3e-2, n=8, schedule="constant"))
    losses = [run.step(objective).losses[0] for _ in range(200)]
    assert losses[-1] < 0.5 * losses[0] and math.isfinite(losses[-1])


class Stored8(nn.Module):
    """A layer that keeps its weight in a dtype that no kernel knows."""

    def __init__(self) -> None:
        super().__init__()
        values = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 5))).to(torch.float8_e4m3fn)
        self.weight = nn.Parameter(values, requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight.float().T


def test_a_dtype_without_a_kernel_goes_by_way_of_float32_and_says_so_once() -> None:
    model = Stored8()
    with pytest.warns(UserWarning, match="no kernel for torch.float8_e4m3fn: formed in float32") as said:
        space = Module(model)
    assert len(said) == 1
    x, (slot,), before = torch.eye(5), space.slots(), model.weight.float()
    z = np.empty((1, 6, 5), np.float32)
    SIGNS.form(z, slot, slice(0, 6), Mix((Draw(0, 0),), np.ones((1, 1))), None, KEY)
    z_of = torch.from_numpy(z[0])
    with space.visit([Point(((Draw(0, 0), 0.5),))], SIGNS, KEY) as view:
        y = model(view.expand(x))
    assert torch.equal(y.T, (before + 0.5 * z_of).to(torch.float8_e4m3fn).float())
    run = Run(space, mezo(lr=0.5, law="signs"), Journal.create(None, {"key": KEY}))
    run.commit(Record("move", 0, 0.5, ((Draw(0, 0), 2.0),)))
    assert torch.equal(model.weight.float(), (before - z_of).to(torch.float8_e4m3fn).float())

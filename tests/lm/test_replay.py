"""The run is its journal: replay, export, undo, and what a run is used for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lm import little
from lm.test_finetune import events, go, interrupt, lasting, records

from zoptim.journal import effective
from zoptim.lm import models
from zoptim.lm.batches import Order
from zoptim.lm.errors import RunError, UsageError
from zoptim.lm.evaluate import evaluate, predict
from zoptim.lm.existing import rebuild, reopen
from zoptim.lm.finetune import resume
from zoptim.lm.replay import export, replay, undo
from zoptim.lm.session import Session

IDS = torch.arange(40).reshape(4, 10)


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return torch.as_tensor(model(input_ids=IDS).logits)


def rebuilt(run: Path, at: str | int) -> Any:
    opened, journal = reopen(run, data=False)
    rebuild(opened, journal, at)
    return opened.loaded.model


def digest(run: Path, at: str | int) -> str:
    return models.weights_digest(rebuilt(run, at))


# -- replay ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"method": "mezo"},
        {"dtype": "bfloat16", "train": "last-block", "steps": 12},
        {"adapter": "lora:r=2", "steps": 12},
    ],
    ids=["fzoo", "mezo", "bfloat16", "lora"],
)
def test_replay_is_the_run_without_a_forward(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, result = little.finished(**settings)

    def none(*a: Any, **kw: Any) -> Any:
        raise AssertionError("a forward was run")

    monkeypatch.setattr(torch.nn.Module, "__call__", none)
    found = replay(run)
    assert found["equal"] is True and found["weights_sha256"] == result["weights_sha256"]
    assert found["at"] == result["best_t"] == found["steps"] and found["out"] is None
    assert replay(run, at="last")["at"] == len(records(run))


def test_replay_at_any_step(tmp_path: Path) -> None:
    """After t records the weights are those of a run that stopped there."""
    run, result = little.finished()
    base = models.load(little.model()).source["sha256"]
    assert replay(run, at=0)["weights_sha256"] == base
    seen = [replay(run, at=t)["weights_sha256"] for t in (0, 1, 5, 23, 24)]
    assert len(set(seen)) == 5 and seen[-1] == replay(run, at="last")["weights_sha256"]
    assert replay(run, at=5)["equal"] is (True if result["best_t"] == 5 else None)
    part = little.copied(run, tmp_path / "part")
    undo(part, 19)
    assert digest(part, "last") == seen[2]


def test_replay_needs_no_data(tmp_path: Path) -> None:
    files = {name: str(shutil.copy(path, tmp_path)) for name, path in little.choices().items()}
    result = go(tmp_path / "run", **files, steps=6)
    for path in files.values():
        Path(path).unlink()
    assert replay(tmp_path / "run")["weights_sha256"] == result["weights_sha256"]
    assert predict(tmp_path / "run", ["a film"])[0]["answer"] in ("great", "terrible")
    with pytest.raises(UsageError, match="no such file"):
        evaluate(tmp_path / "run")


def test_replay_refuses_files_that_do_not_belong_together(tmp_path: Path) -> None:
    run = little.copied(little.finished()[0], tmp_path / "run")
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps({**result, "weights_sha256": "ab" * 32}))
    with pytest.raises(RunError, match="the run recorded abababababab; its files do not belong together"):
        replay(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (run / "result.json").unlink()
    assert replay(run)["equal"] is None


def test_another_base_is_refused_everywhere(tmp_path: Path) -> None:
    base = little.copied(little.model(), tmp_path / "model")
    go(tmp_path / "run", model=str(base), steps=3)
    shutil.rmtree(base)
    little.copied(little.model(seed=1), base)
    for use in (
        lambda r: replay(r),
        lambda r: export(r, tmp_path / "out"),
        lambda r: predict(r, ["x"]),
        evaluate,
    ):
        with pytest.raises(RunError, match="the run began with"):
            use(tmp_path / "run")
    assert not (tmp_path / "out").exists()


# -- export ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt", "qwen2"])
def test_export_opens_in_plain_transformers(kind: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run, result = little.finished(model=str(little.model(kind)), train="last-block", steps=6)
    found = export(run, tmp_path / "out", at="last")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    ours = rebuilt(run, "last")
    assert torch.equal(logits(plain), logits(ours))
    assert not torch.allclose(logits(plain), logits(models.load(little.model(kind)).model), atol=1e-3)
    assert models.load(tmp_path / "out").source["sha256"] == found["weights_sha256"] == digest(run, "last")
    assert AutoTokenizer.from_pretrained(tmp_path / "out")("It was").input_ids
    assert result["steps"] == 6


def test_export_of_half_precision(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    run, _ = little.finished(dtype="bfloat16", train="last-block", steps=12)
    export(run, tmp_path / "out", at="last")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.bfloat16).eval()
    assert torch.equal(logits(plain), logits(rebuilt(run, "last")))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of PEFT about transformers
def test_export_of_an_adapter_opens_in_peft(tmp_path: Path) -> None:
    import peft
    from transformers import AutoModelForCausalLM

    run, _ = little.finished(adapter="lora:r=2", steps=12)
    export(run, tmp_path / "out", at="last")
    assert not (tmp_path / "out" / "model.safetensors").exists()
    plain = AutoModelForCausalLM.from_pretrained(little.model()).eval()
    bare = logits(plain)
    wrapped = peft.PeftModel.from_pretrained(plain, tmp_path / "out").eval()
    assert torch.equal(logits(wrapped), logits(rebuilt(run, "last")))
    assert not torch.allclose(logits(wrapped), bare, atol=1e-3)
    named = json.loads((tmp_path / "out" / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert Path(named).samefile(little.model())


def test_export_asks_for_a_new_folder(tmp_path: Path) -> None:
    run, _ = little.finished()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thing").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("full", "file"):
        with pytest.raises(UsageError, match="exists and is not empty: name a new folder"):
            export(run, tmp_path / name)
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["thing"]
    (tmp_path / "empty").mkdir()
    assert (Path(export(run, tmp_path / "empty")["out"] or "") / "config.json").is_file()


# -- undo --------------------------------------------------------------------------------------------------


def test_undo_then_replay_then_resume_goes_on_with_fresh_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, "forward", 14)
        go(run)
    wanted = digest(run, 10)
    said = undo(run, 4)
    assert (said["undone"], said["steps"], said["at"]) == (4, 10, 10)
    assert replay(run, at="last")["weights_sha256"] == wanted
    whole = [r.lr for r in records(little.finished()[0])]
    asked: list[list[int]] = []
    real = Session.objective

    def objective(self: Session, split: Any, which: Any, more: Any = None) -> Any:
        asked.append(list(which))
        return real(self, split, which, more)

    monkeypatch.setattr(Session, "objective", objective)
    assert resume(run, quiet=True)["steps"] == 24  # steps in force: those taken back are taken anew
    made = records(run)
    assert [r.t for r in made] == [*range(14), 10, *range(14, 28)]
    assert [r.t for r in effective(made)] == [*range(10), *range(14, 28)]
    assert [r.lr for r in effective(made)] == whole  # the schedule goes on
    opened, journal = reopen(run)
    order = Order(int(journal.header["key"]), opened.splits["train"].lengths, 16)
    assert asked[-14:] == [order(t).tolist() for t in range(14, 28)]  # batches go by t
    losses = [r.losses for r in made if r.losses]
    assert len(set(losses)) == len(losses)  # no step is asked twice
    assert not any(e["t"] in (11, 12, 13) for e in events(run, "eval") if e["t"] > 14)
    found = replay(run)
    assert found["equal"] is True and found["at"] == json.loads((run / "result.json").read_text())["best_t"]


def test_undo_of_a_finished_run(tmp_path: Path) -> None:
    run = little.copied(little.finished()[0], tmp_path / "run")
    wanted, before = digest(run, 20), (run / "journal.zoj").read_bytes()
    undo(run, 4)
    assert (run / "journal.zoj").read_bytes().startswith(before)  # nothing is erased
    assert not (run / "result.json").exists() and (run / "result.undone.json").is_file()
    assert digest(run, "last") == wanted
    again = resume(run, quiet=True)  # four fresh steps in place of those taken back
    assert again["steps"] == 24 and [r.t for r in effective(records(run))] == [*range(20), *range(24, 28)]
    best = replay(run)
    assert best["equal"] is True and best["weights_sha256"] == digest(run, best["at"])


def test_undo_twice_and_all(tmp_path: Path) -> None:
    run = little.copied(little.finished()[0], tmp_path / "run")
    undo(run, 3)
    assert undo(run, 2)["at"] == 19 and digest(run, "last") == digest(little.finished()[0], 19)
    assert undo(run, 19)["steps"] == 0
    assert digest(run, "last") == models.load(little.model()).source["sha256"]
    for steps in (1, 0, -2):
        with pytest.raises(UsageError, match=f"steps={steps}: "):
            undo(run, steps)


# -- use ---------------------------------------------------------------------------------------------------


def test_evaluate_agrees_with_the_run() -> None:
    run, result = little.finished()
    test, dev = evaluate(run), evaluate(run, "dev")
    assert test["accuracy"] == result["accuracy_after"] and test["examples"] == 24
    assert test["loss"] == pytest.approx(result["loss_after"], rel=1e-4)
    assert dev["accuracy"] == result["dev_accuracy"] and dev["loss"] == pytest.approx(
        result["dev_loss"], rel=1e-4
    )
    assert evaluate(run, at=0)["loss"] == pytest.approx(result["loss_before"], rel=1e-4)
    assert evaluate(run, "train")["examples"] == 120
    with pytest.raises(UsageError, match="split='tset' must be train, dev or test"):
        evaluate(run, "tset")


def test_predict_says_what_the_test_said() -> None:
    run, _ = little.finished()
    rows = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    answers = predict(run, [r["text"] for r in rows])
    assert [a["text"] for a in answers] == [r["text"] for r in rows]
    assert [a["answer"] for a in answers] == [r["after"] for r in rows]
    assert [a["p"] for a in answers] == pytest.approx([r["p_after"] for r in rows], rel=1e-4)
    assert all(sum(a["probabilities"].values()) == pytest.approx(1) for a in answers)
    before = predict(run, [r["text"] for r in rows], at=0)
    assert [a["answer"] for a in before] == [r["before"] for r in rows]
    with pytest.raises(UsageError, match="give at least one"):
        predict(run, [])


def test_predict_cuts_texts_that_are_too_long(tmp_path: Path) -> None:
    """Learned positions end at 128: the end of a text is what is read."""
    go(tmp_path / "run", model=str(little.model("gpt2")), steps=2)
    long = "a film about nothing and the plot then " * 60
    (both,) = predict(tmp_path / "run", [long + "warm"])
    assert both["answer"] in ("great", "terrible") and np.isfinite(both["p"])


def test_predict_writes_completions() -> None:
    run, _ = little.finished(writing=True, steps=60, eval_every=30, batch=8)
    answers = predict(run, ["a film about nothing warm =", "old ="])
    assert [a["text"] for a in answers] == ["a film about nothing warm =", "old ="]
    assert all(isinstance(a["answer"], str) and "\n" not in a["answer"] for a in answers)
    alone = predict(run, ["old ="])
    assert alone[0]["answer"] == answers[1]["answer"]  # padding on the left says nothing


def test_answers_that_come_with_each_example(tmp_path: Path) -> None:
    rows = [{"text": t, "choices": ["great", "terrible"] if k % 2 else ["terrible", "great", "old film"], "label": y}
            for k, (t, y) in enumerate(map(little.sentence, range(90)))]  # fmt: skip
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(r) + "\n" for r in rows))
    result = go(tmp_path / "run", data=str(data), dev=None, test=None, candidates="@choices", steps=8)
    assert result["prefix"] == "decode"  # lists of different lengths are no reason to go without
    assert replay(tmp_path / "run")["equal"] is True
    assert evaluate(tmp_path / "run")["accuracy"] == result["accuracy_after"]
    with pytest.raises(UsageError, match="answers that come with each example: use zoptim eval"):
        predict(tmp_path / "run", ["a film"])


def test_a_run_that_was_moved_is_the_same_run(tmp_path: Path) -> None:
    run = little.copied(little.finished()[0], tmp_path / "elsewhere")
    assert replay(run)["equal"] is True
    assert lasting(resume(run, quiet=True)) == lasting(little.finished()[1])

"""`--stream`: whole runs with a model's weights on disk equal those with the model in memory, bit for bit."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from lm import little, tiny  # noqa: E402

from zoptim.journal import Journal  # noqa: E402
from zoptim.lm import evaluate, models, replay  # noqa: E402
from zoptim.lm.errors import RunError, UsageError  # noqa: E402
from zoptim.lm.finetune import finetune, resume  # noqa: E402
from zoptim.spaces import store  # noqa: E402
from zoptim.spaces.streamed import Streamed  # noqa: E402

ROOT = Path(__file__).parents[2]
WINDOW = 6e-5  # GB: two blocks of the little model, or its embeddings
SHORT: dict[str, Any] = {"steps": 6, "eval_every": 3, "batch": 4, "train": "all", "lr": 1e-2, "eps": 1e-2}
STREAM: dict[str, Any] = {"stream": True, "window_gb": WINDOW}


def facts(run: Path, result: dict[str, Any]) -> tuple[Any, ...]:
    told = ("weights_sha256", "weights_sha256_last", "loss_before", "loss_after", "accuracy_after", "best_t")
    return list(Journal.read(run / "journal.zoj").records), [result[k] for k in told]


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("llama", {}),
        ("gpt2", {"dtype": "bfloat16", "method": "mezo", "settings": {}, "window_gb": 3e-5}),
        ("opt", {"points_per_pass": 1}),
        ("qwen2", {"train": "last-block"}),
        ("llama", {"train": "final-norm"}),
        ("llama", {"train": "auto", "adapter": "lora:r=2"}),
    ],
)
def test_a_streamed_run_is_the_resident_run(tmp_path: Path, kind: str, given: dict[str, Any]) -> None:
    more = {**SHORT, "model": str(little.model(kind)), **given}
    window = more.pop("window_gb", WINDOW)
    one, other = tmp_path / "resident", tmp_path / "streamed"
    a = finetune(little.config(one, **more), quiet=True)
    b = finetune(little.config(other, **more, stream=True, window_gb=window), quiet=True)
    assert facts(one, a) == facts(other, b)
    assert a["stream"] is None and b["stream"]["peak"] <= b["stream"]["window"] < b["stream"]["model"]
    assert (b["stream"]["written"] > 0) == (more["train"] in ("all", "last-block"))
    assert not (other / "stream").exists(), "the working copy goes with the end of the run"
    seen = [{**evaluate.evaluate(run), "run": ""} for run in (one, other)]
    assert seen[0] == seen[1]
    out = [replay.export(run, tmp_path / f"{run.name}-model")["weights_sha256"] for run in (one, other)]
    assert out[0] == out[1] == b["weights_sha256"]
    if "adapter" not in given:
        again = models.load(tmp_path / "streamed-model", dtype=more.get("dtype", "float32"))
        assert again.source["sha256"] == b["weights_sha256"], "plain transformers opens it"
    assert replay.replay(other)["equal"] and not list((other / "cache").glob("*"))


def test_text_objectives_and_predictions_stream(tmp_path: Path) -> None:
    more: dict[str, Any] = {
        "train": "all",
        "objective": "accuracy",
        "method": "mezo",
        "lr": 1e-3,
        "eps": 1e-2,
    }
    a = finetune(little.writing(tmp_path / "a", **more, settings={}), quiet=True)
    b = finetune(little.writing(tmp_path / "b", **more, settings={}, **STREAM), quiet=True)
    assert facts(tmp_path / "a", a) == facts(tmp_path / "b", b)
    said = [evaluate.predict(tmp_path / run, ["a film about ="]) for run in "ab"]
    assert said[0] == said[1]


def test_undo_resume_and_another_window(tmp_path: Path) -> None:
    found = []
    for name, extra in (("a", {}), ("b", STREAM)):
        out = tmp_path / name
        finetune(little.config(out, **SHORT, **extra), quiet=True)
        replay.undo(out, 3)
        found.append(facts(out, resume(out, quiet=True, **({"window_gb": 1e-4} if extra else {}))))
    assert found[0] == found[1]


def full(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Disks that take so many writes of slots."""
    calls, real = iter(range(10**6)), os.pwrite

    def pwrite(fd: int, data: Any, offset: int) -> int:
        if next(calls) >= after:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data, offset)

    monkeypatch.setattr(store.os, "pwrite", pwrite)


def test_a_disk_that_fills_up_is_one_line_and_the_run_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = finetune(little.config(tmp_path / "truth", **SHORT, **STREAM), quiet=True)
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        full(patch, 10)
        with pytest.raises(
            RunError, match=r"No space left on device; the working copy .* zoptim finetune --resume"
        ):
            finetune(little.config(run, **SHORT, **STREAM), quiet=True)
    assert facts(run, resume(run, quiet=True)) == facts(tmp_path / "truth", truth)


def test_no_room_for_the_working_copy_is_said_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import zoptim.lm.stream as streams

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(streams.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(RunError, match=r"takes up to \d+ kB, 1 kB are free: make room, or put --out"):
        finetune(little.config(tmp_path / "run", **SHORT, **STREAM), quiet=True)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"model": "packaged:smollm2-135m"}, "a GGUF file cannot be streamed"),
        ({"model": "someone/some-model"}, "needs a local folder"),
        ({"window_gb": 1e-9}, r"window_gb=1e-09: too small: .* the least that works is 0.0001"),
    ],
)
def test_what_cannot_be_streamed_is_refused(tmp_path: Path, given: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        finetune(little.config(tmp_path / "run", **{**SHORT, **STREAM, **given}), quiet=True)


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = tiny.save(tmp_path / "model")

    def refused(says: str) -> None:
        with pytest.raises(UsageError, match=says):
            finetune(little.config(tmp_path / "run", model=str(folder), **SHORT, **STREAM), quiet=True)

    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 4}))
    refused("holds no tensor 'model.layers.3")
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 64}))
    refused("the config is of another model")
    (folder / "config.json").write_text(json.dumps(config))
    os.truncate(folder / "model.safetensors", (folder / "model.safetensors").stat().st_size - 3)
    refused("cut short")


def test_an_adapter_made_from_the_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="made from the model's weights, which are streamed"):
        more = {**SHORT, "train": "auto", "adapter": "lora:r=2,use_dora=true"}
        finetune(little.config(tmp_path / "run", **more, **STREAM), quiet=True)


def test_the_prefix_cache_runs_frozen_blocks_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = Streamed._read

    def reading(self: Streamed, number: int, memory: Any) -> Any:
        read.append(self.units[number].name)
        return real(self, number, memory)

    monkeypatch.setattr(Streamed, "_read", reading)
    many = {**SHORT, "train": "last-block", "steps": 12, "eval_every": 12, "method": "mezo", "settings": {}}
    finetune(little.config(tmp_path / "a", **many, **STREAM), quiet=True)
    first = read.count("model.layers.0")
    read.clear()
    finetune(little.config(tmp_path / "b", **{**many, "steps": 24, "eval_every": 24}, **STREAM), quiet=True)
    assert 0 < read.count("model.layers.0") == first, "more steps read no frozen block"
    assert read.count("model.layers.2") > first


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked children")
def test_killed_at_random_instants_no_block_loses_or_repeats_an_update() -> None:
    command = [
        sys.executable,
        "-m",
        "bench.stream",
        "--only",
        "kills",
        "--kills",
        "10",
        "--json",
        "--seed",
        "3",
    ]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *(p for p in sys.path if p)])}
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.stdout, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])["kills"]
    assert found["wrong"] == [] and done.returncode == 0
    assert found["kills"] == 10 and found["resumed"] >= 3 and found["slots_compared"] >= 10

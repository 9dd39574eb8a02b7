"""What a method cannot be part of is refused from the config alone, before a model is opened."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lm import little

from zoptim.journal import Journal
from zoptim.lm.asked import check
from zoptim.lm.errors import RunError, UsageError
from zoptim.lm.finetune import finetune, resume
from zoptim.lm.forecast import forecast
from zoptim.methods import SHELF, build


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"method": "hizoo", "settings": {"alpa": 1}}, "no setting 'alpa' .it has .*alpha.*., did you mean 'alpha'"),
        ({"method": "hizoo", "settings": {"alpha": 2}}, "alpha=2 must be a number from 0 to 1"),
        ({"method": "mezo", "settings": {"n": True}}, "n=True must be a whole number from 1"),
        ({"settings": {"lr": 3}}, "settings=lr=3: it has a flag of its own, --lr 3"),
        ({"settings": {"eps": 3}, "eps": 0.1}, "--eps 3, or eps=3 in Python, which is 0.1; give it there alone"),
        ({"method": "grzo", "batch": 4, "settings": {}}, "batch=4: grzo asks each of its n=16 examples.*same number"),
        ({"method": "qzo"}, "method='qzo'.*quantize='none'.*--quantize int4"),
        ({"train": "scales"}, "train='scales'.*--quantize int4"),
        ({"method": "sparse_mezo", "dtype": "bfloat16", "master": "float32"}, "master='float32' .*leave one out"),
        ({"method": "zo_conservative", "dtype": "bfloat16", "settings": {}}, "dtype='bfloat16'.*--dtype float32"),
        ({"method": "addax", "quantize": "int4"}, "quantize='int4' does not go with method=addax"),
        ({"method": "addax", "compile": "yes"}, "compile='yes' does not go with method=addax"),
        ({"method": "alternate", "objective": "accuracy"}, "objective='accuracy' does not go with method=alternate"),
        ({"method": "forward_gradient", "stream": True}, "cannot be streamed"),
        ({"method": "split", "settings": {}, "train": "last-block"}, "train='last-block': .*leaves probes nothing.*--train all"),
        ({"method": "split", "settings": {}, "train": "all", "dtype": "bfloat16", "master": "float32"}, "cannot be split"),
        ({"method": "addax", "settings": {"threshold": 64}, "max_length": 64}, "threshold=64: no example is longer than max_l"),
    ],
)  # fmt: skip
def test_refused_before_a_model_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], says: str
) -> None:
    def opened(*a: Any, **kw: Any) -> None:
        raise AssertionError("a model was opened")

    monkeypatch.setattr("zoptim.lm.models.load", opened)
    config = little.config(tmp_path / "run", **given)
    for job in (lambda: finetune(config, quiet=True), lambda: forecast(config)):
        with pytest.raises(UsageError, match=says) as caught:
            job()
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"method": "split", "settings": {"blocks": 99}, "train": "all"}, "blocks=99 leaves probes nothing"),
        ({"method": "addax", "settings": {"threshold": 1}}, "threshold=1: 0 training examples are that short"),
        ({"method": "addax", "settings": {"threshold": 99}}, "threshold=99: 120 training examples .* and 0 longer"),
        ({"method": "zo_adam", "settings": {}, "stream": True, "train": "last-block"}, "cannot be streamed; train less"),
    ],
)  # fmt: skip
def test_what_needs_the_model_is_refused_before_any_forward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], says: str
) -> None:
    def late(*a: Any, **kw: Any) -> None:
        raise AssertionError("too late")

    monkeypatch.setattr("zoptim.lm.session.Session.cache_prefix", late)
    monkeypatch.setattr("zoptim.lm.session.Session.digest", late)  # of a streamed model: all weights are read
    config = little.config(tmp_path / "run", **given)
    for job in (lambda: finetune(config, quiet=True), lambda: forecast(config)):
        with pytest.raises(UsageError, match=says):
            job()
    assert not (tmp_path / "run" / "journal.zoj").exists()


def test_the_check_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from zoptim.lm.config import Config; from zoptim.lm.asked import check;"
        "check(Config(task='x', method='hizoo', settings={'n': 2})); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("name", list(SHELF))
def test_every_method_passes_as_it_is(tmp_path: Path, name: str) -> None:
    more = {"quantize": "int4"} if name == "qzo" else {}
    check(little.config(tmp_path / "run", method=name, settings={}, batch="auto", **more))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"method": "grzo", "settings": {"n": 8}, "batch": 8}, "objective='f1' .*method=grzo needs a loss of every"),
        ({"method": "mezo_svrg", "settings": {}}, "objective='f1' .*method=mezo_svrg .*--set sample=1"),
        ({"micro_batch": 3}, "objective='f1' .*micro_batch=3 .*leave one out"),
    ],
)  # fmt: skip
def test_one_number_a_batch_is_refused_before_a_model_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], says: str
) -> None:
    monkeypatch.setattr("zoptim.lm.models.load", None)
    with pytest.raises(UsageError, match=says):
        finetune(little.config(tmp_path / "run", objective="f1", **given), quiet=True)


def test_ones_own_number_a_batch_is_refused_before_a_journal_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = little.objective(tmp_path, monkeypatch, "return float(outputs.scores.mean())")
    given = {"method": "grzo", "settings": {"n": 8}, "batch": 8, "steps": 2, "objective": name}
    with pytest.raises(UsageError, match="gives one number a batch"):
        finetune(little.config(tmp_path / "run", **given), quiet=True)
    assert not (tmp_path / "run" / "journal.zoj").exists()


def test_no_clip_is_written_into_a_journal(tmp_path: Path) -> None:
    given = {"method": "qzo", "quantize": "int4", "train": "scales", "settings": {"clip": None}, "steps": 1}
    finetune(little.config(tmp_path / "run", **given), quiet=True)
    written = Journal.read(tmp_path / "run" / "journal.zoj").header["method"]["arguments"]
    assert written["clip"] is None
    parts: Any = build("qzo", written).coefficients
    assert parts.parts[1].bound == float("inf")
    with pytest.raises(UsageError, match="settings='clip=inf': not a finite number"):
        little.config(tmp_path / "other", settings={"clip": float("inf")})


def test_a_radius_out_of_this_world(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"eps=1e\+30: the loss is not finite where probes look; give a smaller"
    ):
        finetune(little.config(tmp_path / "run", train="last-block", eps=1e30), quiet=True)
    assert not (tmp_path / "run" / "journal.zoj").exists()


def test_more_examples_a_step_than_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finetune(little.config(tmp_path / "run", batch=1000, steps=1))
    assert "batch=1000: there are 120 examples to train on" in capsys.readouterr().err
    assert Journal.read(tmp_path / "run" / "journal.zoj").header["config"]["batch"] == 120


def test_a_step_beyond_the_usual_budget_is_refused_soon(tmp_path: Path) -> None:
    """... after a few forwards, not after a step's 200,000."""
    given = {"method": "mezo", "settings": {"n": 100_000}, "steps": None, "batch": 2}
    with pytest.raises(
        UsageError, match="method=mezo: one step asks 200,000 forwards, more than the .* --steps"
    ):
        finetune(little.config(tmp_path / "run", **given), quiet=True)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"method": "hizoo"}, "method='hizoo': method cannot change .*it has 'fzoo'"),
        ({"settings": {"n": 3}}, "settings={'n': 3}: .*it has {'n': 4}"),
        ({"quantize": "int4"}, "quantize='int4': .*it has 'none'"),
        ({"steps": 1000}, "steps=1000: this run's schedule was laid over 24 steps"),
    ],
)
def test_a_changed_setting_is_refused_before_a_model_is_opened(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], says: str
) -> None:
    run, _ = little.finished()
    monkeypatch.setattr("zoptim.lm.models.load", None)
    with pytest.raises(UsageError, match=says):
        resume(run, quiet=True, **given)


def test_what_is_the_same_may_be_said_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done, result = little.finished()
    run = little.copied(done, tmp_path / "run")
    monkeypatch.chdir(Path(little.choices()["data"]).parent)
    again = resume(
        run, quiet=True, method="fzoo", settings={"n": 4}, data=Path(little.choices()["data"]).name, out=str(run),
        candidates=(" terrible", " great"), memory_limit=2.0,
    )  # fmt: skip
    assert again["weights_sha256"] == result["weights_sha256"]


def test_a_limit_counts_when_a_run_resumes(tmp_path: Path) -> None:
    run = little.copied(little.finished()[0], tmp_path / "run")
    with pytest.raises(UsageError, match=r"memory_limit=0\.1"):
        resume(run, quiet=True, memory_limit=0.1)


def test_a_model_beyond_the_limit_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """... nor by a dry run; quantized or streamed it is opened another way."""
    monkeypatch.setattr("zoptim.lm.models.load", None)
    config = little.config(tmp_path / "run", memory_limit=0.6)
    for job in (lambda: finetune(config, quiet=True), lambda: forecast(config)):
        with pytest.raises(
            UsageError, match=r"memory_limit=0\.6: this run would hold at least 600 MB .model 144 kB, rest"
        ):
            job()


def test_a_dry_run_is_refused_as_the_run_would_be(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"memory_limit=0\.1: this run would hold up to"):
        forecast(little.config(tmp_path / "run", memory_limit=0.1, quantize="int8", train="norms"))


def test_ctrl_c_before_the_first_step_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*a: Any, **kw: Any) -> None:
        raise KeyboardInterrupt

    config = little.config(tmp_path / "run", steps=1)
    with monkeypatch.context() as patch:
        patch.setattr("zoptim.lm.finetune.calibrate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            finetune(config)
    assert "stopped before the first step; nothing is kept: start it again" in capsys.readouterr().err
    assert finetune(config, quiet=True)["steps"] == 1

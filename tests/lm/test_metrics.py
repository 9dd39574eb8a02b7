"""metrics.jsonl: evaluations in force, the best of them, and lines cut short."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from zoptim.journal import Journal
from zoptim.lm.metrics import Metrics, best_t, evaluations, rank
from zoptim.protocols import Draw, Record


def journal(*steps: tuple[Any, int]) -> Journal:
    made = Journal.create(None, {"key": 1})
    for kind, t in steps:
        made.append(Record(kind, t, 0.1, ((Draw(t, 0), 1.0),) if kind == "move" else ()))
    return made


def event(t: int, score: float, loss: float = 1.0) -> dict[str, Any]:
    return {"t": t, "score": score, "dev_loss": loss}


def write(run: Path, *events: dict[str, Any]) -> None:
    metrics = Metrics(run / "metrics.jsonl")
    for e in events:
        metrics.write("eval", **e)
    metrics.close()


def test_lines_are_whole_at_once(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "metrics.jsonl")
    metrics.write("step", t=0, loss=0.5)
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"event": "step", "t": 0, "loss": 0.5}
    metrics.close()


def test_the_best_is_the_earliest_of_the_highest(tmp_path: Path) -> None:
    moves = journal(*[("move", t) for t in range(40)])
    write(
        tmp_path,
        event(0, 0.5),
        event(10, 0.75, 0.9),
        event(20, 0.75, 0.8),
        event(30, 0.75, 0.8),
        event(40, 0.7, 0.1),
    )
    assert best_t(tmp_path, moves) == 20
    assert rank(event(0, 0.75, 0.8)) > rank(event(0, 0.75, 0.9)) > rank(event(0, 0.7, 0.1))


def test_no_evaluation_no_best(tmp_path: Path) -> None:
    assert best_t(tmp_path, journal(("move", 0))) is None
    write(tmp_path)
    assert best_t(tmp_path, journal(("move", 0))) is None


def test_only_weights_that_can_be_rebuilt_count(tmp_path: Path) -> None:
    """Records 2 and 3 were taken back; 4 follows 1.  Evaluations after 2 or 3 speak of weights that are gone."""
    undone = journal(*[("move", t) for t in range(4)], ("undo", 2), ("move", 4))
    write(tmp_path, event(0, 0.1), event(2, 0.3), event(3, 0.9), event(4, 0.8), event(5, 0.2), event(7, 1.0))
    assert [e["t"] for e in evaluations(tmp_path, undone)] == [0, 2, 5]
    assert best_t(tmp_path, undone) == 2


def test_skips_are_steps_too(tmp_path: Path) -> None:
    write(tmp_path, event(1, 0.3))
    assert best_t(tmp_path, journal(("skip", 0))) == 1


@pytest.mark.parametrize("torn", ['{"event": "eval", "t": 1, "sco', "\x00\x00", '{"event": "eval"}x'])
def test_a_torn_line_takes_no_other_with_it(tmp_path: Path, torn: str) -> None:
    moves = journal(*[("move", t) for t in range(4)])
    write(tmp_path, event(0, 0.1))
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write(torn)
    write(tmp_path, event(2, 0.9), event(3, 0.2))
    assert [e["t"] for e in evaluations(tmp_path, moves)] == [0, 2, 3]
    assert best_t(tmp_path, moves) == 2


def test_a_later_line_about_the_same_step_counts(tmp_path: Path) -> None:
    write(tmp_path, event(0, 0.1), event(1, 0.9), event(1, 0.05))
    assert best_t(tmp_path, journal(("move", 0))) == 0

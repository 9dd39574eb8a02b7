"""What follows a run's last step: the chosen weights, test, result.json, predictions.jsonl, report.html.

    initial weights -> test -> base + journal up to the best step on dev -> test -> files

The test split is touched here and nowhere earlier: no choice can see it.  Not here: the steps (`training`), how
the report is drawn (`report`).
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..journal import Journal, effective
from ..method import Method
from . import files
from .base import Base
from .existing import last_t, rebuild
from .machine import machine
from .measure import Measured, measure, score_goal
from .metrics import best_t, evaluations
from .session import RESULT, Session, Split
from .stream import Kept, figures


@dataclass(frozen=True)
class Times:
    """Of a process's run, as `time.monotonic` counts."""

    began: float
    setup: float  # seconds before the first step
    clock: float  # when the first step would have been, had this process taken them all


def finish(
    session: Session, journal: Journal, method: Method, base: Base | Kept, *, stopped: str, times: Times,
    say: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    """Rebuild the chosen weights, look at test for the first and only time, write everything down.

    Returns what result.json holds; closes the journal.  `stopped`: why there are no more steps.
    """
    config, out = session.config, session.config.out
    seconds = time.monotonic() - times.clock
    say("evaluating on test")
    session.cache_prefix(method, int(journal.header["key"]), ["test"])
    test = session.splits["test"]
    last = session.digest()
    base.restore()
    before, goal_before = measure(session, test), _goal(session, test)
    rebuild(session, journal, config.at)
    after, goal_after = measure(session, test), _goal(session, test)
    chosen = best_t(out, journal) if config.at == "best" else last_t(journal)
    dev = {e["t"]: e for e in evaluations(out, journal)}.get(chosen, {})
    result = {
        "accuracy_before": before.accuracy, "accuracy_after": after.accuracy,
        "loss_before": before.loss, "loss_after": after.loss,
        "dev_accuracy": dev.get("dev_accuracy"), "dev_loss": dev.get("dev_loss"),
        **_spent(journal, method, seconds, times), "weights_sha256": session.digest(),
        "weights_sha256_last": last, "objective": session.goal.name, "objective_before": goal_before,
        "objective_after": goal_after,
        "best_t": chosen, "lr": method.lr, "eps": method.eps, "method": method.name,
        "model": config.model, "task": config.task or config.data, "seed": config.seed,
        "stopped_because": stopped, **_setting(session),
    }  # fmt: skip
    _predictions(session, before, after)
    files.write(out / RESULT, json.dumps(result, indent=1) + "\n")
    journal.close()  # a run whose journal is held counts as running
    from .report import write as write_report

    write_report(out)
    _farewell(result, out, say)
    return result


def _spent(journal: Journal, method: Method, seconds: float, times: Times) -> dict[str, Any]:
    """What the run took."""
    records = [r for r in journal.records if r.kind != "undo"]
    return {
        "forwards": round(len(records) * method.forwards) + int(journal.header["calibration"]["forwards"]),
        "steps": len(effective(journal.records)), "skipped": sum(r.kind == "skip" for r in records),
        "seconds": round(seconds, 2), "seconds_setup": round(times.setup, 2),
        "seconds_total": round(time.monotonic() - times.began, 2),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "journal_bytes": journal.nbytes,
    }  # fmt: skip


def _setting(session: Session) -> dict[str, Any]:
    """What it ran on, and how."""
    return {
        "test_examples": len(session.splits["test"].items),
        "trained_parameters": sum(int(np.prod(s.shape)) for s in session.space.slots()),
        "prefix": session.plan.mode if session.plan else None,
        "master_bytes": session.space.master_bytes,
        "prefix_bytes": sum(s.prefix.nbytes for s in session.splits.values() if s.prefix),
        "stream": figures(session.stream) if session.stream else None, "versions": machine(),
    }  # fmt: skip


def _goal(session: Session, split: Split) -> float | None:
    """The run's own objective on a split, where that is not the loss."""
    return None if session.goal.name == "loss" else score_goal(session, split)


def _farewell(result: dict[str, Any], out: Path, say: Callable[[str], None]) -> None:
    """What was reached and what to do with it."""
    n = result["test_examples"]
    if result["accuracy_after"] is not None:
        say(
            f"test accuracy {result['accuracy_before']:.3f} -> {result['accuracy_after']:.3f} on {n:,} examples"
        )
    else:
        say(f"test loss {result['loss_before']:.3f} -> {result['loss_after']:.3f} on {n:,} examples")
    say(
        f"report: {out / 'report.html'}   use it: zoptim predict {out} TEXT   keep it: zoptim export {out} DIR"
    )


def _predictions(session: Session, before: Measured, after: Measured) -> None:
    """What the model answered to each test example before and after, a line each."""
    split, rows = session.splits["test"], []
    for i, example in enumerate(split.examples):
        row: dict[str, Any] = {"split": "test", "text": example.text}
        if before.right is None:
            row |= {
                "label": example.completion,
                "loss_before": before.losses[i],
                "loss_after": after.losses[i],
            }
        else:
            names = session.task.classes or example.candidates  # type: ignore[union-attr]
            a, b = before.scores[i], after.scores[i]
            row |= {
                "label": names[example.label], "before": names[int(np.argmax(a))],
                "after": names[int(np.argmax(b))], "p_before": float(np.exp(a.max())),
                "p_after": float(np.exp(b.max())),
            }  # fmt: skip
        rows.append(json.dumps(row, ensure_ascii=False))
    files.write(session.config.out / "predictions.jsonl", "\n".join(rows) + "\n")

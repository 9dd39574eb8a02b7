"""The run is its journal: rebuild its weights, take steps back, write them out.  No forward is run.

Rebuilding reads the model the run began with, checks its digest against the journal, and applies the
records in force: one sweep over the trained weights, chunk by chunk.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from ..journal import effective
from ..protocols import Record
from . import models
from .errors import RunError, UsageError
from .existing import open_journal, rebuild, reopen, resolve_at
from .session import RESULT


def replay(run: Path, out: Path | None = None, at: str | int | None = None) -> dict[str, Any]:
    """Rebuild a run's weights from base and journal; compare with what the run recorded; write them to `out`.

    Returns:
        steps, at, seconds (of applying), taken_again (steps whose gradients were run again), weights_sha256, and `equal`: whether the digest is the recorded one
        (None where the run recorded none for this step).

    Raises:
        RunError: another model than the run's, or a digest that differs from the recorded one.
    """
    session, journal = reopen(run, data=False)
    began = time.monotonic()
    t = resolve_at(run, journal, at)
    run_ = rebuild(session, journal, t)
    seconds = time.monotonic() - began
    sha = session.digest()
    recorded = _recorded(run)
    same = recorded["weights_sha256"] == sha if recorded.get("best_t") == t else None
    if same is False:
        raise RunError(
            f"{run}: replay gives weights {sha[:12]}, the run recorded {recorded['weights_sha256'][:12]}; "
            "its files do not belong together"
        )
    if out is not None:
        models.export(
            session.loaded.model, session.loaded.tokenizer, session.loaded.source, out, session.stream
        )
    return {
        "run": str(run), "out": None if out is None else str(out), "at": t,
        "steps": len([r for r in effective(journal.records) if r.t < t]), "seconds": round(seconds, 3),
        "taken_again": getattr(run_, "again", 0), "weights_sha256": sha, "equal": same,
    }  # fmt: skip


def export(run: Path, out: Path, at: str | int | None = None) -> dict[str, Any]:
    """Write a run's weights as plain transformers (or PEFT) loads them."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"out={str(out)!r} exists and is not empty: name a new folder")
    return replay(run, out, at)


def undo(run: Path, steps: int) -> dict[str, Any]:
    """Take the last `steps` steps back: one record is appended, nothing is erased.

    Raises:
        UsageError: fewer than one step, or more than the run has in force.
    """
    if steps < 1:
        raise UsageError(f"steps={steps}: give a whole number from 1")
    journal = open_journal(run, write=True)
    try:
        there = effective(journal.records)
        if steps > len(there):
            raise UsageError(f"steps={steps}: the run has {len(there)} steps in force")
        t = there[-steps].t
        journal.append(Record("undo", t, 0.0, reason=f"undo of {steps}"))
        journal.sync()
    finally:
        journal.close()
    result = run / RESULT
    if result.exists():  # it spoke of weights that may no longer be in force
        result.replace(run / "result.undone.json")
    return {"run": str(run), "undone": steps, "steps": len(there) - steps, "at": t}


def _recorded(run: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((run / RESULT).read_text()))
    except (OSError, ValueError):
        return {}

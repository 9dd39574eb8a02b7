"""Reading run folders: one run as a `RunView`, many as a table of `Row`s.

A run folder holds config.yaml, journal.zoj, metrics.jsonl, result.json, predictions.jsonl and
report.html; any of them may be missing or cut short, since a run can end at any instant.  This file
only reads, and imports neither torch nor transformers.  Not here: rebuilding weights (`replay.py`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from zoptim.journal import Journal, JournalError, effective
from zoptim.lm import units
from zoptim.lm.errors import UsageError, closest
from zoptim.lm.metrics import Event
from zoptim.lm.metrics import events as written
from zoptim.lm.yaml_files import read_yaml

State: TypeAlias = Literal["finished", "interrupted", "running"]


@dataclass(frozen=True)
class RunView:
    """What a run folder says about itself; whatever is missing is empty."""

    path: Path
    config: dict[str, Any]
    steps: list[Event]  # one a step: t, forwards, seconds, loss, lr, eps, spread, skipped
    evals: list[Event]  # one an evaluation: t, forwards, seconds, dev_loss, dev_accuracy, best
    notes: list[str]
    result: dict[str, Any]
    predictions: list[dict[str, Any]]
    state: State
    journal_bytes: int | None

    @classmethod
    def read(cls, path: str | Path, *, predictions: bool = True) -> RunView:
        """The run in this folder.

        Raises:
            UsageError: no such folder, or it holds no run.
        """
        run = find_run(path)
        journal = run / "journal.zoj"
        steps, evals, notes = _timeline(_lines(run / "metrics.jsonl"), _in_force(journal))
        result = _object(run / "result.json")
        return cls(
            path=run,
            config=_config(run / "config.yaml"),
            steps=steps,
            evals=evals,
            notes=notes,
            result=result,
            predictions=_lines(run / "predictions.jsonl") if predictions else [],
            state=_state(journal, result),
            journal_bytes=journal.stat().st_size if journal.is_file() else None,
        )

    def said(self, name: str) -> Any:
        """A value from the result, else from the config."""
        found = self.result.get(name)
        return self.config.get(name) if found is None else found

    @property
    def last(self) -> Event:
        """The latest event that counts forwards and seconds."""
        events = [*self.steps[-1:], *self.evals[-1:]]
        return max(events, key=lambda e: e.get("forwards") or 0, default={})

    @property
    def best(self) -> Event | None:
        """The best evaluation still in force: the result's own, else the last one marked best."""
        marked = [e for e in self.evals if e.get("best")]
        own = [e for e in self.evals if e["t"] == self.result.get("best_t")]
        found = own or marked
        return found[-1] if found else None


@dataclass(frozen=True)
class Row:
    """One run among others; None where the run does not say."""

    name: str
    method: str | None
    model: str | None
    task: str | None
    seed: int | None
    lr: float | str | None
    dev: float | None
    test_before: float | None
    test_after: float | None
    loss_before: float | None
    loss_after: float | None
    forwards: float | None
    seconds: float | None
    peak_rss_bytes: int | None
    journal_bytes: int | None
    state: State


def find_run(path: str | Path) -> Path:
    """The folder of a run, or a refusal that names the nearest run."""
    run = Path(path).expanduser()
    if any((run / name).is_file() for name in ("config.yaml", "journal.zoj")):
        return run
    if run.is_file():
        raise UsageError(f"run={str(path)!r}: is a file; give the run's folder, e.g. {run.parent}")
    siblings = [p.name for p in folders(run.parent)]
    inside = [p.name for p in folders(run)]
    what = "no run in this folder" if run.is_dir() else "no such folder"
    hint = "give a folder that --out named, or the one around it"
    if inside:
        hint = f"runs inside: {', '.join(sorted(inside)[:5])} (list them: zoptim runs {run})"
    elif siblings:
        hint = closest(run.name, siblings)
    raise UsageError(f"run={str(path)!r}: {what}; {hint}")


def folders(directory: Path) -> list[Path]:
    """The run folders directly inside a directory, by name."""
    if not directory.is_dir():
        return []
    marks = ("config.yaml", "journal.zoj")
    return sorted(p for p in directory.iterdir() if any((p / m).is_file() for m in marks))


def compare(directory: str | Path) -> list[Row]:
    """One row for each run inside a directory (or for the directory, if it is itself a run).

    Raises:
        UsageError: no such directory, or no run in it.
    """
    root = Path(directory).expanduser()
    found = folders(root)
    if not found:
        found = [find_run(root)]
    return [_row(RunView.read(path, predictions=False)) for path in found]


def as_dicts(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows as plain values, for JSON."""
    return [asdict(row) for row in rows]


def table(rows: Sequence[Row]) -> str:
    """Rows as aligned text, in the order given."""
    heads = "run method model task seed lr dev test forwards time memory journal state"
    lines = [heads.split()]
    for r in rows:
        lr = units.figure(r.lr, 4) if isinstance(r.lr, (int, float)) else (r.lr or "–")
        accurate = r.test_after is not None or r.test_before is not None
        pair = (r.test_before, r.test_after) if accurate else (r.loss_before, r.loss_after)
        test = " → ".join(units.figure(v) for v in pair) if any(v is not None for v in pair) else "–"
        lines.append(
            [
                r.name,
                r.method or "–",
                _short(r.model),
                _short(r.task),
                "–" if r.seed is None else str(r.seed),
                lr,
                units.figure(r.dev),
                test if accurate or test == "–" else f"loss {test}",
                units.amount(r.forwards),
                units.duration(r.seconds),
                units.size(r.peak_rss_bytes),
                units.size(r.journal_bytes),
                r.state,
            ]
        )
    return align(lines, right={4, 5, 6, 8, 9, 10, 11})


def align(lines: Sequence[Sequence[str]], *, right: set[int]) -> str:
    """Cells in columns two spaces apart; columns in `right` end flush."""
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def finite(value: Any) -> float | None:
    """A number that can be drawn, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _row(view: RunView) -> Row:
    said, result = view.said, view.result
    best = view.best or (view.evals[-1] if view.evals else {})
    dev = finite(result.get("dev_accuracy"))
    seed, lr = said("seed"), said("lr")
    return Row(
        name=view.path.name or str(view.path.resolve().name),
        method=said("method"),
        model=said("model"),
        task=said("task") or said("data"),
        seed=seed if isinstance(seed, int) else None,
        lr=lr if isinstance(lr, str) else finite(lr),
        dev=finite(best.get("dev_accuracy")) if dev is None else dev,
        test_before=finite(result.get("accuracy_before")),
        test_after=finite(result.get("accuracy_after")),
        loss_before=finite(result.get("loss_before")),
        loss_after=finite(result.get("loss_after")),
        forwards=finite(result.get("forwards", view.last.get("forwards"))),
        seconds=finite(result.get("seconds", view.last.get("seconds"))),
        peak_rss_bytes=result.get("peak_rss_bytes"),
        journal_bytes=result.get("journal_bytes", view.journal_bytes),
        state=view.state,
    )


def _short(name: str | None) -> str:
    if not name:
        return "–"
    plain = name.removeprefix("packaged:")
    return plain if len(plain) <= 28 else "…" + plain[-27:]


def _state(journal: Path, result: Event) -> State:
    if journal.is_file() and _locked(journal):
        return "running"
    return "finished" if result else "interrupted"


def _locked(journal: Path) -> bool:
    """Whether a process is appending: it holds the journal's lock as long as it lives."""
    try:
        import fcntl
    except ImportError:  # not a POSIX system: no locks there
        return False
    with suppress(OSError), journal.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _config(path: Path) -> dict[str, Any]:
    try:
        return read_yaml(path)
    except UsageError:
        return {}


def _object(path: Path) -> Event:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _lines(path: Path) -> list[Event]:
    """What was written down; nothing where it cannot be read."""
    try:
        return written(path)
    except OSError:
        return []


def _in_force(path: Path) -> set[int] | None:
    """The t of records that no undo has dropped; None where the journal cannot say."""
    if not path.is_file():
        return None
    try:
        return {record.t for record in effective(Journal.read(path).records)}
    except (JournalError, OSError):
        return None


def _timeline(events: Sequence[Event], there: set[int] | None) -> tuple[list[Event], list[Event], list[str]]:
    """Steps, evaluations and notes; those that speak of undone records are left out.

    An evaluation at t saw the weights after record t - 1; a line said twice counts the last time.
    """
    steps: dict[int, Event] = {}
    evals: dict[int, Event] = {}
    notes: list[str] = []
    for event in events:
        t, what = event.get("t"), event.get("event")
        if what == "note":
            notes.append(str(event.get("text", "")))
        elif isinstance(t, int) and what == "step" and (there is None or t in there):
            steps[t] = event
        elif isinstance(t, int) and what == "eval" and (there is None or t == 0 or t - 1 in there):
            evals[t] = event
    done, seen = [steps[t] for t in sorted(steps)], [evals[t] for t in sorted(evals)]
    _one_clock(sorted([*done, *seen], key=lambda e: (e.get("forwards") or 0, e.get("seconds") or 0.0)))
    return done, seen, notes


def _one_clock(events: Sequence[Event]) -> None:
    """Each process counts its own seconds from zero; where they fall back, a resume began: add them up."""
    before = latest = 0.0
    for event in events:
        seconds = finite(event.get("seconds"))
        if seconds is None:
            continue
        if before + seconds < latest:
            before = latest
        latest = event["seconds"] = before + seconds

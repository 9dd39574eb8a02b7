"""metrics.jsonl: what was seen on the way, one JSON object a line, and the best step it shows.

Never the truth about weights (that is the journal): lines may be missing after a kill, or overtaken by an
undo; `evaluations` keeps those that speak of records still in force.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..journal import Journal, effective

Event = dict[str, Any]


class Metrics:
    """Appends events; a full disk is the caller's to report."""

    def __init__(self, path: Path) -> None:
        self.path = path
        torn = path.is_file() and path.read_bytes()[-1:] not in (b"", b"\n")
        self._file = open(path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115  held for the run
        if torn:  # end a line that was cut short, so that the next event is not lost with it
            self._file.write("\n")

    def write(self, event: str, **values: Any) -> None:
        self._file.write(json.dumps({"event": event, **values}) + "\n")

    def close(self) -> None:
        self._file.close()


def events(path: Path) -> list[Event]:
    """All events of a file; torn lines and lines that hold none are passed over."""
    found: list[Event] = []
    if not path.is_file():
        return found
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            found.append(event)
    return found


def evaluations(run: Path, journal: Journal) -> list[Event]:
    """Evaluations of weights that are still reachable: none, or all records before them in force."""
    there = {r.t for r in effective(journal.records)}
    found: dict[int, Event] = {}
    for event in events(run / "metrics.jsonl"):
        if _is_evaluation(event) and (event["t"] == 0 or event["t"] - 1 in there):
            found[event["t"]] = event
    return [found[t] for t in sorted(found)]


def _is_evaluation(event: Event) -> bool:
    """Whether a line says all that choosing the best step needs; a damaged one may be any object."""
    if event.get("event") != "eval" or not isinstance(event.get("t"), int):
        return False
    return all(isinstance(event.get(name), (int, float)) for name in ("score", "dev_loss"))


def rank(event: Event) -> tuple[float, float]:
    """Higher is better: the score, then the dev loss."""
    return event["score"], -event["dev_loss"]


def best_t(run: Path, journal: Journal) -> int | None:
    """The step whose weights did best on dev; the earliest of equals; None before any evaluation."""
    events = evaluations(run, journal)
    return max(events, key=lambda e: (rank(e), -e["t"]))["t"] if events else None

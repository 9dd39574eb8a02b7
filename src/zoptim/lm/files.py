"""Files of a run folder that a kill must not leave half-written.  Not here: files that grow (`journal`, `metrics`)."""

from __future__ import annotations

from pathlib import Path


def write(path: Path, text: str) -> None:
    """Whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)

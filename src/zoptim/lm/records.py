"""Read examples from a file: JSON lines, a JSON list, CSV or TSV, told by the file's ending.

Every record knows its line, so that an error can name it. UTF-8, with or without a byte-order mark.
Not here: what the fields mean (`tasks.py`).
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoptim.lm.errors import UsageError

ENDINGS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")


@dataclass(frozen=True)
class Records:
    """The content of one file."""

    path: str
    sha256: str
    fields: tuple[str, ...]  # in order of first appearance
    rows: list[dict[str, Any]]
    lines: list[int]  # where each row is; for a JSON list, its number from 1

    def plain(self) -> dict[str, Any]:
        """What to remember about the file."""
        return {"name": Path(self.path).name, "sha256": self.sha256, "rows": len(self.rows)}

    def place(self, k: int) -> str:
        """Where row k is, for an error: `reviews.jsonl:12`."""
        return f"{Path(self.path).name}:{self.lines[k]}"


def read(path: str | Path, *, argument: str = "data") -> Records:
    """All records of a file.

    Args:
        path: ending in one of `ENDINGS`.
        argument: what to call it in an error.

    Raises:
        UsageError: no such file, an unknown ending, not UTF-8, malformed (with the line), or empty.
    """
    file = Path(path).expanduser()
    if file.suffix.lower() not in ENDINGS:
        raise UsageError(
            f"{argument}={str(path)!r}: the ending must be one of {', '.join(ENDINGS)}; rename it"
        )
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        there = [p.name for p in file.parent.iterdir()] if file.parent.is_dir() else []
        near = difflib.get_close_matches(file.name, there, n=1)
        hint = f"did you mean {str(file.parent / near[0])!r}?" if near else "check the path"
        raise UsageError(f"{argument}={str(path)!r}: no such file; {hint}") from None
    except OSError as error:
        raise UsageError(
            f"{argument}={str(path)!r}: cannot be read ({error.strerror}); give a file"
        ) from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UsageError(f"{file.name}:{line}: not UTF-8; save {argument} as UTF-8") from None
    if file.suffix.lower() in (".csv", ".tsv"):
        found = list(_table(text, file.name, "\t" if file.suffix.lower() == ".tsv" else ","))
    elif file.suffix.lower() == ".json" and text.lstrip()[:1] == "[":
        found = list(_json_list(text, file.name))
    else:
        found = list(_json_lines(text, file.name))
    if not found:
        raise UsageError(f"{argument}={str(path)!r}: holds no examples; give one JSON object or CSV row each")
    fields = tuple(dict.fromkeys(name for _, row in found for name in row))
    digest = hashlib.sha256(content).hexdigest()
    return Records(str(path), digest, fields, [row for _, row in found], [line for line, _ in found])


def _json_lines(text: str, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UsageError(f"{name}:{number}: not JSON ({error}); one object a line") from None
        if not isinstance(row, dict):
            raise UsageError(f'{name}:{number}: not a JSON object; write {{"field": value, ...}}')
        yield number, row


def _json_list(text: str, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{name}:{getattr(error, 'lineno', 1)}: not JSON ({error}); correct it") from None
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise UsageError(f'{name}: entry {number} is no JSON object; write {{"field": value, ...}}')
        yield number, row


def _table(text: str, name: str, separator: str) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(1 << 30)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for cells in reader:
            if header is None:
                header = [cell.strip() for cell in cells]
                if len(set(header)) < len(header) or not all(header):
                    raise UsageError(
                        f"{name}:1: the header has an empty or a repeated column; name each once"
                    )
            elif cells:
                if len(cells) != len(header):
                    counts = f"{len(cells)} cells, the header has {len(header)}"
                    raise UsageError(f"{name}:{line}: {counts}; quote cells that hold commas")
                yield line, dict(zip(header, cells, strict=True))
            line = reader.line_num + 1
    except csv.Error as error:
        raise UsageError(f"{name}:{line}: not CSV ({error}); correct the quotes") from None

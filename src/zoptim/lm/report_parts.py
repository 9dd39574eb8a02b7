"""The lower half of a report: predictions before and after, notes, commands, the config.

Every text that comes from data or settings is escaped.  Not here: curves and headline (`report.py`).
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from html import escape
from typing import Any

from zoptim.lm import units
from zoptim.lm.config import Config
from zoptim.lm.fields import GROUPS
from zoptim.lm.runs import RunView, finite

SHOWN_CHANGED = 12  # rows of each kind of change
SHOWN_KEPT = 8  # rows of each kind without one
LONGEST = 400  # characters of a text


def predictions(view: RunView) -> str:
    """What changed, example by example: mended first, then broken, then the rest."""
    rows = [p for p in view.predictions if "text" in p]
    tested = [p for p in rows if p.get("split", "test") == "test"]
    rows = tested or rows
    if not rows:
        return ""
    if not any("after" in row for row in rows):
        return _by_loss(rows)
    kinds: dict[str, list[dict[str, Any]]] = {"up": [], "down": [], "kept": [], "lost": []}
    for row in rows:
        kinds[_kind(row)].append(row)
    whole, changed = len(rows), len([r for r in rows if r.get("before") != r.get("after")])
    where = "test" if tested else str(rows[0].get("split") or "dev")
    said = f"{changed:,} of {whole:,} {where} examples got another answer."
    names = {"up": "mended", "kept": "right both times", "down": "broken", "lost": "wrong both times"}
    shares = "".join(f'<span class="{k}" style="flex:{len(kinds[k])}"></span>' for k in names if kinds[k])
    legend = "".join(f"<span>{_key(k)}{len(kinds[k]):,} {word}</span>" for k, word in names.items())
    first = [*kinds["up"][:SHOWN_CHANGED], *kinds["down"][:SHOWN_CHANGED]]
    rest = [*kinds["lost"][:SHOWN_KEPT], *kinds["kept"][:SHOWN_KEPT]]
    if not first:
        first, rest = rest, []
    more = f"<details><summary>A few that kept their answer</summary>{_table(rest)}</details>" if rest else ""
    left = whole - len(first) - len(rest)
    note = f'<p class="cap">{left:,} more in predictions.jsonl.</p>' if left else ""
    return (
        f'<h2>Before and after, example by example</h2><p class="cap">{said}</p>'
        f'<div class="share" role="img" aria-label="{escape(_spoken(kinds, names))}">{shares}</div>'
        f'<p class="legend sans">{legend}</p>{_table(first)}{more}{note}'
    )


def _by_loss(rows: list[dict[str, Any]]) -> str:
    """Written answers: how surprised the model is by the right one, most improved first."""

    def gain(row: dict[str, Any]) -> float:
        return (finite(row.get("loss_after")) or 0.0) - (finite(row.get("loss_before")) or 0.0)

    order = sorted(rows, key=gain)
    better = sum(gain(row) < 0 for row in rows)
    shown = order if len(order) <= 3 * SHOWN_KEPT else [*order[: 2 * SHOWN_KEPT], *order[-SHOWN_KEPT:]]
    body = []
    for row in shown:
        cells = [f"<td>{escape(_cut(row['text']))}</td>", f"<td>{escape(_cut(row.get('label')))}</td>"]
        cells.append(f"<td>{units.figure(finite(row.get('loss_before')), 2)}</td>")
        style = "good" if gain(row) < 0 else "bad"
        cells.append(f'<td class="{style}">{units.figure(finite(row.get("loss_after")), 2)}</td>')
        body.append(f"<tr>{''.join(cells)}</tr>")
    head = "<tr><th>prompt</th><th>right answer</th><th>before</th><th>after</th></tr>"
    said = f"Loss a token of the right answer; {better:,} of {len(rows):,} examples became likelier."
    return (
        f'<h2>Before and after, example by example</h2><p class="cap">{said} Most improved first, least last.</p>'
        f"<table><thead>{head}</thead><tbody>{''.join(body)}</tbody></table>"
    )


def notes(view: RunView) -> str:
    """What the run said on its way."""
    if not view.notes:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in view.notes[:60])
    return f'<h2>What the run said</h2><ul class="notes">{items}</ul>'


def commands(view: RunView) -> str:
    """What can be done with this run, ready to be copied."""
    run = shlex.quote(str(view.path))
    lines = [
        (f'zoptim predict {run} "..."', "use it"),
        (f"zoptim export {run} exported", "weights for plain transformers (or PEFT)"),
        (f"zoptim replay {run} --out replayed", "rebuild the weights from base and journal, no forward"),
        (f"zoptim log {run}", "every step, as the journal has it"),
        (f"zoptim undo {run} --steps 100", "take the last 100 steps back, exactly"),
        (f"zoptim eval {run}", "measure it again"),
    ]
    if view.state == "interrupted":
        lines.insert(0, (f"zoptim resume {run}", "go on from the last recorded step"))
    wide = max(len(command) for command, _ in lines)
    text = "\n".join(f'{escape(c.ljust(wide))}  <span class="c"># {escape(why)}</span>' for c, why in lines)
    return f"<h2>What you can do with it</h2><pre>{text}</pre>"


def config(view: RunView) -> str:
    """Every setting; what was chosen stands out, what was auto says what it became."""
    if not view.config:
        return ""
    usual = {f.name: f.default for members in Config.grouped().values() for f in members}
    tables = []
    for group, members in Config.grouped().items():
        rows = []
        for f in members:
            if f.name not in view.config:
                continue
            value, became = view.config[f.name], view.result.get(f.name)
            chosen = value not in (None, usual[f.name], {}) and f.name != "out"
            text = escape(_said(value))
            if value == "auto" and became not in (None, "auto"):
                text = f"auto → <b>{escape(_said(became))}</b>"
            rows.append(f"<tr><td>{f.name}</td><td>{f'<b>{text}</b>' if chosen else text}</td></tr>")
        if rows:
            caption = f"<caption>{escape(GROUPS[group].split(':')[0])}</caption>"
            tables.append(f"<table>{caption}{''.join(rows)}</table>")
    tail = '<p class="cap">What differs from the defaults is in bold; config.yaml holds the same.</p>'
    return f'<h2>Settings</h2>{tail}<div class="config">{"".join(tables)}</div>'


def footer(view: RunView) -> str:
    """What a reader needs to trust the numbers: digest, versions, folder."""
    parts = []
    if digest := view.result.get("weights_sha256"):
        parts.append(f"Weights sha256 <code>{escape(str(digest))}</code>")
    versions = view.result.get("versions")
    if isinstance(versions, dict):
        parts.append(" · ".join(f"{escape(str(k))} {escape(str(v))}" for k, v in versions.items()))
    parts.append(f"Run folder <code>{escape(str(view.path))}</code>")
    return f"<footer>{'<br>'.join(parts)}</footer>"


def _kind(row: dict[str, Any]) -> str:
    before, after = row.get("before") == row.get("label"), row.get("after") == row.get("label")
    return ("kept" if before else "up") if after else ("down" if before else "lost")


def _key(kind: str) -> str:
    ink = {"up": "var(--good)", "down": "var(--bad)"}.get(kind)
    base = "var(--good) 38%" if kind == "kept" else "var(--bad) 34%"
    return f'<i style="background:{ink or f"color-mix(in srgb,{base},var(--paper))"}"></i>'


def _spoken(kinds: dict[str, list[dict[str, Any]]], names: dict[str, str]) -> str:
    return ", ".join(f"{len(kinds[k])} {word}" for k, word in names.items())


def _table(rows: Sequence[dict[str, Any]]) -> str:
    head = "<tr><th>text</th><th>label</th><th>before</th><th>after</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{''.join(map(_row, rows))}</tbody></table>"


def _row(row: dict[str, Any]) -> str:
    label = row.get("label")
    cells = [f"<td>{escape(_cut(row['text']))}</td>", f'<td class="word">{escape(_cut(label))}</td>']
    for answer, sure in (("before", "p_before"), ("after", "p_after")):
        style = "" if answer == "before" else ' class="good"' if row.get(answer) == label else ' class="bad"'
        chance = finite(row.get(sure))
        small = "" if chance is None else f" <small>{units.figure(chance, 2)}</small>"
        said = f"<span{style}>{escape(_cut(row.get(answer)))}</span>"
        cells.append(f'<td class="word">{said}{small}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def _cut(text: object) -> str:
    plain = "–" if text is None else str(text).strip()
    return plain if len(plain) <= LONGEST else plain[: LONGEST - 1] + "…"


def _said(value: object) -> str:
    if value is None or value in ({}, []):
        return "–"
    if isinstance(value, list):
        return ", ".join(repr(v) for v in value)
    if isinstance(value, dict):
        return ", ".join(f"{k}={v}" for k, v in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)

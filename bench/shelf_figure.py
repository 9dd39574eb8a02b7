"""The figure of the comparison: dev accuracy against forwards and against seconds, a row a task, and peak memory.

The best of the shelf, MeZO and the baselines have a color and a name, the rest are gray.
What it is not: the numbers (`shelf_page`); `plots` draws the other benches' bars.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from bench.first_order import BASELINES
from zoptim.lm.charts import ticks

WIDTH, HIGH, LEFT, GAP, TOP, BAR = 920, 250, 54, 62, 34, 17
HALF = (WIDTH - LEFT - GAP - 150) // 2
SCOPES = {
    "last-block": "",
    "last-block-int4": ", scales of 4 bits",
}  # what is drawn; all weights have one run each
NAMED = 4  # methods of the shelf with a color, besides MeZO
COLORS = ("#0f7b6a", "#c2571a", "#4a6fb5", "#9a4f96", "#b8860b")
BASES = ("#5d6168", "#8a8f98", "#b0563f")

STYLE = """
text{font:12px Inter,"Segoe UI",system-ui,-apple-system,"Helvetica Neue",Arial,"DejaVu Sans",sans-serif;fill:#5d6168}
.paper{fill:#fff}.title{font-weight:600;font-size:13px;fill:#1d1f23}.end{text-anchor:end}.mid{text-anchor:middle}
path{fill:none}.hair{stroke:#e4e6ea}.other{stroke:#c9cdd3;stroke-width:1}.named{stroke-width:2}.base{stroke-dasharray:5 3}
.bar{fill:#b7bcc4}@media (prefers-color-scheme:dark){text{fill:#9ba1aa}.paper{fill:#0d1117}.title{fill:#e6e8eb}
.hair{stroke:#262c34}.other{stroke:#3a414b}.bar{fill:#4b525c}}
""".replace("\n", "")

Curve = list[tuple[float, float, float]]  # forwards, CPU seconds, accuracy


def curve(cells: Sequence[Mapping[str, Any]]) -> Curve:
    """Means over the seeds, point by point."""
    return [
        (
            statistics.fmean(p["forwards"] for p in at),
            statistics.fmean(p["cpu_seconds"] for p in at),
            statistics.fmean(p["dev"]["accuracy"] for p in at),
        )
        for at in zip(*(c["curve"] for c in cells), strict=False)
    ]


def draw(tables: Mapping[tuple[str, str], Sequence[Any]], memory: Mapping[str, float | None]) -> str:
    """The drawing; "" while no cell of the first scope is there."""
    rows = [
        (task + SCOPES[scope], [s for s in all_of if s.cells])
        for (scope, task), all_of in tables.items()
        if scope in SCOPES
    ]
    rows = [(task, there) for task, there in rows if there]
    if not rows:
        return ""
    colors = _colors([s for _, there in rows for s in there])
    body: list[str] = []
    y = 8
    for task, there in rows:
        body.append(_row(task, {s.method: curve(s.cells) for s in there}, colors, y))
        y += HIGH + TOP + 44
    drawn, y = _bars({m: v for m, v in memory.items() if v is not None}, colors, y)
    body.append(drawn)
    title = "Accuracy against forwards, against seconds, and peak memory, by method"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img" aria-label="{title}">'
        f"<title>{title}</title><style>{STYLE}</style>"
        f'<rect class="paper" width="{WIDTH}" height="{y}" rx="6"/>{"".join(body)}</svg>\n'
    )


def _colors(standings: Sequence[Any]) -> dict[str, str]:
    """MeZO, the best of the shelf over the tasks, and the baselines."""
    means: dict[str, list[float]] = {}
    for s in standings:
        means.setdefault(s.method, []).append(s.mean)
    ours = sorted(
        (m for m in means if m not in BASELINES and m != "mezo"), key=lambda m: -statistics.fmean(means[m])
    )
    named = [*(["mezo"] if "mezo" in means else []), *ours[:NAMED]]
    found = dict(zip(named, COLORS, strict=False))
    return found | {m: color for m, color in zip(BASELINES, BASES, strict=True) if m in means}


def _row(task: str, curves: Mapping[str, Curve], colors: Mapping[str, str], y: int) -> str:
    """Two panels that share the axis of accuracy."""
    values = [p[2] for c in curves.values() for p in c]
    low, high = min(values) - 0.02, max(values) + 0.02
    out = [f'<text class="title" x="{LEFT}" y="{y + 16}">{escape(task)}: accuracy on dev</text>']
    for axis, name in ((0, "forwards"), (1, "CPU seconds, logarithmic")):
        left = LEFT + axis * (HALF + GAP)
        out.append(_panel(curves, colors, axis, (left, y + TOP), (low, high), name))
    return "".join(out) + _names(curves, colors, y + TOP, (low, high))


def _panel(
    curves: Mapping[str, Curve], colors: Mapping[str, str], axis: int, at: tuple[int, int],
    span: tuple[float, float], name: str,
) -> str:  # fmt: skip
    """One set of axes with its lines."""
    (left, top), (low, high) = at, span
    ends = [c[-1][axis] for c in curves.values()]
    least = max(min(min(ends) / 20, 1.0), 1e-3)
    across = (lambda v: v) if axis == 0 else (lambda v: math.log10(max(v, least) / least))
    end = across(max(ends)) or 1.0

    def place(x: float, value: float) -> str:
        return f"{left + across(x) * HALF / end:.1f} {top + (high - value) * HIGH / (high - low):.1f}"

    out = []
    for value in ticks(low, high):
        row = place(0, value).split()[1]
        out.append(f'<path class="hair" d="M{left} {row}h{HALF}"/>')
        out.append(f'<text class="end" x="{left - 7}" y="{float(row) + 4}">{value:g}</text>')
    marks = (
        ticks(0, max(ends)) if axis == 0 else [10.0**k for k in range(-3, 6) if least <= 10.0**k <= max(ends)]
    )
    out += [
        f'<text class="mid" x="{place(v, low).split()[0]}" y="{top + HIGH + 16}">{v:,g}</text>' for v in marks
    ]
    out.append(f'<text class="mid" x="{left + HALF // 2}" y="{top + HIGH + 34}">{name}</text>')
    for method in sorted(curves, key=lambda m: m in colors):  # the named on top
        line = "L".join(place(p[axis], p[2]) for p in curves[method])
        style = (
            f'class="named{" base" if method in BASELINES else ""}" stroke="{colors[method]}"'
            if method in colors
            else 'class="other"'
        )
        out.append(f'<path {style} d="M{line}"><title>{escape(method)}</title></path>')
    return "".join(out)


def _names(
    curves: Mapping[str, Curve], colors: Mapping[str, str], top: int, span: tuple[float, float]
) -> str:
    """Names at the right, by the order in which the lines end, without overlaps."""
    low, high = span
    named = sorted((m for m in curves if m in colors), key=lambda m: -curves[m][-1][2])
    out, floor = [], 0.0
    for method in named:
        floor = max(floor + 14, top + (high - curves[method][-1][2]) * HIGH / (high - low))
        out.append(
            f'<text x="{WIDTH - 142}" y="{floor:.1f}" style="fill:{colors[method]}">{escape(method)}</text>'
        )
    return "".join(out)


def _bars(memory: Mapping[str, float], colors: Mapping[str, str], y: int) -> tuple[str, int]:
    """Peak memory of a step above the loaded model, least first."""
    if not memory:
        return "", y
    out = [f'<text class="title" x="{LEFT}" y="{y + 16}">peak memory above the loaded model, MB</text>']
    y, left = y + 28, LEFT + 110
    most = max(memory.values()) or 1.0
    for method, value in sorted(memory.items(), key=lambda pair: pair[1]):
        wide = round(max(value, 0.0) / most * (WIDTH - left - 90), 1)
        fill = f' style="fill:{colors[method]}"' if method in colors else ""
        out.append(f'<text class="end" x="{left - 8}" y="{y + 12}">{escape(method)}</text>')
        out.append(f'<rect class="bar"{fill} x="{left}" y="{y}" width="{wide}" height="{BAR - 3}" rx="2"/>')
        out.append(f'<text x="{left + wide + 6}" y="{y + 12}">{value:.0f}</text>')
        y += BAR
    return "".join(out), y + 12

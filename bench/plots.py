"""Bar charts as SVG files that read in light and dark: names at the left, a bar, its number, floors and targets.

Drawn by hand so that the page of results needs no plotting package; one shape for all charts, so that they are
read alike.  A bar longer than the axis is cut, and shown to be.  What it is not: curves (zoptim.lm.charts).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

from zoptim.lm.charts import ticks

WIDTH, RIGHT, BAR, GAP, HEAD = 860, 84, 18, 12, 46

STYLE = """
text{font:13px Inter,"Segoe UI",system-ui,-apple-system,"Helvetica Neue",Arial,"DejaVu Sans",sans-serif;fill:#5d6168}
.paper{fill:#fff}.title{font-weight:600;font-size:14px;fill:#1d1f23}.name{fill:#1d1f23;text-anchor:end}
.value{paint-order:stroke;stroke:#fff;stroke-width:4px;font-weight:600;fill:#1d1f23;font-variant-numeric:tabular-nums}.tick{text-anchor:middle;font-size:12px}
.ours{fill:#0f7b6a}.other{fill:#b7bcc4}.base{fill:#7d93ad}.hair{stroke:#e4e6ea}.one{stroke:#1d1f23;stroke-width:1.2}
.floor{stroke:#c2571a;stroke-width:2.6}.must{stroke:#1d1f23;stroke-width:1.6;stroke-dasharray:2 2.5}.cut{stroke:#fff;stroke-width:3;fill:none}
@media (prefers-color-scheme:dark){text{fill:#9ba1aa}.paper{fill:#0d1117}.title,.name,.value{fill:#e6e8eb}.value{stroke:#0d1117}
.ours{fill:#43b9a2}.other{fill:#4b525c}.base{fill:#6f87a3}.hair{stroke:#262c34}.one,.must{stroke:#e6e8eb}.floor{stroke:#f0934f}.cut{stroke:#0d1117}}
""".replace("\n", "")


class Bar(NamedTuple):
    """One line of a chart: `floor` and `must` are marks on the same axis; kind: ours, base or other."""

    name: str
    value: float
    said: str
    kind: str = "ours"
    floor: float | None = None
    must: float | None = None


class Group(NamedTuple):
    """Bars under one title."""

    title: str
    bars: Sequence[Bar]


class Axis(NamedTuple):
    """From values to places: 0 stands at `left`, `end` at the right margin."""

    left: int
    end: float

    def __call__(self, value: float) -> float:
        return round(self.left + value * (WIDTH - self.left - RIGHT) / self.end, 1)


def chart(
    groups: Sequence[Group], *, title: str, axis: str, limit: float = 0.0, one: bool = False,
    show: Callable[[float], str] = lambda x: f"{x:g}",
) -> str:  # fmt: skip
    """The drawing.

    Args:
        groups: what is drawn, from top to bottom.
        title: what a screen reader says.
        axis: the name under the axis.
        limit: where the axis ends; 0: at the longest bar.
        one: a line at 1, "as long as its forwards".
        show: how a tick is written.
    """
    bars = [bar for group in groups for bar in group.bars]
    top = max([max(b.value, b.floor or 0.0, b.must or 0.0) for b in bars], default=1.0) or 1.0
    end = min(limit, top) if limit else top
    end = max(end, 1.0) if one else end
    axis_at = Axis(max([140, *(int(7.4 * len(bar.name)) + 20 for bar in bars)]), end)
    left = axis_at.left
    body, y = [], 6
    for group in groups:
        y += HEAD - 14
        body.append(f'<text class="title" x="{left}" y="{y - 10}">{escape(group.title)}</text>')
        begin = y
        rows = []
        for bar in group.bars:
            rows.append(_bar(bar, y, axis_at))
            y += BAR + GAP
        height = y - begin - GAP + 4
        marks = [x for x in ticks(0.0, end, about=6) if not (one and x == 1.0)]
        body += [f'<path class="hair" d="M{axis_at(x)} {begin - 4}v{height + 4}"/>' for x in marks]
        if one:
            body.append(f'<path class="one" d="M{axis_at(1.0)} {begin - 4}v{height + 4}"/>')
        body += rows
    y += 10
    for x in ticks(0.0, end, about=6):
        body.append(f'<text class="tick" x="{axis_at(x)}" y="{y}">{escape(show(x))}</text>')
    y += 22
    body.append(f'<text x="{left}" y="{y}">{escape(axis)}</text>')
    body.append(_legend(bars, left + 7 * len(axis) + 26, y))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 12}" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title><style>{STYLE}</style>'
        f'<rect class="paper" width="{WIDTH}" height="{y + 12}" rx="6"/>{"".join(body)}</svg>\n'
    )


def _bar(bar: Bar, y: int, at: Axis) -> str:
    """Name, bar, marks, number."""
    left, end = at
    held = min(bar.value, end)
    x, middle = at(held), y + BAR - 5
    out = [
        f'<text class="name" x="{left - 12}" y="{middle}">{escape(bar.name)}</text>',
        f'<rect class="{bar.kind}" x="{left}" y="{y}" width="{round(x - left, 1)}" height="{BAR}" rx="2"/>',
    ]
    if bar.value > end:  # cut: two slanted lines near the end
        out.append(
            f'<path class="cut" d="M{x - 34} {y + BAR + 2}l8 -{BAR + 4}M{x - 25} {y + BAR + 2}l8 -{BAR + 4}"/>'
        )
    if bar.floor is not None and bar.floor <= end:
        out.append(f'<path class="floor" d="M{at(bar.floor)} {y - 3}v{BAR + 6}"/>')
    if bar.must is not None and bar.must <= end:
        out.append(f'<path class="must" d="M{at(bar.must)} {y - 3}v{BAR + 6}"/>')
    marks = [m for m in (bar.floor, bar.must) if m is not None and held < m <= end]
    said = max([x, *(at(m) for m in marks)]) + 8
    out.append(f'<text class="value" x="{said}" y="{middle}">{escape(bar.said)}</text>')
    return "".join(out)


def _legend(bars: Sequence[Bar], x: float, y: int) -> str:
    """What the marks mean, where there are any."""
    out = []
    for kind, word, there in (
        ("floor", "floor of this machine", any(b.floor is not None for b in bars)),
        ("must", "target", any(b.must is not None for b in bars)),
    ):
        if there:
            out.append(f'<path class="{kind}" d="M{x} {y - 12}v16"/><text x="{x + 8}" y="{y}">{word}</text>')
            x += 24 + 7 * len(word)
    return "".join(out)

"""The figure of a contest: medians of the loss against component queries, a panel a problem.

What it is not: the numbers (`contest`).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from bench.shelf_figure import STYLE

WIDTH, HIGH, LEFT, TOP, NAMES = 920, 230, 64, 34, 190
DECADES = 3  # of queries, on a logarithmic axis
COLORS = ("#0f7b6a", "#c2571a", "#4a6fb5", "#9a4f96", "#b8860b", "#b0563f", "#3d8fa5")
Curve = list[tuple[float, float]]


def curve(problem: Mapping[str, Any], cell: Mapping[str, Any]) -> Curve:
    """(queries, median over seeds of the loss above the least); the seeds look at about the same places."""
    best = problem["best"] or 0.0
    places = zip(*(zip(r["queries"], r["loss"], strict=True) for r in cell["runs"]), strict=False)
    return [
        (statistics.median(q for q, _ in at), max(statistics.median(v for _, v in at) - best, 1e-12))
        for at in places
    ]


def draw(found: Mapping[str, Any]) -> str:
    """The drawing."""
    body, y = [], 8
    for name, problem in found["problems"].items():
        curves = {k: curve(problem, c) for k, c in problem["cells"].items() if "error" not in c}
        if curves:
            body.append(_panel(name, problem, curves, found, y))
            y += HIGH + TOP + 44
    title = f"{found['measure'].capitalize()} against {found['asked']}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img" aria-label="{title}">'
        f"<title>{title}</title><style>{STYLE}</style>"
        f'<rect class="paper" width="{WIDTH}" height="{y}" rx="6"/>{"".join(body)}</svg>\n'
    )


def _panel(
    name: str, problem: Mapping[str, Any], curves: Mapping[str, Curve], found: Mapping[str, Any], y: int
) -> str:
    top, wide = y + TOP, WIDTH - LEFT - NAMES
    values = [v for c in curves.values() for _, v in c]
    low, high = math.log10(min(values)), math.log10(max(values))
    low, high = (low, high) if high > low else (low - 0.5, low + 0.5)
    budget, linear = problem["budget"], found["axis"] == "linear"

    def at(q: float, v: float) -> tuple[float, float]:
        along = q / budget if linear else 1.0 + math.log10(max(q, 1.0) / budget) / DECADES
        along = min(1.0, max(0.0, along))
        return LEFT + wide * along, top + HIGH * (high - math.log10(v)) / (high - low)

    what = found["measure"] if problem["best"] is not None else "loss"
    size = f"d = {problem['d']}" + f", n = {problem['n']}" * bool(problem["n"])
    out = [
        f'<text class="title" x="{LEFT}" y="{top - 12}">{escape(name)}: {escape(what)} against {found["asked"]}, {size}</text>'
    ]
    for v in _marks(low, high):
        h = at(1, v)[1]
        out.append(
            f'<path class="hair" d="M{LEFT} {h:.1f}h{wide}"/><text class="end" x="{LEFT - 6}" y="{h + 4:.1f}">{v:g}</text>'
        )
    ends = math.log10(budget) - DECADES, math.log10(budget)
    ticks = (
        [round(k / 5 * budget) for k in range(6)]
        if linear
        else [10**k for k in range(math.ceil(ends[0]), math.floor(ends[1]) + 1)]
    )
    for q in ticks:
        said = f"{q:,}" if linear else f"1e{len(str(q)) - 1}"
        out.append(f'<text class="mid" x="{at(q, 10**low)[0]:.1f}" y="{top + HIGH + 16}">{said}</text>')
    order = list(curves)
    floor = -math.inf
    for label in sorted(order, key=lambda k: -curves[k][-1][1]):
        place, ours = order.index(label), label not in found["base"]
        style = f'class="named{"" if ours else " base"}" stroke="{COLORS[place % len(COLORS)]}"'
        line = "L".join(f"{a:.1f} {b:.1f}" for a, b in (at(*point) for point in curves[label]))
        out.append(f'<path {style} d="M{line}"><title>{escape(label)}</title></path>')
        floor = max(floor + 14, at(*curves[label][-1])[1] + 4)
        out.append(
            f'<text x="{LEFT + wide + 8}" y="{floor:.1f}" style="fill:{COLORS[place % len(COLORS)]}">{escape(label)}</text>'
        )
    return "".join(out)


def _marks(low: float, high: float) -> Sequence[float]:
    """Powers of ten, and what lies between where those are few."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    tens = [10.0**k for k in powers if low <= k <= high]
    return (
        tens
        if len(tens) >= 3
        else [m * 10.0**k for k in powers for m in (1, 2, 5) if low <= k + math.log10(m) <= high]
    )

"""The figure of COCO: share of targets reached against evaluations a dimension (an ECDF), a panel a dimension.

    share(b) = targets first reached within b d evaluations / all targets of all functions and instances

The entrants with the largest last shares, over the dimensions drawn, have a color and a name; the rest are gray (a name
on hover).  What it is not: the numbers (`coco`).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from bench.coco_problem import BUDGET, TARGETS
from bench.shelf_figure import COLORS, STYLE

OURS = "zoptim"
WIDTH, HIGH, LEFT, GAP, TOP, NAMES = 920, 200, 40, 40, 30, 110
HALF = (WIDTH - LEFT - 2 * NAMES - GAP) // 2
POINTS = 60
LEAST = 0.1  # evaluations a dimension, where the axis begins

Found = Mapping[tuple[int, str], Mapping[str, Any]]  # (dimension, entrant): a cell's result


def ecdf(found: Mapping[str, Any]) -> list[tuple[float, float]]:
    """(evaluations a dimension, share), at evenly spaced logarithms."""
    hits = sorted(hit / found["dim"] for problem in found["problems"].values() for hit in problem["hits"])
    whole = TARGETS * len(found["problems"])
    budgets = [LEAST * (BUDGET / LEAST) ** (k / (POINTS - 1)) for k in range(POINTS - 1)] + [float(BUDGET)]
    return [(b, bisect.bisect_right(hits, b) / whole) for b in budgets]


def draw(found: Found) -> str:
    """The drawing; "" while there is no cell."""
    curves = {cell: ecdf(result) for cell, result in found.items() if "error" not in result}
    if not curves:
        return ""
    colors = _colors(curves)
    dims = sorted({dim for dim, _ in curves})
    body = []
    for place, dim in enumerate(dims):
        left, top = LEFT + place % 2 * (HALF + NAMES + GAP), TOP + place // 2 * (HIGH + TOP + 40)
        body.append(_panel(dim, {n: c for (d, n), c in curves.items() if d == dim}, colors, left, top))
    high = TOP + (len(dims) + 1) // 2 * (HIGH + TOP + 40)
    title = "Share of targets reached against evaluations a dimension"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {high}" role="img" aria-label="{title}">'
        f"<title>{title}</title><style>{STYLE}</style>"
        f'<rect class="paper" width="{WIDTH}" height="{high}" rx="6"/>{"".join(body)}</svg>\n'
    )


def _colors(curves: Mapping[tuple[int, str], Sequence[tuple[float, float]]]) -> dict[str, str]:
    """Ours, then those with the largest sum of last shares."""
    last: dict[str, float] = {}
    for (_, name), curve in curves.items():
        last[name] = last.get(name, 0.0) + curve[-1][1]
    order = sorted(last, key=lambda name: (name != OURS, -last[name]))
    return dict(zip(order, COLORS, strict=False))


def _panel(
    dim: int,
    curves: Mapping[str, Sequence[tuple[float, float]]],
    colors: Mapping[str, str],
    left: int,
    top: int,
) -> str:
    """One dimension: its axes, its lines, the names of the colored at the right."""
    most = max(0.1, math.ceil(10 * max(c[-1][1] for c in curves.values())) / 10)

    def at(budget: float, share: float) -> tuple[float, float]:
        along = math.log(budget / LEAST) / math.log(BUDGET / LEAST)
        return left + HALF * along, top + HIGH * (1 - share / most)

    out = [f'<text class="title" x="{left}" y="{top - 10}">d = {dim}</text>']
    for k in range(round(10 * most) + 1):
        y = at(LEAST, k / 10)[1]
        out.append(f'<path class="hair" d="M{left} {y:.1f}h{HALF}"/>')
        out.append(f'<text class="end" x="{left - 6}" y="{y + 4:.1f}">{k / 10:g}</text>')
    for budget in (0.1, 1, 10, 30):
        x = at(budget, 0)[0]
        out.append(f'<text class="mid" x="{x:.1f}" y="{top + HIGH + 16}">{budget:g} d</text>')
    for name in sorted(curves, key=lambda n: n in colors):  # the named on top
        line = "L".join(f"{x:.1f} {y:.1f}" for x, y in (at(*point) for point in curves[name]))
        style = f'class="named" stroke="{colors[name]}"' if name in colors else 'class="other"'
        out.append(f'<path {style} d="M{line}"><title>{escape(name)}</title></path>')
    floor = -math.inf
    for name in sorted((n for n in curves if n in colors), key=lambda n: -curves[n][-1][1]):
        floor = max(floor + 14, at(BUDGET, curves[name][-1][1])[1] + 4)
        out.append(
            f'<text x="{left + HALF + 6}" y="{floor:.1f}" style="fill:{colors[name]}">{escape(name)}</text>'
        )
    return "".join(out)

"""The trace of a search as a picture: every value, and the best so far, over evaluations.  SVG, no dependency.

Not here: charts (`lm.charts`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..lm.charts import Chart, span

STYLE = (
    "svg{font:13px system-ui,sans-serif;background:#fff}.hair{stroke:#e4e4e4}.base{stroke:#999;fill:none}"
    ".tick{fill:#555}.end{text-anchor:end}.middle{text-anchor:middle}"
    ".told{stroke:#9bb8d8;stroke-width:3;stroke-linecap:round;fill:none}.best{stroke:#c2410c;stroke-width:2;fill:none}"
    ".said{fill:#333}.title{fill:#111;font-size:15px;font-weight:600}text.told{fill:#9bb8d8}text.best{fill:#c2410c}.key{stroke:none}"
)
MANY = 4000  # values drawn
LOWER = 0.95  # share of the values that the axis is to hold


def drawn(queries: Sequence[float], values: Sequence[float], title: str, *, best: bool = True) -> str:
    """An <svg> of values (points) and, where they compare, the best so far (a line); logarithmic where they span decades.

    Example:
        >>> drawn([1, 2, 3], [3.0, 2.0, 2.5], "a bowl").startswith("<svg xmlns=")
        True
    """
    x, y = np.asarray(queries, float), np.asarray(values, float)
    known = np.isfinite(y)
    lowest = np.fmin.accumulate(y) if len(y) else y
    logs = bool(known.any() and y[known].min() > 0 and y[known].max() > 100 * y[known].min())
    height: Callable[[np.ndarray], np.ndarray] = np.log10 if logs else np.asarray
    some = (
        np.unique(np.linspace(0, len(x) - 1, min(MANY, len(x))).astype(int)) if len(x) else np.zeros(0, int)
    )
    told, least = height(y[some]), height(lowest[some])
    top = np.inf if logs else _top(told[np.isfinite(told)], least[np.isfinite(least)])
    points = [(a, min(b, top)) for a, b in zip(x[some], told, strict=True) if np.isfinite(b)]
    line = [(a, b) for a, b in zip(x[some], least, strict=True) if best and np.isfinite(b)]
    chart = Chart((0.0, float(x[-1]) if len(x) else 1.0), span([b for _, b in points], trim=0.0), height=380)
    chart.left, chart.top = 92, 66  # room for the axes' names, title and legend
    _head(chart, title, bool((told > top).any()), best)
    chart.grid(lambda v: f"{10**v:.3g}" if logs else f"{v:.4g}")
    chart.bottom_axis(["evaluations"], [lambda v: f"{v:g}"])
    chart.points(points, "told")
    if best:
        chart.line(line, "best")
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{chart.width}" height="{chart.height}" '
    return (
        chart.svg(title).replace("<svg ", head, 1).replace("</title>", f"</title><style>{STYLE}</style>", 1)
    )


def _top(told: np.ndarray, best: np.ndarray) -> float:
    """Where a linear axis ends: at the best's first value, or where all but a few values are below; the rest lies on its edge."""
    return max(float(best.max(initial=-np.inf)), float(np.quantile(told, LOWER))) if len(told) else np.inf


def _head(chart: Chart, title: str, cut: bool, best: bool) -> None:
    """The title, the name of the upright axis, and what is drawn how."""
    left, y = chart.left, chart.top - 22
    chart.write(left, 22, title, "title")
    chart.write(left - 10, y, "value", "tick end")
    chart.write(left, y, "\u25cf", "key told")
    chart.write(left + 14, y, "asked" + (", the highest at the edge" if cut else ""), "said")
    if not best:
        return
    at = left + (230 if cut else 80)
    chart.write(at, y, "\u2501", "key best")
    chart.write(at + 20, y, "best so far", "said")

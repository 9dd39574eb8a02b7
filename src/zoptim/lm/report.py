"""`write(run)`: one self-contained report.html about a run, whole or broken off.

Headline before -> after, what it cost, the curves (dev over forward passes, training loss, step size
and spread of the probes), then what `report_parts.py` adds.  Inline SVG, no script, nothing fetched.
Not here: measuring anything; the report only reads the run's files.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Sequence
from html import escape
from pathlib import Path

from zoptim.lm import report_parts as parts
from zoptim.lm import units
from zoptim.lm.charts import Chart, Pairs, smooth, span, ticks
from zoptim.lm.metrics import Event
from zoptim.lm.report_page import page
from zoptim.lm.runs import RunView, finite

MOST_POINTS = 1500  # drawn per chart; more are thinned evenly
CURVE_POINTS = 240


def write(run: str | Path) -> Path:
    """Render RUN/report.html and return its path; whatever the run lacks is left out.

    Raises:
        UsageError: the folder holds no run.
    """
    view = RunView.read(run)
    sections = [
        header(view),
        facts(view),
        accuracy_chart(view),
        loss_chart(view),
        side_charts(view),
        parts.predictions(view),
        parts.commands(view),
        parts.notes(view),
        parts.config(view),
        parts.footer(view),
    ]
    target = view.path / "report.html"
    spare = target.with_suffix(".html.part")
    spare.write_text(page(f"{_title(view)} – zoptim", "\n".join(s for s in sections if s)), encoding="utf-8")
    os.replace(spare, target)
    return target


def header(view: RunView) -> str:
    """Who learned what and how well, in one glance."""
    r = view.result
    state = f"{view.state}: {r['stopped_because']}" if r.get("stopped_because") else view.state
    task = escape(_plain(view.said("task") or view.said("data"), "its data"))
    method = escape(str(view.said("method") or "a zeroth-order method"))
    lede = f"Trained on {task} with {method}: forward passes only, no gradient was computed."
    before, after, what = _headline(view)
    if after is None:
        hero = '<p class="hero"><span class="was">no evaluation yet</span></p>'
    else:
        was = "" if before is None else f'<span class="was">{units.figure(before)}</span>'
        arrow = '<span class="arrow" aria-label="to">→</span>' if was else ""
        gain = "" if before is None else f'<span class="gain sans">{after - before:+.3f}</span>'
        now = f'<span class="now">{units.figure(after)}</span>'
        hero = f'<div class="hero">{was}{arrow}{now}{gain.replace("-", "−")}</div>'
    return (
        f'<p class="kicker">zoptim run <b>{escape(view.path.resolve().name)}</b> · {escape(state)}</p>'
        f'<h1>{escape(_title(view))}</h1><p class="lede">{lede}</p>{hero}<p class="cap">{escape(what)}</p>'
    )


def facts(view: RunView) -> str:
    """What it cost: forwards, time, memory, disk; what moved."""
    r, said = view.result, view.said
    forwards = finite(r.get("forwards", view.last.get("forwards")))
    steps = finite(r.get("steps", view.steps[-1]["t"] + 1 if view.steps else None))
    seconds = finite(r.get("seconds", view.last.get("seconds")))
    setup = finite(r.get("seconds_setup"))
    trained = r.get("trained_parameters")
    moved = units.amount(trained) if isinstance(trained, (int, float)) else None
    pattern = said("train")
    step_size = said("lr")
    best_t = r.get("best_t", view.best["t"] if view.best else None)
    cells = [
        ("forward passes", units.amount(forwards), f"{units.amount(steps)} steps" if steps else ""),
        ("time", units.duration(seconds), f"and {units.duration(setup)} to set up" if setup else ""),
        ("peak memory", units.size(finite(r.get("peak_rss_bytes"))), "of the whole process"),
        ("weights that moved", moved, "" if pattern in (None, "auto") else f"matching {pattern}"),
        ("the journal", units.size(view.journal_bytes or r.get("journal_bytes")), "all there is to keep"),
        (
            "step size",
            _short_number(step_size),
            f"radius {_short_number(said('eps'))}" if said("eps") else "",
        ),
        ("result taken at", None if best_t is None else f"step {best_t:,}", "best on dev"),
        ("seed", None if said("seed") is None else str(said("seed")), str(said("dtype") or "")),
    ]
    if said("at") == "last":
        cells[6] = ("result taken at", "the last step", "")
    rows = [
        f"<div><dt>{name}</dt><dd>{escape(value)}{f'<small>{escape(more)}</small>' if more else ''}</dd></div>"
        for name, value, more in cells
        if value not in (None, "–", "")
    ]
    return f'<dl class="facts">{"".join(rows)}</dl>' if rows else ""


def accuracy_chart(view: RunView) -> str:
    """Dev accuracy over forwards, the best ringed, the level before training dashed."""
    pairs = _pairs(view.evals, "dev_accuracy")
    if len(pairs) < 2:
        return ""
    start = finite(view.result.get("dev_accuracy_before"))
    if start is None:
        start = pairs[0][1] if view.evals[0].get("t") == 0 else finite(view.result.get("accuracy_before"))
    levels = [] if start is None else [start]
    chart = Chart(_across(view), span([*(y for _, y in pairs), *levels], pad=0.12))
    _axes(chart, view)
    if start is not None:
        chart.level(start, f"before training {units.figure(start)}")
    chart.line(pairs, "curve")
    if len(pairs) <= 80:
        chart.points(pairs, "knots")
    best = view.best or max(view.evals, key=lambda e: finite(e.get("dev_accuracy")) or 0.0)
    x, y = finite(best.get("forwards")), finite(best.get("dev_accuracy"))
    if x is not None and y is not None:
        chart.mark(x, y, f"best {units.figure(y)}", around=pairs)
    return (
        '<h2>Accuracy on dev</h2><p class="cap">Share of dev examples answered rightly, over forward'
        f" passes of one batch.</p><figure>{chart.svg('Dev accuracy over forward passes')}</figure>"
    )


def loss_chart(view: RunView) -> str:
    """Training loss as faint points with a smoothed line, dev loss beside it."""
    pairs, dev = _pairs(view.steps, "loss"), _pairs(view.evals, "dev_loss")
    if len(pairs) + len(dev) < 2:
        return ""
    low, high = span([y for _, y in pairs], trim=0.01)
    if dev:
        inner = span([y for _, y in dev])
        low, high = (min(low, inner[0]), max(high, inner[1])) if pairs else inner
    chart = Chart(_across(view), (low, high))
    _axes(chart, view)
    chart.points(_thin(pairs, MOST_POINTS), "dot")
    chart.line(_smoothed(pairs), "curve")
    key = '<i class="dots"></i>one step<i style="margin-left:18px"></i>training, smoothed' if pairs else ""
    if len(dev) > 1:
        chart.line(dev, "curve2")
        if len(dev) <= 80:
            chart.points(dev, "knots2")
        key += '<i class="two"></i>dev'
    outside = sum(not low <= y <= high for _, y in pairs)
    few = f"; {outside:,} of {len(pairs):,} lie outside the frame." if outside else "."
    cap = "Mean loss of each step's batch" + few
    return (
        f'<h2>Loss</h2><p class="cap">{cap}</p><p class="key sans">{key}</p>'
        f"<figure>{chart.svg('Loss over forward passes')}</figure>"
    )


def side_charts(view: RunView) -> str:
    """Step size and spread of the probes, small, side by side."""
    drawn = []
    for field, name, why in (
        ("lr", "Step size", "the schedule as it was applied"),
        ("spread", "Spread of the probes", "standard deviation of a step's losses: the signal"),
    ):
        pairs: Pairs = _pairs(view.steps, field)
        if len(pairs) < 8:
            continue
        low, high = span([y for _, y in pairs], trim=0.005 if field == "spread" else 0.0)
        chart = Chart(
            _across(view), (min(low, 0.0) if field == "lr" else max(low, 0.0), high), width=430, height=210
        )
        _axes(chart, view, about=4)
        if field == "spread":
            chart.points(_thin(pairs, MOST_POINTS // 2), "dot")
            pairs = _smoothed(pairs)
        chart.line(_thin(pairs, CURVE_POINTS), "curve")
        drawn.append(f'<div><h2>{name}</h2><p class="cap">{why}</p><figure>{chart.svg(name)}</figure></div>')
    return f'<div class="pair">{"".join(drawn)}</div>' if drawn else ""


def _headline(view: RunView) -> tuple[float | None, float | None, str]:
    """Before, after and what they measure, from the best source the run has."""
    r = view.result
    tested = r.get("test_examples") or sum(p.get("split", "test") == "test" for p in view.predictions)
    count = f"{tested:,} test examples" if tested else "the test examples"
    after = finite(r.get("accuracy_after"))
    if after is not None:
        what = f"Accuracy on {count}, which no choice has seen; the first number is the model as it came."
        return finite(r.get("accuracy_before")), after, what
    after = finite(r.get("loss_after"))
    if after is not None:
        return finite(r.get("loss_before")), after, f"Loss on {count} (lower is better), before and after."
    for field, name in (("dev_accuracy", "Accuracy"), ("dev_loss", "Loss (lower is better)")):
        pairs = [(e, finite(e.get(field))) for e in view.evals if finite(e.get(field)) is not None]
        if pairs:
            first = pairs[0][1] if pairs[0][0].get("t") == 0 and len(pairs) > 1 else None
            best = next((y for e, y in reversed(pairs) if e.get("best")), pairs[-1][1])
            return first, best, f"{name} on dev so far; the test examples have not been looked at."
    return None, None, "The run ended before its first evaluation."


def _axes(chart: Chart, view: RunView, about: int = 7) -> None:
    values = ticks(*chart.y)
    digits = next((d for d in range(6) if all(abs(round(v, d) - v) < 1e-9 for v in values)), None)
    chart.grid(lambda v: f"{v:.2g}" if digits is None else f"{v:.{digits}f}")
    clock = sorted(_pairs([*view.steps, *view.evals], "seconds"))
    if len(clock) < 2:
        chart.bottom_axis(["forwards"], [lambda v: f"{v:,.0f}"], about)
        return
    minutes = clock[-1][1] >= 150
    unit, scale = ("minutes", 60.0) if minutes else ("seconds", 1.0)
    fine = 1 if clock[-1][1] < 15 or (minutes and clock[-1][1] < 1500) else 0

    def when(forwards: float) -> str:
        return f"{_between(clock, forwards) / scale:.{fine if forwards else 0}f}"

    chart.bottom_axis(["forwards", unit], [lambda v: f"{v:,.0f}", when], about)


def _between(clock: Pairs, x: float) -> float:
    """Seconds at a number of forwards, by straight lines between what was recorded."""
    k = bisect_left(clock, (x, float("-inf")))
    if k == 0:
        return clock[0][1] * (x / clock[0][0] if clock[0][0] else 1.0)
    if k == len(clock):
        return clock[-1][1]
    (x0, y0), (x1, y1) = clock[k - 1], clock[k]
    return y0 + (y1 - y0) * ((x - x0) / (x1 - x0) if x1 > x0 else 1.0)


def _across(view: RunView) -> tuple[float, float]:
    seen = [finite(e.get("forwards")) or 0.0 for e in [*view.steps, *view.evals]]
    return 0.0, max(seen, default=1.0) or 1.0


def _pairs(events: Sequence[Event], field: str) -> list[tuple[float, float]]:
    found = []
    for event in events:
        x, y = finite(event.get("forwards")), finite(event.get(field))
        if x is not None and y is not None:
            found.append((x, y))
    return found


def _thin(pairs: Pairs, most: int) -> Pairs:
    return pairs if len(pairs) <= most else [pairs[i * len(pairs) // most] for i in range(most)]


def _smoothed(pairs: Pairs) -> Pairs:
    if len(pairs) < 8:
        return pairs
    many = min(CURVE_POINTS, len(pairs))
    places = [i * (len(pairs) - 1) // (many - 1) for i in range(many)]
    means = smooth([y for _, y in pairs], max(1.5, len(pairs) / 80), places)
    return [(pairs[i][0], y) for i, y in zip(places, means, strict=True)]


def _title(view: RunView) -> str:
    model = _plain(view.said("model"), "A language model")
    task = _plain(view.said("task") or view.said("data"), "")
    return f"{model} learns {task}" if task else model


def _plain(name: object, otherwise: str) -> str:
    if not name:
        return otherwise
    text = str(name).removeprefix("packaged:").rstrip("/")
    return Path(text).name if text.startswith(("/", ".", "~")) else text


def _short_number(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value) if value is not None else ""

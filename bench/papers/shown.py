"""What every reproduction hands over, and how it is shown: rows of (claim, the paper's figure, ours, verdict).

A result is bench/results/papers/NAME.json:

    title, paper, arxiv     of what
    setup                   what was done, and where it differs from the paper, in prose
    rows                    [{claim, paper, ours, verdict}], verdicts computed from the numbers
    tables                  {caption: [{column: value}]}
    curves                  {title, x, y, log, series: [{name, points}]}, drawn as NAME.svg

so that the page needs no code of any reproduction.  Not here: any measurement.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from bench import common
from bench.sections import grid, told
from zoptim.lm.charts import Chart, span

RESULTS = common.RESULTS / "papers"
PAGE = Path(__file__).parent.parent.parent / "docs" / "reproductions.md"
COLORS = ("#0f7b6a", "#c2571a", "#3b6fb6", "#8a5aa8", "#8a8f98", "#b08a1e", "#b83a5b")
STYLE = """
text{font:13px Inter,"Segoe UI",system-ui,-apple-system,"Helvetica Neue",Arial,"DejaVu Sans",sans-serif;fill:#5d6168}
.end{text-anchor:end}.middle{text-anchor:middle}.paper{fill:#fff}.title{font-weight:600;font-size:14px;fill:#1d1f23}
.hair{stroke:#e4e6ea;fill:none}.base{stroke:#9ba1aa;fill:none}
@media (prefers-color-scheme:dark){text{fill:#9ba1aa}.paper{fill:#0d1117}.title{fill:#e6e8eb}.hair{stroke:#262c34}}
""".replace("\n", "")
INTRO = """# Reproductions

Findings of papers, measured again with this package: each is one command and minutes on two cores. What the paper
says stands beside what came out here, with a verdict computed from the numbers; what did not come out is shown like
what did. The page is rendered from `bench/results/papers/*.json` by `python -m bench.papers` and not edited by hand.
"""


def verdict(*held: bool) -> str:
    """In one word.

    Example:
        >>> verdict(True, True), verdict(True, False), verdict(False)
        ('reproduced', 'partly', 'not reproduced')
    """
    return "reproduced" if all(held) else "partly" if any(held) else "not reproduced"


def row(claim: str, paper: str, ours: str, *held: bool) -> dict[str, str]:
    """A row of a result."""
    return {"claim": claim, "paper": paper, "ours": ours, "verdict": verdict(*held)}


def finish(name: str, result: dict[str, Any], start: float) -> None:
    """Save a result with when, where and how long, and its drawing; print its rows."""
    result = common.stamp(result)
    result["command"] = " ".join([f"python -m bench.papers.{name}", *sys.argv[1:]])
    result["duration_seconds"] = round(time.perf_counter() - start)
    result["cpu_seconds"] = round(sum(os.times()[:4]))  # its child processes included
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    if "curves" in result:
        (RESULTS / f"{name}.svg").write_text(drawn(result["curves"]))
    for one in result["rows"]:
        print(f"{one['claim']}\n  paper: {one['paper']}\n  ours:  {one['ours']}\n  {one['verdict']}")


# -- the page --------------------------------------------------------------------------------------------


def results() -> dict[str, dict[str, Any]]:
    """All results there are, by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}


def render() -> tuple[str, dict[str, str]]:
    """The page, and the drawings by file name."""
    found = results()
    summary = [
        (f"[{r['title']}](#{anchor(r['title'])})", r["arxiv"], tally([x["verdict"] for x in r["rows"]]))
        for r in found.values()
    ]
    parts = [INTRO, grid(("finding", "arXiv", "verdict"), summary)]
    drawings = {}
    for name, r in found.items():
        parts.append(f"## {r['title']}\n\n*{r['paper']}*, arXiv {r['arxiv']}. {r['setup']}\n")
        rows = [
            (told(x["claim"]), told(x["paper"]), told(x["ours"]), f"**{x['verdict']}**") for x in r["rows"]
        ]
        parts.append(grid(("claim", "the paper", "ours", "verdict"), rows))
        if "curves" in r:
            drawings[f"{name}.svg"] = drawn(r["curves"])
            parts.append(f"![{r['curves']['title']}](../bench/results/papers/{name}.svg)\n")
        for caption, lines in r.get("tables", {}).items():
            head = list(lines[0])
            parts.append(f"{caption}\n\n" + grid(head, [[told(line[key]) for key in head] for line in lines]))
        at = r["machine"]
        parts.append(
            f"`{r['command']}` on {r['date'][:10]}, {r['cpu_seconds']} CPU seconds ({at['cpu']}, {at['kernels']}).\n"
        )
    return "\n".join(parts), drawings


def anchor(title: str) -> str:
    """A heading's link, as GitHub makes it."""
    kept = "".join(c for c in title.lower() if c.isalnum() or c in " -")
    return kept.replace(" ", "-")


def tally(verdicts: Sequence[str]) -> str:
    """Verdicts counted.

    Example:
        >>> tally(["reproduced", "reproduced", "partly"])
        '2 reproduced, 1 partly'
    """
    return ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts))


def differing() -> list[str]:
    """Files that are not what the results render to."""
    page, drawings = render()
    wanted = {PAGE: page, **{RESULTS / name: svg for name, svg in drawings.items()}}
    return [str(path) for path, text in wanted.items() if not path.is_file() or path.read_text() != text]


def write() -> None:
    """The page and its drawings, from results alone."""
    page, drawings = render()
    PAGE.write_text(page)
    for name, svg in drawings.items():
        (RESULTS / name).write_text(svg)


# -- curves ----------------------------------------------------------------------------------------------


def drawn(curves: dict[str, Any]) -> str:
    """Lines over one pair of axes with their names at the right; `log`: the y axis is in powers of ten."""
    up = math.log10 if curves.get("log") else float
    series = [(s["name"], [(x, up(y)) for x, y in s["points"]]) for s in curves["series"]]
    every = [p for _, points in series for p in points]
    chart = Chart(span([x for x, _ in every], pad=0.0), span([y for _, y in every]), width=860, height=360)
    chart.top, chart.right = 44, 40 + max(int(7.2 * len(name)) for name, _ in series)
    marks = ""
    if curves.get("log"):
        marks = _powers(chart)
    else:
        chart.grid(lambda y: f"{y:g}")
    chart.bottom_axis((curves["x"],), (lambda x: f"{x:,g}",))
    for k, (_, points) in enumerate(series):
        chart.line(points, f"s{k}")
    ends = _apart([chart.at(*points[-1])[1] for _, points in series], 17.0)
    names = "".join(
        f'<text style="fill:{COLORS[k % len(COLORS)]}" x="{chart.width - chart.right + 8}" y="{y + 4}">{escape(name)}</text>'
        for k, ((name, _), y) in enumerate(zip(series, ends, strict=True))
    )
    style = STYLE + "".join(
        f".s{k}{{stroke:{COLORS[k % len(COLORS)]};stroke-width:2;fill:none}}" for k in range(len(series))
    )
    head = (
        f'<text class="title" x="{chart.left}" y="20">{escape(curves["title"])}: {escape(curves["y"])}</text>'
    )
    svg = chart.svg(curves["title"]).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    frame = f'<style>{style}</style><rect class="paper" width="860" height="360" rx="6"/>{head}{marks}{names}'
    return svg.replace("</title>", f"</title>{frame}", 1) + "\n"


def _powers(chart: Chart) -> str:
    """Hairlines at 1, 2 and 5 times powers of ten (at powers alone over many of them)."""
    low, high = chart.y
    found = []
    for power in range(math.floor(low), math.ceil(high) + 1):
        for digit in (1, 2, 5) if high - low < 3 else (1,):
            value = digit * 10.0**power
            if low <= math.log10(value) <= high:
                x, y = chart.at(chart.x[0], math.log10(value))
                found.append(f'<path class="hair" d="M{x} {y}H{chart.width - chart.right}"/>')
                found.append(f'<text class="end" x="{x - 10}" y="{y + 4}">{value:g}</text>')
    return "".join(found)


def _apart(places: Sequence[float], least: float) -> list[float]:
    """Places moved down until no two are closer than `least`."""
    moved = list(places)
    last = -math.inf
    for k in sorted(range(len(places)), key=lambda k: places[k]):
        last = moved[k] = round(max(places[k], last + least), 1)
    return moved

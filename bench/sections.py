"""How each result is shown on the page: Markdown tables and bar charts.  Pure functions of the JSON.

What it is not: the frame around them (`page`), the drawing (`plots`), a measurement.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from bench.plots import Bar, Group, chart

PUBLISHED = "MeZO as published"
_FRAME = {"what", "version", "date", "machine", "command", "duration_seconds", "settings"}


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table: first column left, the others right."""
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join([':--', *['--:'] * (len(head) - 1)])}|"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def told(value: Any) -> str:
    """A cell: numbers to four significant digits, nothing for None.

    Example:
        >>> told(0.123456), told(134500000), told(None), told(True), told([1, 2])
        ('0.1235', '134,500,000', '', 'yes', '1, 2')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(told(item) for item in value)
    return str(value).replace("|", "\\|").replace("\n", " ")


# -- the targets -----------------------------------------------------------------------------------------


def targets(
    step: dict[str, Any] | None, memory: dict[str, Any] | None, kernels: dict[str, Any] | None
) -> str:
    """What is promised beside what was measured, floors beside both; nothing where nothing is measured."""
    rows = []
    for t in (step or {}).get("targets", ()):
        what = f"{t['case']}, {t['batch']} tokens, over points x {t['over']} forward"
        rows.append(
            (what, _bold(t["ratio"]), _two(t["must"]), _two(t["aim"]), f"{t['floor']:.3f}", t["verdict"])
        )
    for m in (memory or {}).get("rows", ()):
        if m["verdict"]:
            what = f"peak memory, {m['name']}, {m['dtype']}, over inference"
            rows.append((what, _bold(m["over_inference"]), "1.03", "1.01", "", m["verdict"]))
    for run in (kernels or {}).get("runs", ()):
        for k in (row for row in run["rows"] if row.get("target") is not None):
            what = f"kernel, {k['name']}, over a plain add, {run['backend'].removesuffix(', openmp')}"
            said = "met" if k["ratio"] <= k["target"] else "missed"
            rows.append((what, _bold(k["ratio"]), _two(k["target"]), "", "", said))
    if not rows:
        return ""
    head = ("", "measured", "must", "aim", "floor", "")
    return f"""## Targets

{grid(head, rows)}
The floor is the larger of the matrix products alone and the bytes moved over the measured bandwidth, timed in the same
run; a target below it cannot be met by anyone on this machine.
"""


def _bold(ratio: float) -> str:
    return f"**{ratio:.3f}**"


def _two(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


# -- step ------------------------------------------------------------------------------------------------


def _first(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs at the first thread count."""
    runs: list[dict[str, Any]] = found["runs"]
    return [run for run in runs if run["threads"] == runs[0]["threads"]]


def step(found: dict[str, Any]) -> str:
    """A table a batch; the floors over points x lean."""
    parts = []
    for run in _first(found):
        parts.append(
            f"**{run['batch']} tokens**, {run['threads']} threads: a plain forward {run['plain']['seconds']:.3f} s, "
            f"a lean one {run['lean']['seconds']:.3f} s; a plain add moves {run['bandwidth_gb']} GB/s.\n"
        )
        head = (
            "",
            "points",
            "seconds",
            "over plain",
            "over lean",
            "products alone",
            "bytes alone",
            "in turn",
        )
        rows = [
            (
                name, told(v["points"]), f"{v['seconds']:.3f}", f"{v['over_plain']:.3f}", f"**{v['over_lean']:.3f}**",
                f"{v['products_over_lean']:.3f}", f"{v['bytes_over_lean']:.3f}", f"{v['in_turn_over_lean']:.3f}",
            )
            for name, v in run["steps"].items()
        ]  # fmt: skip
        parts.append(grid(head, rows))
    parts.append(
        "The last three columns are floors over points x lean forwards: the step's matrix products and nothing else; "
        "its weights read once, then read and written by the update; both where the update waits for the losses. "
        f"{PUBLISHED} computes all logits, as its code does.\n"
    )
    return "\n".join(parts)


def step_chart(found: dict[str, Any]) -> str:
    """Over lean forwards, both batches; long bars cut."""
    musts = {(t["batch"], t["case"]): t["must"] for t in found["targets"] if t["over"] == "lean"}
    groups = []
    for run in _first(found):
        bars = [
            Bar(name, v["over_lean"], f"{v['over_lean']:.2f}", "other" if name == PUBLISHED else "ours",
                None if name == PUBLISHED else v["floor_over_lean"], musts.get((run["batch"], name)))
            for name, v in run["steps"].items()
        ]  # fmt: skip
        groups.append(Group(f"batch of {run['batch']} tokens", bars))
    ours = max(b.value for g in groups for b in g.bars if b.kind == "ours")
    title = "A step over the lean forwards it asks"
    return chart(
        groups, title=title, axis="step / (points x lean forward)", limit=1.8 * max(1.2, ours), one=True
    )


def threads(found: dict[str, Any]) -> str:
    """Seconds at each number of threads, and the gain."""
    counts = list(dict.fromkeys(run["threads"] for run in found["runs"]))
    rows = []
    for batch in dict.fromkeys(run["batch"] for run in found["runs"]):
        runs = {run["threads"]: run for run in found["runs"] if run["batch"] == batch}
        for name in ("plain forward", "lean forward", *runs[counts[0]]["steps"]):
            seconds = {n: _seconds(run, name) for n, run in runs.items()}
            gain = seconds[min(counts)] / seconds[max(counts)]
            said = [f"{seconds[n]:.3f}" for n in counts]
            over = [_over(runs[n], name) for n in counts]
            rows.append((f"{name}, {batch}", *said, *over, f"{gain:.2f}" if len(counts) > 1 else ""))
    word = ["1 thread" if n == 1 else f"{n} threads" for n in counts]
    return grid(("", *[f"seconds, {w}" for w in word], *[f"over lean, {w}" for w in word], "gain"), rows)


def _seconds(run: dict[str, Any], name: str) -> float:
    where = run[name.split()[0]] if name.endswith(" forward") else run["steps"][name]
    return float(where["seconds"])


def _over(run: dict[str, Any], name: str) -> str:
    return f"{run['steps'][name]['over_lean']:.3f}" if name in run["steps"] else ""


def threads_chart(found: dict[str, Any]) -> str:
    """Over lean forwards by threads, on the first batch."""
    batch = found["runs"][0]["batch"]
    groups = [
        Group(
            f"{run['threads']} thread{'s' * (run['threads'] > 1)}, batch of {batch} tokens",
            [
                Bar(name, v["over_lean"], f"{v['over_lean']:.2f}", floor=v["floor_over_lean"])
                for name, v in run["steps"].items()
                if name != PUBLISHED
            ],
        )
        for run in found["runs"]
        if run["batch"] == batch
    ]
    return chart(groups, title="Steps by threads", axis="step / (points x lean forward)", one=True)


# -- memory ----------------------------------------------------------------------------------------------


def memory(found: dict[str, Any]) -> str:
    """Megabytes and ratios, a line a case and dtype."""
    rows = [
        (
            f"{r['name']}, {r['dtype']}", f"{r['loaded'] / 1e6:,.0f}", f"{r['peak'] / 1e6:,.0f}",
            f"**{r['over_inference']:.3f}**", r["verdict"],
        )
        for r in found["rows"]
    ]  # fmt: skip
    head = ("", "loaded, MB", "peak, MB", "over inference", "must 1.03, aim 1.01")
    return grid(head, rows) + f"\nMedians of {found['settings']['processes']} processes each.\n"


def memory_chart(found: dict[str, Any]) -> str:
    """Peak over inference, a group a dtype."""
    groups = []
    for dtype in dict.fromkeys(r["dtype"] for r in found["rows"]):
        bars = [
            Bar(r["name"], r["over_inference"], f"{r['over_inference']:.3f}", _kind(r["name"]),
                must=found["must"] if r["verdict"] else None)
            for r in found["rows"] if r["dtype"] == dtype
        ]  # fmt: skip
        groups.append(Group(dtype, bars))
    return chart(groups, title="Peak memory over inference", axis="peak / peak of inference", one=True)


def _kind(name: str) -> str:
    return "other" if name == PUBLISHED else "base" if name == "inference" else "ours"


# -- peers -----------------------------------------------------------------------------------------------


def peers(found: dict[str, Any]) -> str:
    """Time and peak of each, what refused with its error."""
    ours = found["ours"]
    times = [r["ours_seconds"] for r in found["rows"] if "ours_seconds" in r]
    seconds = f"{statistics.median(times):.2f}" if times else ""
    rows = [(f"zoptim, {ours['name']}", seconds, "1.00", f"{ours['peak'] / 1e6:,.0f}", "1.00", "")]
    for r in found["rows"]:
        name = f"{r['name']} (`{r['version']}`)" if r["version"] else r["name"]
        if "refused" in r:
            rows.append((name, "refuses", "", "", "", f"`{told(r['refused'])}`"))
            continue
        rows.append(
            (
                name, f"{r['seconds']:.2f}", f"**{r['times_ours']:.2f}**", f"{r['peak'] / 1e6:,.0f}",
                f"{r['peak_times_ours']:.2f}", r["note"],
            )
        )  # fmt: skip
    head = ("", "seconds", "time over ours", "peak, MB", "peak over ours", "")
    return grid(head, rows) + (
        "\nEach is called as its documentation has it, with every choice in its favor "
        "(`bench/peer_steps.py`): only the last position's logits, the cheapest rank, no bookkeeping.\n"
    )


def peers_chart(found: dict[str, Any]) -> str:
    """Time and peak over ours."""
    ran = [r for r in found["rows"] if "refused" not in r]
    groups = []
    for title, key in (("time of a two-point step", "times_ours"), ("peak memory", "peak_times_ours")):
        bars = [Bar("zoptim", 1.0, "1"), *(Bar(r["name"], r[key], f"{r[key]:.1f}", "other") for r in ran)]
        groups.append(Group(title, bars))
    return chart(
        groups, title="Other packages over ours", axis="over ours, less is better", one=True, limit=20.0
    )


# -- anything else ---------------------------------------------------------------------------------------


def generic(found: dict[str, Any]) -> str:
    """Scalars as a list of facts, lists of objects as tables, objects of objects as tables by name."""
    facts, tables = [], []
    for key, value in found.items():
        if key in _FRAME:
            continue
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            tables.append(_objects(key, value))
        elif isinstance(value, dict) and value and all(isinstance(item, dict) for item in value.values()):
            tables.append(_objects(key, [{"name": name, **item} for name, item in value.items()]))
        elif isinstance(value, dict):
            facts += [f"{key} {name}: {told(item)}" for name, item in value.items() if _plain(item)]
        elif _plain(value):
            facts.append(f"{key.replace('_', ' ')}: {told(value)}")
    return "\n".join([*(["; ".join(facts) + ".\n"] if facts else []), *tables])


def _plain(value: Any) -> bool:
    return not isinstance(value, dict | list) or (
        isinstance(value, list)
        and len(value) <= 8
        and not any(isinstance(item, dict | list) for item in value)
    )


def _objects(title: str, items: list[dict[str, Any]]) -> str:
    """The columns that hold plain values, in order of first appearance; empty ones left out."""
    columns = [
        key
        for key in dict.fromkeys(key for item in items for key in item)
        if any(item.get(key) is not None for item in items) and all(_plain(item.get(key)) for item in items)
    ]
    head = [key.replace("_", " ") for key in columns]
    table = grid(head, [[told(item.get(key)) for key in columns] for item in items])
    return f"*{title.replace('_', ' ')}*\n\n{table}" if title != "rows" else table

"""Kernels, replay, stream and precision as the page shows them; what they measure is told in their own files.

Pure functions of the JSON; where a result has not the shape expected here it is shown whole (`sections.generic`).
"""

from __future__ import annotations

from typing import Any

from bench.plots import Bar, Group, chart
from bench.sections import generic, grid, told


def kernels(found: dict[str, Any]) -> str:
    """A line a kernel, a column an edition and number of threads."""
    runs = found.get("runs")
    if not runs:
        return generic(found)
    rows = []
    for row in runs[0]["rows"]:
        ratios = [_named(run, row["name"])["ratio"] for run in runs]
        rows.append((row["name"], *[f"{ratio:.2f}" for ratio in ratios], told(row.get("target"))))
    head = ("over a plain add", *[run["backend"].removesuffix(", openmp") for run in runs], "must")
    calls = ", ".join(f"{run['call_microseconds']:g} us" for run in runs)
    return (
        grid(head, rows) + f"\n{told(runs[0]['elements'])} weights. A smallest call from Python: {calls}.\n"
    )


def _named(run: dict[str, Any], name: str) -> dict[str, Any]:
    return next(row for row in run["rows"] if row["name"] == name)


def fullest(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each edition the run on the most threads, which comes last."""
    return list({run["backend"].split(",")[0]: run for run in runs}.values())


def kernels_chart(found: dict[str, Any]) -> str:
    """Each edition on all threads."""
    groups = []
    for run in fullest(found.get("runs", [])):
        bars = [
            Bar(r["name"], r["ratio"], f"{r['ratio']:.2f}", _side(r["name"]), must=r.get("target"))
            for r in run["rows"]
        ]
        groups.append(Group(run["backend"].removesuffix(", openmp"), bars))
    if not groups:
        return ""
    top = max(b.value for g in groups for b in g.bars if b.kind == "ours")
    return chart(
        groups, title="Kernels over a plain add", axis="over a plain add", one=True, limit=1.15 * top
    )


def _side(name: str) -> str:
    return "other" if name.startswith("torch") else "base" if name.startswith("plain") else "ours"


def replay(found: dict[str, Any]) -> str:
    """Sweeps a replayed step costs, the long replay, the journal."""
    if "long" not in found or "journal" not in found:
        return generic(found)
    rows = [
        (r["name"], f"{r['seconds_per_step']:.4f}", f"**{r['sweeps_per_8_draws']:.2f}**", f"{r['cpu']:.2f}")
        for r in found["rows"]
    ]
    long, journal = found["long"], found["journal"]
    return (
        grid(("a replayed step of 8 draws", "seconds", "plain sweeps", "in CPU time"), rows)
        + f"\n{told(found['elements'])} weights; {told(long['steps'])} steps replayed in {long['seconds']:.1f} s, so "
        f"10,000 take {long['minutes_of_10000_steps']:.1f} minutes. A record takes {journal['append_microseconds']:.1f} us "
        f"to append ({journal['append_over_replayed_step']:.2%} of replaying it) and {journal['bytes_per_record']:.0f} "
        f"bytes; {told(journal['records'])} of them open in {journal['open_seconds']:.2f} s.\n"
    )


def replay_chart(found: dict[str, Any]) -> str:
    """Plain sweeps a step of eight draws."""
    rows = found.get("rows", [])
    if not rows or "sweeps_per_8_draws" not in rows[0]:
        return ""
    bars = [Bar(r["name"], r["sweeps_per_8_draws"], f"{r['sweeps_per_8_draws']:.2f}") for r in rows]
    group = Group("a replayed step of 8 draws", bars)
    return chart([group], title="Replay", axis="sweeps of a plain add", one=True)


def stream(found: dict[str, Any]) -> str:
    """Memory, time and proofs of the streamed run."""
    parts = []
    if "memory" in found:
        m, t = found["memory"], found["times"]
        held = (m["peak_rss"] - m["rss_after_imports"]) / 1e6
        rows = [
            ("parameters", told(m["parameters"])),
            ("checkpoint, MB", f"{m['checkpoint_bytes'] / 1e6:,.0f}"),
            ("peak memory after imports, MB", f"{held:,.0f}"),
            ("peak over checkpoint (must 0.25)", f"**{m['peak_over_checkpoint']:.3f}**"),
            ("window, MB (least that works)", _window(m)),
            (
                "read and written a step, MB",
                f"{m['read_a_step'] / 1e6:,.0f}, {m['written_a_step'] / 1e6:,.0f}",
            ),
            ("a streamed step, seconds", f"{t['streamed']['seconds']:.2f}"),
            ("a resident step, seconds", f"{t['resident']['seconds']:.2f}"),
            (
                "streamed over resident (in CPU time)",
                f"**{t['ratio_seconds']:.2f}** ({t['ratio_cpu_seconds']:.2f})",
            ),
            ("losses equal, weights equal", f"{told(t['losses_equal'])}, {told(t['weights_equal'])}"),
        ]
        parts.append(grid(("", ""), rows))
    if "equal" in found:
        same = [f"{name} ({'equal' if held else 'NOT EQUAL'})" for name, held in found["equal"].items()]
        parts.append(
            "Whole runs of small models, streamed and resident, bit for bit: " + ", ".join(same) + ".\n"
        )
    if "kills" in found:
        k = found["kills"]
        wrong = f"{len(k['wrong'])} wrong" if k["wrong"] else "nothing lost or repeated"
        parts.append(
            f"Killed {k['kills']} times at random instants, {told(k['slots_compared'])} slots compared: {wrong}.\n"
        )
    return "\n".join(parts) if parts else generic(found)


def _window(m: dict[str, Any]) -> str:
    return f"{m['window_bytes'] / 1e6:,.0f} ({m['least_window_bytes'] / 1e6:,.0f})"


def stream_chart(found: dict[str, Any]) -> str:
    """Memory and time over the resident run's."""
    if "memory" not in found:
        return ""
    m, t = found["memory"], found["times"]
    groups = [
        Group("peak memory over the checkpoint's size",
              [Bar("streamed", m["peak_over_checkpoint"], f"{m['peak_over_checkpoint']:.3f}", must=0.25)]),
        Group("time of a step over resident",
              [Bar("resident", 1.0, "1", "base"), Bar("streamed", t["ratio_seconds"], f"{t['ratio_seconds']:.2f}")]),
    ]  # fmt: skip
    return chart(groups, title="Streamed beside resident", axis="less is better", one=True)


def precision(found: dict[str, Any]) -> str:
    """Drift, what arrives, what differences lose."""
    if not {"drift", "updates", "differences"} <= set(found):
        return generic(found)
    drift = [
        (f"{r['dtype']}, eps {r['eps']:g}", told(r["restores"]), f"{r['drift']:.2e}", f"{r['changed']:.1%}")
        for r in found["drift"]
    ]
    moves = [
        (
            f"{r['dtype']}, {r['edition']}", f"{r['size']:g}", told(r["updates"]), f"{r['changed']:.1%}",
            f"{r['arrives']:.1%}", f"{r['shows']:.1%}",
        )
        for r in found["updates"]
    ]  # fmt: skip
    reads = [
        (f"eps {r['eps']:g}", f"{r['difference']:.2e}", f"{r['relative_error']:.0%}", f"{r['same_sign']:.0%}")
        for r in found["differences"]
    ]
    visits = found.get("visits", {})
    said = "changed no bit" if visits.get("bits_unchanged") else "CHANGED BITS"
    return "\n".join(
        [
            "Weights walked in place, as published, without any update:\n",
            grid(("", "restores", "drift, of the rms", "changed"), drift),
            f"{told(visits.get('points'))} visits of ours {said}.\n" if visits else "",
            "Updates of size |lr c|: the share of weights that change, how much of what was wanted arrives where the "
            "weights are kept, and how much of it their half-precision image shows:\n",
            grid(("", "size", "updates", "changed", "arrives", "shows"), moves),
            "Two-sided differences of a real batch, read in bfloat16 against float32:\n",
            grid(("", "difference", "off by", "same sign"), reads),
        ]
    )

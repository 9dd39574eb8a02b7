"""What a step costs beside the forwards it is made of, and beside the least it could cost.

    python -m bench.step --json --save [--repeats 5] [--threads 2 1]

Cases of one process are timed in turn, round after round; a ratio is the median over rounds of

    step / (points x plain forward)   and   step / (points x lean forward)

within the same round, so that a slow minute of the machine falls on both.  Two batches: 8 sequences of 32 tokens,
and one of 8.  The floors of `floors.py` stand beside; a target below its floor is met by showing the floor.
What it is not: memory (`bench.memory`), other packages (`bench.peers`).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bench import common, floors
from bench.cases import (
    FULL,
    LOW_RANK,
    METHODS,
    NINE,
    NORMALS,
    PUBLISHED,
    SHORT,
    TWO_SIDED,
    Batch,
    Subject,
    points,
)

PLAIN, LEAN, ADD = "plain forward", "lean forward", "plain add"


class Target(NamedTuple):
    """What is wanted of a case: the ratio over points x base forwards."""

    batch: str
    case: str
    base: str
    must: float
    aim: float | None


TARGETS = (
    Target(str(FULL), TWO_SIDED, "lean", 1.15, 1.05),
    Target(str(FULL), LOW_RANK, "lean", 1.15, 1.05),
    Target(str(FULL), NINE, "lean", 1.08, 1.02),
    Target(str(FULL), NORMALS, "lean", 1.40, 1.20),
    Target(str(FULL), TWO_SIDED, "plain", 0.92, 0.80),
    Target(str(FULL), LOW_RANK, "plain", 0.92, 0.80),
    Target(str(SHORT), TWO_SIDED, "plain", 1.10, None),
    Target(str(SHORT), LOW_RANK, "plain", 1.10, None),
    Target(str(SHORT), NINE, "plain", 0.95, None),
)


def verdict(ratio: float, floor: float, must: float, aim: float | None) -> str:
    """In a word or two.

    Example:
        >>> verdict(1.04, 0.9, 1.15, 1.05), verdict(1.2, 1.16, 1.15, None), verdict(1.2, 1.0, 1.15, None)
        ('aim met', 'below the floor', 'missed')
    """
    if aim is not None and ratio <= aim:
        return "aim met"
    if ratio <= must:
        return "met"
    return "below the floor" if must < floor <= ratio else "missed"


def measure(subject: Subject, batch: Batch, repeats: int) -> dict[str, Any]:
    """All cases on one batch, interleaved, with their floors."""
    with tempfile.TemporaryDirectory() as folder:
        calls = subject.on(batch, Path(folder))
        seen = floors.products(calls)
        add, added = floors.adder(subject.weights, next(subject.model.parameters()).dtype)
        cases: dict[str, Callable[[], object]] = {ADD: add, PLAIN: calls.plain, LEAN: calls.lean}
        for name in (*METHODS, PUBLISHED):
            cases[name] = calls.call(name)
        for m in sorted({points(name) for name in METHODS}):
            cases[f"products of {m}"] = floors.apart(seen, m)
        if LOW_RANK in METHODS:
            cases["products of 2, shared"] = floors.shared(seen, 2)
        found = common.interleaved(cases, repeats)
    bandwidth = added / min(found[ADD]["all_seconds"])
    size = next(subject.model.parameters()).element_size()
    rows = {name: row(found, name, seen, subject.weights * size, bandwidth) for name in (*METHODS, PUBLISHED)}
    return {
        "batch": str(batch),
        "threads": torch.get_num_threads(),
        "bandwidth_gb": round(bandwidth / 1e9, 2),
        "plain": _clocks(found[PLAIN]),
        "lean": _clocks(found[LEAN]),
        "steps": rows,
        "seconds": {name: values["all_seconds"] for name, values in found.items()},
    }


def _clocks(values: dict[str, Any]) -> dict[str, float]:
    return {key: round(values[key], 5) for key in ("seconds", "cpu_seconds")}


def row(found: dict[str, Any], name: str, seen: list[Any], weights: int, bandwidth: float) -> dict[str, Any]:
    """One case: clocks, ratios over both forwards, floors in seconds and over both forwards."""
    m = points(name)
    kind = "products of 2, shared" if name == LOW_RANK else f"products of {m}"
    least = floors.floors(
        products_seconds=min(found[kind]["all_seconds"]),  # a floor is the best seen, never the usual
        read=floors.bytes_read(seen),
        weights=weights,
        bandwidth=bandwidth,
    )
    out: dict[str, Any] = {"points": m, **_clocks(found[name])}
    for base, forward in (("plain", PLAIN), ("lean", LEAN)):
        out[f"over_{base}"] = common.ratio(found[name], found[forward], m)
        out[f"over_{base}_cpu"] = common.ratio(found[name], found[forward], m, clock="all_cpu_seconds")
        per = m * found[forward]["seconds"]
        for key, seconds in least.items():
            out[key.replace("seconds", f"over_{base}")] = round(seconds / per, 3)
    return {**out, **{key: round(seconds, 5) for key, seconds in least.items()}}


def judged(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every target that was measured, at the first thread count asked for."""
    first = [run for run in runs if run["threads"] == runs[0]["threads"]]
    out = []
    for batch, case, base, must, aim in TARGETS:
        for step in (run["steps"][case] for run in first if run["batch"] == batch and case in run["steps"]):
            ratio, floor = step[f"over_{base}"], step[f"floor_over_{base}"]
            said = verdict(ratio, floor, must, aim)
            out.append(
                {"batch": batch, "case": case, "over": base, "ratio": ratio, "must": must, "aim": aim,
                 "floor": floor, "verdict": said}
            )  # fmt: skip
    return out


def table(result: dict[str, Any]) -> str:
    """For people."""
    lines = []
    for run in result["runs"]:
        lines.append(
            f"{run['batch']} tokens, {run['threads']} threads: plain {run['plain']['seconds']:.3f} s, "
            f"lean {run['lean']['seconds']:.3f} s, {run['bandwidth_gb']} GB/s"
        )
        head = ("points", "seconds", "cpu s", "/plain", "/lean", "products", "bytes", "in turn")
        lines.append(f"  {'':22}" + "".join(f"{word:>9}" for word in head) + "   (the last three over lean)")
        for name, v in run["steps"].items():
            cells = (
                v["over_plain"],
                v["over_lean"],
                v["products_over_lean"],
                v["bytes_over_lean"],
                v["in_turn_over_lean"],
            )
            lines.append(
                f"  {name:22}{v['points']:9}{v['seconds']:9.3f}{v['cpu_seconds']:9.2f}"
                + "".join(f"{cell:9.3f}" for cell in cells)
            )
    for t in result["targets"]:
        aim = "" if t["aim"] is None else f", aim {t['aim']}"
        lines.append(
            f"{t['batch']:7} {t['case']:22} {t['ratio']:.3f} of {t['over']:5} (must {t['must']}{aim}; "
            f"floor {t['floor']:.3f}): {t['verdict']}"
        )
    return "\n".join(lines)


def child(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Both batches at one thread count."""
    torch.set_num_threads(options.threads[0])
    subject = Subject(options.model, options.dtype)
    return [measure(subject, batch, options.repeats) for batch in (FULL, SHORT)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.step", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="packaged:smollm2-135m")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--repeats", type=int, default=5)
    cores = sorted({torch.get_num_threads(), 1}, reverse=True)
    parser.add_argument(
        "--threads", type=int, nargs="+", default=cores, help="targets are judged at the first"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--save", action="store_true", help="write bench/results/step.json")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(options)))
        return
    start = time.perf_counter()
    given = ["--child", "--model", options.model, "--dtype", options.dtype, "--repeats", str(options.repeats)]
    runs: list[dict[str, Any]] = []
    for threads in options.threads:
        runs += common.fresh("bench.step", [*given, "--threads", str(threads)])
    settings = {k: getattr(options, k) for k in ("model", "dtype", "repeats", "threads")}
    result = common.stamp({"settings": settings, "targets": judged(runs), "runs": runs})
    common.finish("step", result, start, options, table)


if __name__ == "__main__":
    main()

"""Peak memory of a step beside inference on the same batch: what is resident, in fresh processes.

    python -m bench.memory --json --save [--processes 5]

Each figure is the median over processes of its own of the resident set's high-water mark, reset after the model
was loaded (/proc/self/clear_refs), so that reading the file does not count; all weights are trained.  Two calls
of each: the second has nothing left to warm up.

    over_inference = peak of the step / peak of one plain forward on the same batch

What it is not: the activations' share alone; `--points-per-pass` of a run bounds those.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import common
from bench.cases import FULL, METHODS, PUBLISHED, Subject

CASES = ("inference", *METHODS, PUBLISHED)
MUST, AIM = 1.03, 1.01


def child(options: argparse.Namespace) -> dict[str, int]:
    """One measurement: load, forget the peak, call twice."""
    with tempfile.TemporaryDirectory() as folder:
        subject = Subject(options.model, options.dtypes[0])
        call = subject.on(FULL, Path(folder)).call(options.child)
        loaded = common.reset_peak()
        for _ in range(2):
            call()
        return {"loaded": loaded, "peak": common.peak()}


def measure(options: argparse.Namespace, dtype: str) -> list[dict[str, Any]]:
    """All cases in one dtype, in turn, each in processes of its own."""
    seen: dict[str, list[dict[str, int]]] = {name: [] for name in CASES}
    for _ in range(options.processes):
        for name in CASES:
            given = ["--child", name, "--model", options.model, "--dtypes", dtype]
            seen[name].append(common.fresh("bench.memory", given))
    peaks = {name: int(statistics.median(run["peak"] for run in runs)) for name, runs in seen.items()}
    rows = []
    for name, runs in seen.items():
        over = peaks[name] / peaks["inference"]
        rows.append(
            {
                "dtype": dtype,
                "name": name,
                "loaded": int(statistics.median(run["loaded"] for run in runs)),
                "peak": peaks[name],
                "all_peaks": [run["peak"] for run in runs],
                "over_inference": round(over, 4),
                "verdict": verdict(over) if name.startswith("two-sided") else "",
            }
        )
    return rows


def verdict(over: float) -> str:
    """Against must and aim.

    Example:
        >>> verdict(1.002), verdict(1.02), verdict(1.04)
        ('aim met', 'met', 'missed')
    """
    return "aim met" if over <= AIM else "met" if over <= MUST else "missed"


def table(result: dict[str, Any]) -> str:
    """For people."""
    lines = [f"{'':9} {'':22}{'loaded MB':>10}{'peak MB':>9}{'/inference':>11}"]
    for row in result["rows"]:
        lines.append(
            f"{row['dtype']:9} {row['name']:22}{row['loaded'] / 1e6:10.0f}{row['peak'] / 1e6:9.0f}"
            f"{row['over_inference']:11.3f}  {row['verdict']}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="packaged:smollm2-135m")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--processes", type=int, default=5, help="fresh processes a figure is the median of")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--save", action="store_true", help="write bench/results/memory.json")
    parser.add_argument("--child", choices=CASES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(options)))
        return
    start = time.perf_counter()
    rows = [row for dtype in options.dtypes for row in measure(options, dtype)]
    settings = {k: getattr(options, k) for k in ("model", "dtypes", "processes")}
    result = {"settings": {**settings, "batch": str(FULL)}, "must": MUST, "aim": AIM, "rows": rows}
    common.finish("memory", common.stamp(result), start, options, table)


if __name__ == "__main__":
    main()

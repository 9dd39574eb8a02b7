"""How fast a run is rebuilt from its journal, and what the journal itself costs.

    python -m bench.replay [--json] [--save] [--quick] [--steps 1000]

What it is: made-up records of 8 draws each (an FZOO step) applied to 134.5 million weights, against a plain
`w.add_(other)` of as many float32 timed in between; then 10,000 such records appended to a file, one by one
as a run does, and opened again.  `sweeps_per_8_draws` is wall time over the plain add's, `cpu` the same of
processor time over all threads.  What it is not: a run; no model and no forward.

Short replays are repeated and the best is kept, because neighbors disturb; one long replay of --steps steps
is timed once, and 10,000 steps are extrapolated from it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.common import save, stamp
from zoptim import methods
from zoptim.directions import Dense
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.method import Method
from zoptim.protocols import Draw, Record
from zoptim.spaces.module import Module

FULL, QUICK, COLS = 134_500_000, 16_800_000, 1000
SHORT = 16  # steps of a short replay
CASES: dict[str, tuple[Any, torch.dtype]] = {
    "signs, float32": ("signs", torch.float32),
    "signs, bfloat16": ("signs", torch.bfloat16),
    "normal, float32": ("normal", torch.float32),
}


def records(steps: int) -> list[Record]:
    """Made-up steps of eight draws and nine losses, as FZOO leaves them."""
    return [
        Record(
            "move", t, 1e-6, tuple((Draw(t, i), 0.1 * (i - 3.5)) for i in range(8)),
            tuple(0.7 + 1e-3 * i for i in range(9)),
        )
        for t in range(steps)
    ]  # fmt: skip


class Rebuild:
    """Weights of one kind, and the replay of a journal onto them."""

    def __init__(self, n: int, law: Any, dtype: torch.dtype) -> None:
        holder = torch.nn.Module()
        holder.w = torch.nn.Parameter(torch.zeros(n // COLS, COLS, dtype=dtype), requires_grad=False)
        self.space = Module(holder, ["w"])
        fzoo = methods.fzoo(lr=1e-6, n=8)
        self.method = Method("fzoo", Dense(law), fzoo.probe, fzoo.coefficients, fzoo.rule, 1e-6, 1e-3)

    def __call__(self, steps: int) -> tuple[float, float]:
        """Wall and processor seconds of a replay."""
        journal = Journal.create(None, {"key": 7})
        for record in records(steps):
            journal.append(record)
        return timed(lambda: Run(self.space, self.method, journal))


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds of one call."""
    wall, busy = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - busy


def replays(n: int, rounds: int, long: int) -> dict[str, Any]:
    """Every case against the plain add, and the long replay."""
    w, other = torch.zeros(n), torch.full((n,), 1e-6)
    cases = {name: Rebuild(n, *kind) for name, kind in CASES.items()}
    plain, seen = [], {name: [] for name in cases}  # type: ignore[var-annotated]
    for turn in range(rounds + 1):  # turn 0 warms up
        for name, rebuild in cases.items():
            add, taken = timed(lambda: w.add_(other)), rebuild(SHORT)
            if turn:
                plain.append(add)
                seen[name].append(taken)
    sweep = [min(column) for column in zip(*plain, strict=True)]
    rows = []
    for name, taken in seen.items():
        wall, busy = (min(column) / SHORT for column in zip(*taken, strict=True))
        rows.append(
            {
                "name": name,
                "seconds_per_step": round(wall, 5),
                "sweeps_per_8_draws": round(wall / sweep[0], 3),
                "cpu": round(busy / sweep[1], 3),
            }
        )
    wall, busy = cases["signs, float32"](long)
    return {
        "elements": n,
        "plain_add_seconds": round(sweep[0], 5),
        "rows": rows,
        "long": {
            "steps": long,
            "seconds": round(wall, 2),
            "cpu_seconds": round(busy, 2),
            "minutes_of_10000_steps": round(wall / long * 10_000 / 60, 2),
        },
    }


def journaling(count: int = 10_000) -> dict[str, Any]:
    """Appending and opening FZOO records in a file."""
    made = records(count)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal"
        journal = Journal.create(path, {"key": 7})
        wall, busy = timed(lambda: [journal.append(record) for record in made])
        journal.close()
        size = path.stat().st_size
        opening = min(timed(lambda: Journal.open(path).close()) for _ in range(3))
    return {
        "records": count,
        "append_microseconds": round(wall / count * 1e6, 2),
        "append_cpu_microseconds": round(busy / count * 1e6, 2),
        "bytes_per_record": round(size / count, 1),
        "open_seconds": round(opening[0], 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--save", action="store_true", help="write bench/results/replay.json")
    parser.add_argument("--quick", action="store_true", help="16.8 million elements")
    parser.add_argument("--steps", type=int, default=1000, help="steps of the long replay")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    result = replays(QUICK if options.quick else FULL, options.rounds, options.steps)
    result["journal"] = journal = journaling()
    step = result["rows"][0]["seconds_per_step"]
    journal["append_over_replayed_step"] = round(journal["append_microseconds"] * 1e-6 / step, 6)
    result = stamp({"what": __doc__.splitlines()[0], **result})
    if options.save:
        print(save("replay", result))
    if options.json:
        print(json.dumps(result))
        return
    for row in result["rows"]:
        print(f"{row['name']:20}{row['seconds_per_step']:9.4f} s a step of 8 draws = {row['sweeps_per_8_draws']}"
              f" plain sweeps (cpu {row['cpu']})")  # fmt: skip
    print(f"long replay {result['long']}\njournal {journal}")


if __name__ == "__main__":
    main()

"""Kill real runs, fill their disks, tear their files, damage their journals; count silent damage (must be 0).

What it is: small Llamas fine-tuned by the real `zoptim.lm.finetune`, in children of one warm process.

    kills      a run is struck at random instants, and at chosen places (inside a write, between append and
               apply, inside an apply, an evaluation, the final rebuild) by SIGKILL, SIGINT or SIGTERM, resumed,
               struck again, until it finishes: journal bytes, evaluations and weights must be those of the run
               that nobody touched; at every death the journal must be a prefix of its bytes
    scenes     a disk that fills up, torn, missing or strange metrics.jsonl and result.json, another base, other
               data, a locked journal: one clear line or the same result, and always the same result afterwards
    mutations  journals of real runs, damaged by `bench.mutations` or with headers forged and sealed again: opened
               as every command opens them, they are refused in one line, or rebuild exactly a true prefix's weights

What it is not: a power loss (`bench.mutations` and docs/journal.md speak of those), or an adversary who reseals
records.  The calibration's clock stands still, so that headers, which hold its times, compare byte for byte.

    python -m bench.crash [--kills 200] [--mutations 10000] [--seed 0] [--json] [--save]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from bench.common import save, stamp
from bench.damage import mutations
from bench.scenes import full_disk, strangers, torn_files
from bench.struck import child
from bench.world import CASES, STEPS, World
from zoptim.lm import calibrate


def run(kills: int, count: int, seed: int, cases: list[str], say: Callable[[str], None]) -> dict[str, Any]:
    """Everything, in a folder that is gone afterwards."""
    torch.set_num_threads(1)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    calibrate.time = SimpleNamespace(monotonic=lambda: 0.0)  # see above
    rng, times = random.Random(seed), {}
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()

        def lap(name: str) -> None:
            nonlocal began
            times[name] = round(time.monotonic() - began, 1)
            began = time.monotonic()
            say(f"{name}: {times[name]} s")

        world = World(Path(folder), rng, cases)
        lap("untouched runs")
        deaths = 0
        while deaths < kills:
            truth = world.truths[world.counts["runs"] % len(world.truths)]
            world.counts["runs"] += 1
            deaths += world.chain(truth, min(kills - deaths, rng.randint(1, 6)))
        lap("kills")
        for truth in world.truths:
            full_disk(world, truth, max(3, kills // 20))
            torn_files(world, truth)
            strangers(world, truth)
        lap("scenes")
        file = Path(folder) / "mutations.json"
        end = child(lambda: file.write_text(json.dumps(mutations(world, count, seed))), world.log)
        lap("mutations")
        table = {k: Counter(v) for k, v in json.loads(file.read_text()).items()} if not end.code else {}
        if end.code:
            world.wrong.append(f"mutations ended with {end.code}: {end.said[-2000:]}")
    total: Counter[str] = sum(table.values(), Counter())
    bad = {
        k: dict(v)
        for k, row in table.items()
        if (v := {n: c for n, c in row.items() if n.startswith("WRONG")})
    }
    world.wrong += [f"{kind}: {n} x {name}" for kind, row in bad.items() for name, n in row.items()]
    return {
        "seed": seed, "cases": cases, "steps": STEPS, "kills_survived": deaths, "runs": world.counts.pop("runs"),
        "kills": {k: world.counts.pop(k, 0) for k in ("SIGKILL", "SIGINT", "SIGTERM")},
        "counts": dict(world.counts), "places": dict(world.places.most_common()),
        "mutations": sum(total.values()), "refused": total["refused"], "prefixes": total["cut"],
        "whole": total["whole"] + total["unchanged"], "kinds": table, "seconds": times,
        "silent_damage": len(world.wrong), "wrong": world.wrong,
    }  # fmt: skip


def main() -> int:
    """Print the counts; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description="kill real runs, damage their journals; count silent damage")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--case", action="append", choices=CASES, help="only this kind of run; may be repeated"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--save", action="store_true", help="write bench/results/crash.json")
    args = parser.parse_args()

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    found = run(args.kills, args.mutations, args.seed, args.case or list(CASES), say)
    if args.save:
        say(f"written to {save('crash', stamp(found))}")
    if args.json:
        print(json.dumps(found))
        return 1 if found["wrong"] else 0
    kinds = ", ".join(f"{n} {name}" for name, n in found["kills"].items())
    print(f"kills survived          {found['kills_survived']}  ({kinds}; {found['runs']} runs)")
    for name, n in found["counts"].items():
        print(f"{name:24}{n}")
    print(f"journals damaged        {found['mutations']}")
    print(f"  refused               {found['refused']}")
    print(f"  true prefixes         {found['prefixes']}")
    print(f"  whole                 {found['whole']}")
    print(f"silent damage, unclear  {found['silent_damage']}")
    for text in found["wrong"]:
        print(f"WRONG {text}")
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())

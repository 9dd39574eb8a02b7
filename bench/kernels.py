"""How fast the kernels are, as ratios to a plain `w.add_(other)` of the same size.

    python -m bench.kernels [--json] [--save] [--quick] [--rounds 5] [--edition avx2] [--threads 2]

What it is: one process that times the plain add and every kernel in turn, round after round, and
takes the best of each, so that other load on the machine hits all of them alike.  `ratio` is of
wall time, `cpu` of processor time over all threads (less disturbed by neighbors).  What it is
not: a measure of methods; see the other files here.

134.5 million elements (a model of that size), in place; --quick takes 16.8 million.  float32 but where
a row says otherwise; half precision is compared with the float32 add as well, and its update includes
stochastic rounding.  --save measures every edition that runs here on 1 and 2 threads, each in a process
of its own, and writes bench/results/kernels.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bench.common import fresh, save, stamp
from zoptim import kernels, noise
from zoptim.kernels import native

FULL, QUICK = 134_500_000, 16_800_000
TARGETS = {"signs, 1 draw": 0.8, "normal, 1 draw": 3.2, "signs, 8 draws": 2.2}


def cases(w: torch.Tensor, other: torch.Tensor) -> dict[str, Callable[[], object]]:
    """What is timed: name -> call.  `w` is updated in place."""
    n, key, slot = w.numel(), noise.key_from_seed(0), noise.slot_id("bench")
    generator = torch.Generator().manual_seed(0)

    def update(law: str, k: int) -> Callable[[], object]:
        draws, coefs = tuple((0, i) for i in range(k)), np.full((1, k), 1e-6)
        return lambda: kernels.form(
            w[None], w, law=law, key=key, slot=slot, rows=slice(0, n), draws=draws, coefs=coefs
        )

    def points(law: str, m: int, k: int, rows: int = 128, cols: int = 1024) -> Callable[[], object]:
        """A probe: m points formed chunk by chunk in a scratch that stays in cache."""
        scratch = torch.empty(m, rows, cols)
        draws = tuple((0, i) for i in range(k))
        coefs = np.array([[1e-3], [-1e-3]]) if k == 1 else np.vstack([np.zeros(k), 1e-3 * np.eye(k)])
        table = w[: n // (rows * cols) * rows * cols].view(-1, cols)

        def sweep() -> None:
            for r in range(0, table.shape[0], rows):
                kernels.form(
                    scratch, table[r : r + rows], law=law, key=key, slot=slot,
                    rows=slice(r, r + rows), draws=draws, coefs=coefs,
                )  # fmt: skip

        return sweep

    def half(dtype: torch.dtype, law: str, k: int) -> Callable[[], object]:
        """The update of a half precision weight: widened, moved and rounded stochastically in one sweep."""
        p = torch.zeros(n, dtype=dtype)
        steps = kernels.Steps([(tuple((0, i) for i in range(k)), np.full(k, 1e-6), 1.0, 0)])
        return lambda: kernels.update_(p, law=law, key=key, slot=slot, rows=slice(0, n), steps=steps)

    def round_half(dtype: torch.dtype) -> Callable[[], object]:
        out = torch.empty(n, dtype=dtype)
        return lambda: kernels.round_stochastic_(out, w, key=key, slot=slot, offset=0, t=1)

    return {
        "plain add": lambda: w.add_(other),
        "signs, 1 draw": update("signs", 1),
        "normal, 1 draw": update("normal", 1),
        "signs, 8 draws": update("signs", 8),
        "signs, 1 draw, bfloat16": half(torch.bfloat16, "signs", 1),
        "normal, 1 draw, bfloat16": half(torch.bfloat16, "normal", 1),
        "signs, 8 draws, bfloat16": half(torch.bfloat16, "signs", 8),
        "signs, 1 draw, float16": half(torch.float16, "signs", 1),
        "signs, two-sided points": points("signs", 2, 1),
        "normal, two-sided points": points("normal", 2, 1),
        "signs, 9 points of 8 draws": points("signs", 9, 8),
        "stochastic rounding to bfloat16": round_half(torch.bfloat16),
        "torch: normal_(generator), add_": lambda: w.add_(other.normal_(generator=generator), alpha=1e-6),
    }


def measure(n: int, rounds: int) -> list[dict[str, object]]:
    """Best wall and processor seconds of each case, and their ratios to the plain add."""
    w, other = torch.zeros(n), torch.full((n,), 1e-6)
    calls = cases(w, other)
    wall = dict.fromkeys(calls, float("inf"))
    cpu = dict.fromkeys(calls, float("inf"))
    for turn in range(rounds + 1):  # turn 0 warms up
        for name, call in calls.items():
            if name.startswith("torch") and turn > 1:
                continue  # slow: one timing is enough
            start, busy = time.perf_counter(), time.process_time()
            call()
            end, done = time.perf_counter(), time.process_time()
            if turn:
                wall[name], cpu[name] = min(wall[name], end - start), min(cpu[name], done - busy)
    plain = "plain add"
    return [
        {
            "name": name,
            "seconds": round(wall[name], 5),
            "ratio": round(wall[name] / wall[plain], 3),
            "cpu": round(cpu[name] / cpu[plain], 3),
            "target": TARGETS.get(name),
        }
        for name in calls
    ]


def overhead() -> float:
    """Processor microseconds of one smallest call from Python."""
    base, out = np.zeros((1, 2), np.float32), np.zeros((2, 1, 2), np.float32)
    coefs, draws, best = np.array([[1e-3], [-1e-3]]), ((1, 0),), float("inf")
    for _ in range(7):
        start = time.process_time()
        for _ in range(2000):
            kernels.form(out, base, law="signs", key=1, slot=2, rows=slice(0, 1), draws=draws, coefs=coefs)
        best = min(best, (time.process_time() - start) / 2000 * 1e6)
    return round(best, 2)


def one(options: argparse.Namespace) -> dict[str, object]:
    """The result of one edition with one number of threads, in this process."""
    if options.threads:
        torch.set_num_threads(options.threads)
    kernels.choose(options.edition)
    n = QUICK if options.quick else FULL
    rows = measure(n, options.rounds)
    return {"elements": n, "backend": kernels.backend(), "call_microseconds": overhead(), "rows": rows}


def show(result: dict[str, Any]) -> None:
    """A table for people."""
    print(
        f"{result['elements'] / 1e6:.1f} M, {result['backend']}, {result['call_microseconds']} us a small call"
    )
    print(f"{'':34}{'seconds':>9}{'ratio':>8}{'cpu':>8}{'target':>8}")
    for row in result["rows"]:
        target = "" if row["target"] is None else row["target"]
        print(f"{row['name']:34}{row['seconds']:9.4f}{row['ratio']:8.2f}{row['cpu']:8.2f}{target:>8}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--save", action="store_true", help="every edition, 1 and 2 threads, to bench/results"
    )
    parser.add_argument("--quick", action="store_true", help="16.8 million elements")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--edition", default="", help="native, scalar, avx2, avx512 or reference")
    parser.add_argument("--threads", type=int, default=0, help="torch's threads; 0 leaves them")
    options = parser.parse_args()
    if not options.save:
        result = one(options)
        print(json.dumps(result)) if options.json else show(result)
        return
    best = kernels.choose("native").split()[1].rstrip(",")
    common = ["--json", "--rounds", str(options.rounds), *(["--quick"] if options.quick else [])]
    runs = []
    for edition in native.EDITIONS[native.EDITIONS.index(best) : 0 : -1]:  # the best first; not scalar
        for count in (1, 2):
            runs.append(fresh("bench.kernels", [*common, "--edition", edition, "--threads", str(count)]))
            show(runs[-1])
    print(save("kernels", stamp({"what": __doc__.splitlines()[0], "runs": runs})))


if __name__ == "__main__":
    main()

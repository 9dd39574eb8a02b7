"""How fast the kernels are, as ratios to a plain `w.add_(other)` of the same size.

    python -m bench.kernels [--json] [--quick] [--rounds 5] [--edition avx2]

What it is: one process that times the plain add and every kernel in turn, round after round, and
takes the best of each, so that other load on the machine hits all of them alike.  `ratio` is of
wall time, `cpu` of processor time over all threads (less disturbed by neighbors).  What it is
not: a measure of methods; see the other files here.

134.5 million float32 (a model of that size), in place; --quick takes 16.8 million.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import torch

from zoptim import kernels, noise

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

    def round_half(dtype: torch.dtype) -> Callable[[], object]:
        half = torch.empty(n, dtype=dtype)
        return lambda: kernels.round_stochastic_(half, w, key=key, slot=slot, offset=0, t=1)

    return {
        "plain add": lambda: w.add_(other),
        "signs, 1 draw": update("signs", 1),
        "normal, 1 draw": update("normal", 1),
        "signs, 8 draws": update("signs", 8),
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="16.8 million elements")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--edition", default="", help="native, scalar, avx2, avx512 or reference")
    options = parser.parse_args()
    kernels.choose(options.edition)
    n = QUICK if options.quick else FULL
    rows = measure(n, options.rounds)
    result = {"elements": n, "backend": kernels.backend(), "call_microseconds": overhead(), "rows": rows}
    if options.json:
        print(json.dumps(result, indent=1))
        return
    print(f"{n / 1e6:.1f} M float32, {result['backend']}, {result['call_microseconds']} us a small call")
    print(f"{'':34}{'seconds':>9}{'ratio':>8}{'cpu':>8}{'target':>8}")
    for row in rows:
        target = "" if row["target"] is None else row["target"]
        print(f"{row['name']:34}{row['seconds']:9.4f}{row['ratio']:8.2f}{row['cpu']:8.2f}{target:>8}")


if __name__ == "__main__":
    main()

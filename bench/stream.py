"""A model larger than its window, trained: memory, time, equal bits, and kills at random instants.

    memory    a randomly initialised Llama of 1.1e9 parameters in bfloat16 (written shard by shard, never whole in
              memory), all weights trained for a few steps in a fresh process:
              (peak RSS - RSS after imports) / bytes of the checkpoint.  Must: at most 0.25
    times     streamed and resident steps side by side in one process, on the same batches; losses must be equal
    equal     whole fine-tuning runs of small models, streamed and resident: journals' records, weights, evaluations
    kills     a streamed run is struck by SIGKILL at random instants, and before and after slot writes, updates and
              journal writes, until it finishes: journal and weights must be those of the run nobody touched, and at
              every death each slot that is whole must hold exactly the weights its mark speaks of

    python -m bench.stream [--only memory times equal kills] [--kills 30] [--json] [--save]

What it is not: a power loss (slots carry checksums for that: tests/spaces/test_store.py), or a GPU.  The large model
is made by `bench.stream_subject`, the kills are `bench.stream_kills`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.lm import tiny

from bench import common
from bench.stream_kills import kills
from bench.stream_subject import BATCH, examples, large, settings
from zoptim import methods
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.lm import finetune, session
from zoptim.lm.metrics import evaluations
from zoptim.lm.packaged import cache_dir
from zoptim.method import Method

STEPS = 5
PARTS = ("memory", "times", "equal", "kills")
EQUAL: dict[str, dict[str, Any]] = {
    "llama, fzoo": {},
    "gpt2, mezo, bfloat16": {"kind": "gpt2", "method": "mezo", "dtype": "bfloat16", "settings": {}, "window_gb": 3e-5},
    "opt, mezo, normal": {"kind": "opt", "method": "mezo", "settings": {"law": "normal"}},
    "qwen2, last block": {"kind": "qwen2", "train": "last-block"},
}  # fmt: skip


class Stepper:
    """A model opened by a run's own means, and whole steps on it."""

    def __init__(self, root: Path, model: Path, name: str, **more: Any) -> None:
        config = settings(root, root / name, model=str(model), dtype="bfloat16", **more)
        began = time.monotonic()
        self.session = session.Session.open(config)
        self.opening = time.monotonic() - began
        config.out.mkdir(parents=True, exist_ok=True)
        if self.session.stream is not None:
            self.session.stream.keep(config.out / "stream")
        method: Method = methods.mezo(lr=1e-6, eps=1e-3, law="signs")
        self.run = Run(self.session.space, method, Journal.create(config.out / "journal.zoj", {"key": 1}))
        self.train = self.session.splits["train"]
        self.losses: list[tuple[float, ...]] = []
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def step(self) -> None:
        t = self.run.t
        which = [(t * BATCH + i) % len(self.train.items) for i in range(BATCH)]
        wall, cpu = time.perf_counter(), time.process_time()
        record = self.run.step(self.session.objective(self.train, which))
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)
        self.losses.append(record.losses)


# ---------------------------------------------------------------- memory and time


def memory(root: Path, model: Path, steps: int, window_gb: float | str) -> dict[str, Any]:
    """In a process of its own: imports, then the streamed run; all peaks are since the imports."""
    import transformers.models.llama.modeling_llama  # noqa: F401  the model's class is an import too

    imported = common.reset_peak()
    stepper = Stepper(root, model, "memory", stream=True, window_gb=window_gb)
    opened = common.peak()
    for _ in range(steps):
        stepper.step()
    stream = stepper.session.stream
    assert stream is not None
    window, size = stream.window, sum(e.nbytes for e in stream.source.checkpoint.tensors.values())
    before = window.read_bytes, window.write_bytes
    stepper.step()
    found = {
        "parameters": sum(p.numel() for p in stream.source.names), "checkpoint_bytes": size, "steps": steps + 1,
        "rss_after_imports": imported, "peak_rss_opening": opened, "peak_rss": common.peak(),
        "window_bytes": window.limit, "window_peak_bytes": window.peak, "least_window_bytes": stream.least,
        "read_a_step": window.read_bytes - before[0], "written_a_step": window.write_bytes - before[1],
    }  # fmt: skip
    found["peak_over_checkpoint"] = round((found["peak_rss"] - imported) / size, 4)
    stream.close()
    return found


def times(root: Path, model: Path, steps: int, window_gb: float | str) -> dict[str, Any]:
    """In a process of its own: streamed and resident, a step in turn; the first of each is left out."""
    both = {
        "streamed": Stepper(root, model, "times-streamed", stream=True, window_gb=window_gb),
        "resident": Stepper(root, model, "times-resident"),
    }
    for _ in range(steps + 1):
        for stepper in both.values():
            stepper.step()
    found: dict[str, Any] = {
        name: {
            "opening_seconds": round(s.opening, 2), "seconds": round(statistics.median(s.wall[1:]), 3),
            "least_seconds": round(min(s.wall[1:]), 3), "cpu_seconds": round(statistics.median(s.cpu[1:]), 3),
            "all_seconds": [round(x, 3) for x in s.wall],
        }
        for name, s in both.items()
    }  # fmt: skip
    for clock in ("seconds", "least_seconds", "cpu_seconds"):
        found[f"ratio_{clock}"] = round(found["streamed"][clock] / found["resident"][clock], 3)
    found["losses_equal"] = both["streamed"].losses == both["resident"].losses
    found["weights_equal"] = len({s.session.digest() for s in both.values()}) == 1
    stream = both["streamed"].session.stream
    assert stream is not None
    stream.close()
    return found


# ---------------------------------------------------------------- equal bits


def equal(root: Path, cases: dict[str, dict[str, Any]]) -> dict[str, bool]:
    """Whole runs of small models, streamed and resident."""
    found = {}
    for number, (case, given) in enumerate(cases.items()):
        more: dict[str, Any] = {"settings": {"n": 4}, "window_gb": 6e-5, "threads": 1, **given}
        kind, window = more.pop("kind", "llama"), more.pop("window_gb")
        model = tiny.save(root / f"tiny-{number}", kind)
        seen = []
        for name, extra in (("resident", {}), ("streamed", {"stream": True, "window_gb": window})):
            out = root / f"{name}-{number}"
            result = finetune.finetune(settings(root, out, model=str(model), **more, **extra), quiet=True)
            journal = Journal.read(out / "journal.zoj")
            judged = [{k: v for k, v in e.items() if k != "seconds"} for e in evaluations(out, journal)]
            seen.append(
                (list(journal.records), result["weights_sha256"], result["weights_sha256_last"], judged)
            )
        found[case] = seen[0] == seen[1]
    return found


# ---------------------------------------------------------------- the command


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.stream", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="some of the parts")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--window-gb", default="auto")
    parser.add_argument("--model", type=Path, default=None, help="where the large checkpoint is, or is made")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--save", action="store_true", help="write bench/results/stream.json")
    parser.add_argument("--child", choices=("memory", "times"), help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        do = memory if options.child == "memory" else times
        print(json.dumps(do(options.root, options.model, options.steps, options.window_gb)))
        return 0
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(
        prefix="zoptim-stream-", dir=cache_dir() if cache_dir().is_dir() else None
    ) as name:
        root = Path(name)
        examples(root / "data.jsonl")
        large_parts = [part for part in ("memory", "times") if part in options.only]
        if large_parts:
            model = large(options.model or cache_dir() / "bench" / "llama-1.1b-random")
            given = ["--root", name, "--model", str(model), "--steps", str(options.steps)]
        for part in large_parts:
            arguments = ["--child", part, *given, "--window-gb", str(options.window_gb)]
            result[part] = common.fresh("bench.stream", arguments)
            shutil.rmtree(root / "memory", ignore_errors=True)
        if "equal" in options.only:
            result["equal"] = equal(root, EQUAL)
        if "kills" in options.only and hasattr(os, "fork"):
            result["kills"] = kills(root, options.kills, options.seed)
    result = common.stamp(result)
    if options.save:
        common.save("stream", result)
    print(json.dumps(result) if options.json else _table(result))
    bad = not all(result.get("equal", {}).values()) or result.get("kills", {}).get("wrong")
    bad = bad or not all(result.get("times", {}).get(f"{x}_equal", True) for x in ("losses", "weights"))
    return int(bool(bad or result.get("memory", {}).get("peak_over_checkpoint", 0) > 0.25))


def _table(result: dict[str, Any]) -> str:
    """For people."""
    lines = []
    if m := result.get("memory"):
        lines += [
            f"{m['parameters']:,} parameters, {m['checkpoint_bytes'] / 1e9:.2f} GB of bfloat16, "
            f"window {m['window_bytes'] / 1e6:.0f} MB (least {m['least_window_bytes'] / 1e6:.0f})",
            f"peak - after imports   {(m['peak_rss'] - m['rss_after_imports']) / 1e6:.0f} MB = "
            f"{m['peak_over_checkpoint']:.3f} of the checkpoint (must <= 0.25)",
            f"read, written a step   {m['read_a_step'] / 1e9:.2f}, {m['written_a_step'] / 1e9:.2f} GB",
        ]
    if t := result.get("times"):
        lines += [
            f"streamed, resident     {t['streamed']['seconds']:.2f}, {t['resident']['seconds']:.2f} s a step: "
            f"ratio {t['ratio_seconds']}, of CPU seconds {t['ratio_cpu_seconds']}",
            f"losses, weights equal  {t['losses_equal']}, {t['weights_equal']}",
        ]
    lines += [f"equal: {case:24} {same}" for case, same in result.get("equal", {}).items()]
    if k := result.get("kills"):
        lines.append(
            f"kills survived         {k['kills']} in {k['runs']} runs; {k['slots_compared']} slots compared"
        )
        lines += [f"WRONG {text}" for text in k["wrong"]]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

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

What it is not: a power loss (slots carry checksums for that: tests/spaces/test_store.py), or a GPU.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from tests.lm import tiny

from bench import common
from bench.struck import PLACES, Blow, child
from zoptim import methods
from zoptim.engine import Method, Run
from zoptim.journal import Journal, effective
from zoptim.lm import calibrate, existing, finetune, session
from zoptim.lm.config import Config
from zoptim.lm.metrics import evaluations
from zoptim.lm.packaged import cache_dir
from zoptim.spaces import store
from zoptim.spaces.streamed import Streamed

SHAPE = {
    "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 32,
    "num_key_value_heads": 4, "vocab_size": 32000, "max_position_embeddings": 2048, "tie_word_embeddings": False,
    "bos_token_id": 0, "eos_token_id": 1,
}  # fmt: skip
BATCH, STEPS = 8, 5
PARTS = ("memory", "times", "equal", "kills")
EQUAL: dict[str, dict[str, Any]] = {
    "llama, fzoo": {},
    "gpt2, mezo, bfloat16": {"kind": "gpt2", "method": "mezo", "dtype": "bfloat16", "settings": {}, "window_gb": 3e-5},
    "opt, mezo, normal": {"kind": "opt", "method": "mezo", "settings": {"law": "normal"}},
    "qwen2, last block": {"kind": "qwen2", "train": "last-block"},
}  # fmt: skip
PLACES["a slot being written"] = (store, "_pwrite")
PLACES["a late update"] = (Streamed, "_update")
STRUCK = (
    "a slot being written",
    "a late update",
    "append",
    "a file write of the journal",
    "the final rebuild",
)


# ---------------------------------------------------------------- a large checkpoint


def large(folder: Path) -> Path:
    """The 1.1e9 parameters, one shard a block, each tensor made and written by itself; made once."""
    if (folder / "model.safetensors.index.json").is_file():
        return folder
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    config = transformers.LlamaConfig(**SHAPE)
    config.dtype, config.architectures = torch.bfloat16, ["LlamaForCausalLM"]
    config.save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config)
    shards: dict[str, list[tuple[str, torch.Size]]] = {}
    for name, p in model.named_parameters():
        part = name.split(".")[2] if name.startswith("model.layers.") else "rest"
        shards.setdefault(f"model-{part}.safetensors", []).append((name, p.shape))
    generator = torch.Generator().manual_seed(0)
    where = {}
    for file, tensors in shards.items():
        about: dict[str, Any] = {}
        end = 0
        for name, shape in tensors:
            about[name] = {
                "dtype": "BF16",
                "shape": list(shape),
                "data_offsets": [end, end + 2 * math.prod(shape)],
            }
            end += 2 * math.prod(shape)
            where[name] = file
        header = json.dumps(about).encode()
        with (folder / file).open("wb") as out:
            out.write(len(header).to_bytes(8, "little") + header)
            for name, shape in tensors:
                if "norm" in name:
                    values = torch.ones(shape, dtype=torch.bfloat16)
                else:
                    values = torch.randn(shape, generator=generator).mul_(0.02).bfloat16()
                out.write(values.view(-1).view(torch.uint8).numpy().data)
    index = {"metadata": {}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def examples(path: Path, n: int = 64) -> Path:
    """A file of sentences with one of two answers."""
    rng = random.Random(0)
    words = ["a", "warm", "funny", "film", "about", "nothing", "the", "plot", "ship", "patient", "debut"]
    rows = [(" ".join(rng.choice(words) for _ in range(8)) + f" {i}", i % 2) for i in range(n)]
    path.write_text("".join(json.dumps({"text": t, "label": y}) + "\n" for t, y in rows))
    return path


def settings(root: Path, out: Path, **more: Any) -> Config:
    usual: dict[str, Any] = {
        "data": str(root / "data.jsonl"), "template": "{text} It was", "candidates": (" bad", " good"),
        "label": "label", "train": "all", "batch": BATCH, "steps": 8, "eval_every": 4, "seed": 0,
    }  # fmt: skip
    return Config(**{**usual, **more, "out": out})


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


# ---------------------------------------------------------------- kills


class Struck:
    """A streamed run, killed and resumed until it finishes, again and again."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.rng, self.log = root, random.Random(seed), root / "log"
        self.model = tiny.save(root / "struck-model")
        self.wrong: list[str] = []
        self.slots = self.deaths = self.resumed = 0
        calibrate.time = SimpleNamespace(
            monotonic=lambda: 0.0
        )  # journals' headers hold its times: now they compare
        finetune.finetune(self.config("warm"), quiet=True)
        self.truth = root / "truth"
        end = child(lambda: finetune.finetune(self.config("truth"), quiet=True), self.log)
        if end.code:
            raise SystemExit(f"the untouched run failed: {end.said}")
        self.seconds = end.seconds
        self.result = json.loads((self.truth / "result.json").read_text())
        self.records = [
            r for r in effective(Journal.read(self.truth / "journal.zoj").records) if r.kind == "move"
        ]
        self.states = self._states()

    def config(self, name: str) -> Config:
        more: dict[str, Any] = {"lr": 1e-3, "eps": 1e-2, "steps": 24, "eval_every": 6, "settings": {"n": 2}}
        more |= {"model": str(self.model), "stream": True, "window_gb": 6e-5, "threads": 1, "method": "fzoo"}
        return settings(self.root, self.root / name, **more)

    def _states(self) -> list[list[bytes]]:
        """Bytes of every unit after the first n moves of the untouched run."""
        opened, journal = existing.reopen(self.truth)
        stream = opened.stream
        assert stream is not None
        found = []
        for n in range(len(self.records) + 1):
            until = self.records[n].t if n < len(self.records) else None
            last = max(r.t for r in self.records) + 1
            existing.rebuild(opened, journal, last if until is None else until)
            found.append([self._unit(stream, number) for number in range(len(stream.units))])
        stream.close()
        return found

    @staticmethod
    def _unit(stream: Streamed, number: int) -> bytes:
        parts = []
        for piece in stream.units[number].pieces:
            with stream.reading(piece.parameter) as values:
                parts.append(values.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return b"".join(parts)

    def look(self, run: Path) -> None:
        """Every whole slot holds the weights of its mark; the journal is a prefix of the true one."""
        path, folder = run / "journal.zoj", run / "stream"
        if path.exists() and not (self.truth / "journal.zoj").read_bytes().startswith(path.read_bytes()):
            self.wrong.append("the journal is no prefix of the true one")
        if not folder.is_dir():
            return
        opened = session.Session.open(self.config("look"))
        assert opened.stream is not None
        copy = store.WorkingCopy(folder, lasting=True)
        for number, unit in enumerate(opened.stream.units):
            out, seen = np.empty(unit.nbytes, np.uint8), 0
            for n in range(len(self.records) + 1):
                if copy.load(number, out, lambda mark, n=n: mark.n == n) is None:  # type: ignore[misc]
                    continue
                seen += 1
                data = b"".join(out[p.start : p.start + p.nbytes].tobytes() for p in unit.pieces)
                if data != self.states[n][number]:
                    self.wrong.append(f"unit {unit.name}: its slot of {n} moves holds other weights")
            self.slots += seen
        copy.close()
        opened.stream.close()

    def chain(self, most: int) -> int:
        """Strike one run up to `most` times, then let it finish; how often it died."""
        run, deaths, told = self.root / "struck", 0, []

        def work() -> None:
            if (run / "journal.zoj").exists():
                finetune.resume(run, quiet=True)
            else:
                finetune.finetune(self.config("struck"), quiet=True)

        for _ in range(8 * most):
            blow = None
            if deaths < most:
                place = self.rng.choice(("", *STRUCK)) if self.rng.random() < 0.8 else ""
                blow = (
                    Blow(
                        signal.SIGKILL,
                        None,
                        place,
                        self.rng.choice(("before", "after")),
                        self.rng.randint(1, 60),
                    )
                    if place
                    else Blow(signal.SIGKILL, after=self.rng.uniform(0.2, 1.0) * self.seconds)
                )
            end = child(work, self.log, blow)
            told.append(f"{blow.place or 'any instant'} {blow.when} {blow.count}" if blow else "to the end")
            if end.code == 0:
                break
            if blow is None or end.code != 128 + signal.SIGKILL:
                self.wrong.append(f"{told}: ended with {end.code}: {end.said[-1500:]}")
                break
            deaths += 1
            self.resumed += (run / "journal.zoj").exists()
            self.look(run)
        result = json.loads((run / "result.json").read_text()) if (run / "result.json").exists() else {}
        for name in ("weights_sha256", "weights_sha256_last", "loss_after", "best_t", "steps"):
            if result.get(name) != self.result[name]:
                self.wrong.append(f"{told}: {name} is {result.get(name)}, was {self.result[name]}")
        if (run / "journal.zoj").read_bytes() != (self.truth / "journal.zoj").read_bytes():
            self.wrong.append(f"{told}: another journal")
        if (run / "stream").exists():
            self.wrong.append(f"{told}: the working copy is left behind")
        shutil.rmtree(run, ignore_errors=True)
        return deaths


def kills(root: Path, count: int, seed: int) -> dict[str, Any]:
    """At least `count` deaths."""
    struck = Struck(root, seed)
    runs = 0
    while struck.deaths < count and not struck.wrong:
        struck.deaths += struck.chain(min(4, count - struck.deaths))
        runs += 1
    return {
        "kills": struck.deaths, "runs": runs, "resumed": struck.resumed, "slots_compared": struck.slots,
        "wrong": struck.wrong,
    }  # fmt: skip


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

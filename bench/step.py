"""What a step costs beside the forwards it is made of: time in one run, memory in fresh processes.

    python -m bench.step --json [--memory] [--save]

On one batch, interleaved, medians:

    plain      one inference forward, all logits          lean   the forward a step needs: scored positions only
    our step   points, update, record written to a file   MeZO as published (mezo_published.py)

    step_over_forwards = step / (points x plain forward)

Must: a two-sided step at most 1.0, its peak memory within 5 % of inference's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from bench import common
from bench.mezo_published import PublishedMeZO
from zoptim import methods
from zoptim.engine import Method, Run
from zoptim.journal import Journal
from zoptim.lm import models
from zoptim.lm.encode import Item, Row
from zoptim.lm.forward import Scorer
from zoptim.protocols import Point
from zoptim.spaces.module import Module

METHODS: dict[str, Callable[[], Method]] = {
    "mezo signs": lambda: methods.mezo(lr=1e-9, law="signs"),
    "mezo normal": lambda: methods.mezo(lr=1e-9, law="normal"),
    "fzoo signs n=8": lambda: methods.fzoo(lr=1e-9, n=8, schedule="constant"),
}
MEMORY = ("inference", "mezo signs", "mezo normal", "fzoo signs n=8", "published mezo")


class Bench:
    """A model, a batch and the calls to be measured."""

    def __init__(self, options: argparse.Namespace, stack: ExitStack) -> None:
        loaded = models.load(options.model, dtype=options.dtype)
        self.model = loaded.model
        names = [name for name, _ in models.select(self.model, options.train)]
        self.space = Module(self.model, names, points_per_pass=options.points_per_pass)
        generator = torch.Generator().manual_seed(0)
        vocabulary = self.model.config.vocab_size
        self.ids = torch.randint(0, vocabulary, (options.batch, options.tokens), generator=generator)
        columns = tuple(int(x) for x in torch.randperm(vocabulary, generator=generator)[:2])
        rows = [Row(tuple(row), len(row)) for row in self.ids.tolist()]
        self.items = [Item((row,), i % 2, 1.0, columns) for i, row in enumerate(rows)]
        self.labels = torch.tensor([item.label for item in self.items])
        self.scorer = Scorer(self.space, loaded.tokenizer.pad_token_id)
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))

    def plain(self) -> None:
        """One inference forward as anyone would write it."""
        with torch.no_grad():
            self.model(input_ids=self.ids, use_cache=False)

    def question(self, view: Any) -> Any:
        """Cross-entropy over the candidates, (m, items)."""
        scores = self.scorer(view, self.items).scores
        assert scores is not None
        chosen = self.labels.expand(len(scores), -1)[..., None]
        return -scores.log_softmax(-1).gather(-1, chosen)[..., 0]

    def lean(self) -> None:
        """One unperturbed forward that computes only what is scored."""
        method = METHODS["mezo signs"]()
        with self.space.visit([Point(())], method.directions, None) as view:
            self.question(view)

    def stepper(self, name: str) -> tuple[Callable[[], object], int]:
        """A whole step of a method with its journal in a file, and the points it asks."""
        method = METHODS[name]()
        journal = Journal.create(self.folder / f"{name}.zoj", {"key": 1})
        run = Run(self.space, method, journal)
        return lambda: run.step(self.question), method.probe.forwards

    def published(self) -> Callable[[], object]:
        """A whole step of MeZO as published."""
        mezo = PublishedMeZO(self.model, lr=1e-9, eps=1e-3)
        return lambda: mezo.step(self.ids)

    def call(self, name: str) -> Callable[[], object]:
        """What a memory measurement runs."""
        if name == "inference":
            return self.plain
        return self.published() if name == "published mezo" else self.stepper(name)[0]


def times(options: argparse.Namespace) -> dict[str, Any]:
    """All of it in one process, interleaved."""
    with ExitStack() as stack:
        bench = Bench(options, stack)
        points = {"plain forward": 1, "lean forward": 1}
        cases: dict[str, Callable[[], object]] = {"plain forward": bench.plain, "lean forward": bench.lean}
        for name in METHODS:
            cases[name], points[name] = bench.stepper(name)
        cases["published mezo"], points["published mezo"] = bench.published(), 2
        found = common.interleaved(cases, options.repeats)
    for over, base in (("step_over_forwards", "plain forward"), ("step_over_lean_forwards", "lean forward")):
        for name in list(cases)[2:]:
            for suffix, clock in (("", "seconds"), ("_cpu", "cpu_seconds")):
                found[name][over + suffix] = round(
                    found[name][clock] / (points[name] * found[base][clock]), 3
                )
    return {name: {"points": points[name], **values} for name, values in found.items()}


def memory(options: argparse.Namespace) -> dict[str, Any]:
    """Peak resident bytes after loading, each measurement in processes of its own."""
    given = ["--model", options.model, "--batch", options.batch, "--tokens", options.tokens]
    given += ["--train", options.train, "--dtype", options.dtype]
    given += ["--points-per-pass", options.points_per_pass] if options.points_per_pass else []
    seen: dict[str, list[dict[str, int]]] = {name: [] for name in MEMORY}
    for _ in range(options.processes):
        for name in MEMORY:
            seen[name].append(common.fresh("bench.step", ["--child", name, *map(str, given)]))
    found: dict[str, Any] = {}
    for name, runs in seen.items():
        found[name] = {k: int(statistics.median(run[k] for run in runs)) for k in ("loaded", "peak")}
    for values in found.values():
        values["over_inference"] = round(values["peak"] / found["inference"]["peak"], 3)
    return found


def child(options: argparse.Namespace) -> dict[str, int]:
    """One memory measurement: load, forget the peak, run a few times."""
    with ExitStack() as stack:
        bench = Bench(options, stack)
        call = bench.call(options.child)
        loaded = common.reset_peak()
        for _ in range(2):
            call()
        return {"loaded": loaded, "peak": common.peak()}


def table(result: dict[str, Any]) -> str:
    """For people."""
    lines = [
        f"{'':16} {'points':>6} {'seconds':>8} {'cpu s':>7} {'/plain':>7} {'/lean':>7} {'peak MB':>8} {'/inference':>10}"
    ]
    memories = result.get("memory", {})
    for name, v in result["times"].items():
        held = memories.get("inference" if name == "plain forward" else name, {})
        lines.append(
            f"{name:16} {v['points']:6} {v['seconds']:8.3f} {v['cpu_seconds']:7.2f} "
            f"{v.get('step_over_forwards', ''):>7} {v.get('step_over_lean_forwards', ''):>7} "
            f"{round(held['peak'] / 1e6) if held else '':>8} {held.get('over_inference', ''):>10}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.step", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="packaged:smollm2-135m")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--train", default="all", help="which weights: all, last-block or a pattern")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--points-per-pass", type=int, default=None)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--memory", action="store_true", help="peak memory too, in fresh processes")
    parser.add_argument(
        "--processes", type=int, default=3, help="fresh processes a memory figure is the median of"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--save", action="store_true", help="write bench/results/step.json")
    parser.add_argument("--child", choices=MEMORY, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.child:
        print(json.dumps(child(options)))
        return
    asked = ("model", "batch", "tokens", "repeats", "train", "dtype", "points_per_pass")
    result = common.stamp({"settings": {k: getattr(options, k) for k in asked}})
    result["times"] = times(options)
    if options.memory:
        result["memory"] = memory(options)
    if options.save:
        common.save("step", result)
    print(json.dumps(result, indent=2) if options.json else table(result))


if __name__ == "__main__":
    main()

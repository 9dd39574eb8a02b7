"""A small CNN from scratch by finite differences: coordinates (DeepZero) against random directions and Adam.

    python -m bench.papers.deepzero [--data FOLDER] [--steps 150] [--processes 1]

1,883 numbers learn Fashion-MNIST, its pictures halved to 14 x 14. Every step sees one batch of 32; deepzero asks 188
coordinates (a tenth of them, another tenth every step) and the point itself, zo_momentum (with deepzero's momentum) 94
pairs, fzoo 188 directions: 188 or 189 forwards a step.  Each method tries three step sizes, a factor of about three
apart, and goes on where the best is at an end: whole runs, the best chosen on training pictures set aside and looked at
on the test set.  Adam has the same steps, and a backward pass.

The pictures come in Debian's package dataset-fashion-mnist (`fashion.py`).  Not here: batch-norm, augmentation,
ResNet-20.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.papers.fashion import Pictures, found, load
from bench.papers.shown import finish, row
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.method import Method
from zoptim.methods import build
from zoptim.methods.grasp import grasp
from zoptim.noise import permutation
from zoptim.protocols import Draw, Point
from zoptim.spaces.module import Module

BATCH, COORDINATES, SEED, HELD, PASS, SHOWN = 32, 188, 1, 5_000, 32, 30
LADDER = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
FIRST = {  # where on the ladder a method begins: three steps of it
    "deepzero": 0.1, "deepzero, equal shares": 0.1, "zo_momentum": 0.003, "fzoo": 0.03, "Adam": 0.003,
}  # fmt: skip


def network() -> nn.Sequential:
    """1,883 numbers: two convolutions, a coarse pool, a linear layer; He's initial weights."""
    torch.manual_seed(SEED)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 11, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(99, 10),
    )  # fmt: skip
    for layer in model:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return model


def question(model: nn.Module, some: Pictures) -> Callable[[Any], np.ndarray]:
    """Cross-entropy of every picture at every point, (m, B)."""

    def ask(view: Any) -> np.ndarray:
        logits = view.split(view.apart(model(view.enter(some.x))))
        chosen = some.y.expand(view.m, -1)[..., None]
        found: np.ndarray = -torch.log_softmax(logits, -1).gather(-1, chosen)[..., 0].numpy()
        return found

    return ask


def accuracy(model: nn.Module, some: Pictures) -> float:
    with torch.no_grad():
        return float((model(some.x).argmax(-1) == some.y).float().mean())


class Batches:
    """Batch t of the training pictures, the same for every method."""

    def __init__(self, train: Pictures) -> None:
        self.train, self.epoch, self.order = train, -1, np.zeros(0, np.int64)

    def __call__(self, t: int) -> Pictures:
        epoch, k = divmod(t, len(self.train.y) // BATCH)
        if epoch != self.epoch:
            self.epoch, self.order = epoch, permutation(SEED, epoch, len(self.train.y))
        which = torch.from_numpy(self.order[k * BATCH : (k + 1) * BATCH])
        return Pictures(self.train.x[which], self.train.y[which])


def method_of(name: str, lr: float, shares: dict[str, float]) -> Method:
    if name.startswith("deepzero"):
        settings = {"n": COORDINATES, "shares": shares if name == "deepzero" else {}}
        return build("deepzero", {"lr": lr, **settings})
    n = COORDINATES if name == "fzoo" else COORDINATES // 2  # one-sided, or pairs
    return build(name, {"lr": lr, "eps": 5e-3, "n": n, "schedule": "cosine"})


def space_for(method: Method, batch: Pictures) -> Module:
    space = Module(network(), points_per_pass=PASS)
    state = method.directions.init(space.slots(), SEED)
    points = [Point(((Draw(0, i), s),)) for i, s in ((0, 5e-3), (1, -5e-3))]
    note = space.check(question(space.model, batch), points, method.directions, state)
    assert note is None, note
    return space


def trained(
    method: Method, steps: int, batches: Batches, processes: int, seen: Callable[[int, nn.Module], None]
) -> nn.Module:
    """The network after `steps`; `seen` is shown it now and then."""
    space = space_for(method, batches(0))
    run = Run(space, method, Journal.create(None, {"key": SEED}), horizon=steps, processes=processes)
    for t in range(steps):
        if t % SHOWN == 0:
            seen(t, space.model)
        run.step(question(space.model, batches(t)))
    seen(steps, space.model)
    return space.model


def adam(lr: float, steps: int, batches: Batches, seen: Callable[[int, nn.Module], None]) -> nn.Module:
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for t in range(steps):
        if t % SHOWN == 0:
            seen(t, model)
        some = batches(t)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(some.x), some.y).backward()
        optimizer.step()
        schedule.step()
    seen(steps, model)
    return model


def grid(first: float, score: Callable[[float], float]) -> dict[float, float]:
    """Step size -> score: three of the ladder from `first`, and on while the best is at an end; ascending."""
    low = LADDER.index(first)
    high = low + 2
    tried = {lr: score(lr) for lr in LADDER[low : high + 1]}
    while True:
        best = LADDER.index(max(tried, key=lambda lr: tried[lr]))
        if best == low and low > 0:
            low = new = low - 1
        elif best == high and high < len(LADDER) - 1:
            high = new = high + 1
        else:
            return dict(sorted(tried.items()))
        tried[LADDER[new]] = score(LADDER[new])


def measured(
    name: str, steps: int, data: dict[str, Pictures], shares: dict[str, float], processes: int
) -> dict[str, Any]:
    """The run at its best step size, and what the others came to on the pictures set aside."""
    batches = Batches(data["train"])
    runs: dict[float, dict[str, Any]] = {}

    def score(lr: float) -> float:
        points: list[tuple[int, float]] = []

        def seen(t: int, model: nn.Module) -> None:
            points.append((t, 100 * accuracy(model, data["held"])))

        began = time.process_time()
        if name == "Adam":
            model: nn.Module = adam(lr, steps, batches, seen)
        else:
            model = trained(method_of(name, lr, shares), steps, batches, processes, seen)
        taken = round(time.process_time() - began, 1)
        runs[lr] = {"method": name, "lr": lr, "accuracy": 100 * accuracy(model, data["test"]), "points": points,
                    "cpu_seconds": taken}  # fmt: skip
        return points[-1][1]

    tried = grid(FIRST[name], score)
    result = runs[max(tried, key=lambda lr: tried[lr])]
    result["grid"] = {f"{lr:g}": round(a, 1) for lr, a in tried.items()}
    print(f"{name}: {result['accuracy']:.1f} % at lr {result['lr']:g}, {result['grid']}", file=sys.stderr)
    return result


def shared_cost(data: dict[str, Any], shares: dict[str, float]) -> float:
    """CPU seconds of a step that computes each point whole, over one that starts at the moved layer."""
    method = method_of("deepzero", 1e-9, shares)
    space = space_for(method, Batches(data["train"])(0))
    run = Run(space, method, Journal.create(None, {"key": SEED}))
    ask, taken, good = (
        question(space.model, Batches(data["train"])(0)),
        {True: 0.0, False: 0.0},
        space.sharing,
    )
    for turn in range(10):
        space.sharing = good if turn % 2 else frozenset()
        began = time.process_time()
        run.step(ask)
        taken[bool(turn % 2)] += time.process_time() - began
    return taken[False] / taken[True]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.papers.deepzero", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--data", type=Path, help="folder of the four files; without it, Debian's package")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument(
        "--processes", type=int, default=1, help="that share the points; records are the same"
    )
    parser.add_argument("--methods", nargs="+", default=list(FIRST), choices=list(FIRST))
    given = parser.parse_args()
    start = time.perf_counter()
    torch.set_num_threads(1)
    folder = given.data or found()
    every, test = (
        Pictures(nn.functional.avg_pool2d(x, 2), y) for x, y in (load(folder, p) for p in ("train", "t10k"))
    )
    data = {"train": Pictures(every.x[HELD:], every.y[HELD:]), "held": Pictures(every.x[:HELD], every.y[:HELD]),
            "test": test}  # fmt: skip
    model = network()
    few = torch.cat([torch.nonzero(data["train"].y == k)[:25, 0] for k in range(10)])
    shares = grasp(
        Module(model, points_per_pass=PASS), question(model, Pictures(data["train"].x[few], data["train"].y[few])),
        key=SEED,
    )  # fmt: skip
    print("shares", {k: round(v, 3) for k, v in shares.items()}, file=sys.stderr)
    runs = [measured(name, given.steps, data, shares, given.processes) for name in given.methods]
    if set(given.methods) == set(FIRST):
        finish(
            "deepzero",
            shape({r["method"]: r for r in runs}, shares, given.steps, shared_cost(data, shares)),
            start,
        )


def shape(
    runs: dict[str, dict[str, Any]], shares: dict[str, float], steps: int, gain: float
) -> dict[str, Any]:
    got = {name: r["accuracy"] for name, r in runs.items()}
    random = {name: got[name] for name in ("zo_momentum", "fzoo")}
    best = max(random, key=lambda name: random[name])
    each = ", ".join(f"{name} {a:.1f} %" for name, a in random.items())
    return {
        "title": "DeepZero: a CNN from scratch by finite differences",
        "paper": "DeepZero: Scaling up Zeroth-Order Optimization for Deep Model Training", "arxiv": "2310.02025",
        "setup": (
            f"1,883 numbers on Fashion-MNIST at 14 x 14 instead of ResNet-20 on CIFAR-10; {steps} steps of one batch of "
            f"{BATCH} ({steps * BATCH / (60_000 - HELD):.2f} of an epoch; the paper: 50), {COORDINATES} or "
            f"{COORDINATES + 1} forwards a step for every method without gradients; whole runs by step size, the best "
            f"chosen on {HELD:,} pictures set aside; one seed. A new set of coordinates every step (the paper: every 5 "
            f"epochs)."
        ),
        "rows": [
            row("coordinates are more accurate than random directions at equal forwards", "yes (its figure 2)",
                f"deepzero {got['deepzero']:.1f} %; {each}", got["deepzero"] > random[best] + 0.5),
            row("from scratch, near to first-order training", "86.94 % (ResNet-20, CIFAR-10)",
                f"{got['deepzero']:.1f} % against Adam's {got['Adam']:.1f} % after the same steps",
                got["deepzero"] > got["Adam"] - 5),
            row("keep-ratios of ZO-GraSP help", "yes",
                f"{got['deepzero']:.1f} % with, {got['deepzero, equal shares']:.1f} % without",
                got["deepzero"] > got["deepzero, equal shares"] + 0.5),
            row("reusing the features in front of a coordinate's layer saves half of the time", "more than 2 x",
                f"{gain:.2f} x (two convolutions: little lies in front)", gain >= 2.0),
        ],
        "tables": {
            "Runs at the best step size; the grid is accuracy on the pictures set aside:": [
                {"method": name, "step size": f"{r['lr']:g}", "test accuracy, %": f"{r['accuracy']:.1f}",
                 "grid": ", ".join(f"{lr}: {a:g}" for lr, a in r["grid"].items()), "CPU seconds": f"{r['cpu_seconds']:g}"}
                for name, r in runs.items()
            ],
            "Shares found by ZO-GraSP (vectors have 1):": [
                {"tensor": name, "share": f"{share:.3f}"} for name, share in shares.items()
            ],
        },
        "curves": {"title": "Fashion-MNIST, 1,883 numbers", "x": "steps", "y": "accuracy on pictures set aside, %",
                   "series": [{"name": name, "points": r["points"]} for name, r in runs.items()]},
    }  # fmt: skip


if __name__ == "__main__":
    main()

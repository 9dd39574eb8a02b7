"""`--dry-run`: what a run will take, from a few real forwards.  Nothing is written, nothing is trained."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import numpy as np

from ..method import begun
from ..protocols import Draw, Point
from .asked import check, method_for, refuse_names
from .config import Config
from .memory import estimate, refuse, refuse_stored
from .plan import TIMED, horizon, points_per_pass, with_batch
from .reexecute import fits
from .sensitivity import stand_in
from .session import CACHED, Session
from .units import duration, size

FEW = 48  # examples whose prefix is timed


def forecast(config: Config) -> dict[str, Any]:
    """Time, memory and disk a fine-tuning run is expected to need; rough, from timings of seconds.

    Cost: the model is loaded; about 100 forwards of a few examples.
    """
    check(config)
    refuse_stored(config)
    session = Session.open(replace(config, cache_gb=max(config.cache_gb, 2.0)))  # the sample stays in memory
    method = stand_in(method_for(config, 1.0, 1e-3 if config.eps == "auto" else config.eps))
    refuse(session, method)
    fits(session, method, 0)
    refuse_names(config, [slot.name for slot in session.space.slots()])
    whole = {name: len(split.items) for name, split in session.splits.items()}
    tokens = {name: sum(split.lengths) for name, split in session.splits.items()}
    train = session.splits["train"]
    few = np.linspace(0, len(train.items) - 1, min(FEW, len(train.items))).astype(int)
    session.splits["train"] = replace(
        train, items=[train.items[i] for i in few], examples=[train.examples[i] for i in few]
    )
    began = time.monotonic()
    session.cache_prefix(method, 0, ["train"])
    prefix_seconds = time.monotonic() - began
    small, session.splits["train"] = session.splits["train"], train
    config = session.config = with_batch(session)  # as the whole of train decides
    session.space.points_per_pass = points_per_pass(session)
    kept = min(whole["train"], config.train_limit or (CACHED if small.prefix else whole["train"]))
    tokens["train"] = tokens["train"] * kept // whole["train"]
    share = sum(tokens.values()) / max(1, sum(small.lengths))
    which = np.resize(np.arange(len(small.items)), int(config.batch))
    asked = math.ceil(method.forwards)
    points = [Point(((Draw(0, i), method.eps),)) for i in range(min(asked, TIMED))]
    state = begun(method.directions, session.space, 0)
    times = []
    for _ in range(3):
        began = time.monotonic()
        for group in session.space.groups(points):
            with session.space.visit(group, method.directions, state) as view:
                session.objective(small, which)(view)
        times.append(time.monotonic() - began)
    step = min(times) * asked / len(points)
    steps = horizon(session, asked, step / asked)
    master = session.space.master_bytes
    trained = sum(
        p.numel() * max(p.element_size(), 4 if master else 0)
        for p in map(session.space.parameter, session.space.slots())
    )
    prefix = int((small.prefix.nbytes if small.prefix else 0) * share)
    caching = prefix_seconds * share if small.prefix else 0.0
    return {
        "examples": ", ".join(f"{n} {name}" for name, n in whole.items()),
        "trained": f"{sum(int(np.prod(s.shape)) for s in session.space.slots()):,} numbers in {len(session.space.slots())} tensors",
        "batch": int(config.batch), "steps": steps, "forwards": steps * asked,
        "prefix": f"{session.plan.mode}, {size(prefix)}" if session.plan else "none: every forward is a full one",
        "seconds_caching": round(caching, 1), "seconds_a_step": round(step, 4),
        "seconds": round(caching + steps * step, 1), "time": duration(caching + steps * step),
        "memory": f"about {size(estimate(session, method, prefix).total)}",
        "disk": f"about {size(trained + max(0, prefix - int(config.cache_gb * 1e9)) + 200 * steps)}",
    }  # fmt: skip

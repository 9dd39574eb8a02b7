"""Tr H of a run's loss at its weights: `zoptim sharpness RUN`, and now and then while it trains.

The loss is that of a split's examples (or of so many of them), in passes of a few points; signs and coordinates are
plain, so the trace is that of the weights' own units, whatever units the run's probes have.  An interval is over
probes: which examples were drawn is not in it.  Forwards are counted apart, as an evaluation's are.  Not here: the
mathematics (`zoptim.sharpness`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..noise import permutation
from ..protocols import Directions, Point, State
from ..sharpness import Ask, Sharpness, hessian_trace, in_range
from . import plan
from .batches import evaluation
from .errors import UsageError
from .existing import method_of, rebuild, reopen, resolve_at
from .masks import among
from .metrics import Metrics, events
from .objectives import make
from .session import SUBSET, Session, Split

EXAMPLES, PROBES = 256, 64
DURING = (128, 16)  # examples and probes while training
EXACT = 600  # trained numbers that are probed one by one: a last norm's


def sharpness(
    run: Path, *, at: str | int | None = None, split: str = "train", probes: int = PROBES,
    examples: int = EXAMPLES, radius: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The Hessian's trace of a run's loss at its weights, with an interval.

    Args:
        run: its folder.
        at: "best" (on dev), "last" or a step number; None: what the run was asked for.
        split: "train" or "dev"; the test split is for the last word only.
        probes: sign directions, two forwards of every example each; every number is probed where few are trained.
        examples: of the split, at most; drawn by the run's key.
        radius: how far is looked, in weight; None: chosen.

    Raises:
        UsageError: an argument outside its range.

    Cost: 2 probes + 82 forwards of each example (or 2 d + 250), behind the cached prefix; no memory beside a visit's.
    """
    if split not in ("train", "dev"):
        raise UsageError(f"split={split!r} must be train or dev")
    if examples < 1:
        raise UsageError(f"examples={examples} must be a whole number from 1")
    try:
        in_range(probes, radius)  # before a model is opened
    except ValueError as error:
        raise UsageError(str(error)) from None
    session, journal = reopen(run)
    key = int(journal.header["key"])
    method = method_of(journal.header, session.space)
    session.space.lockstep = bool(journal.header.get("lockstep", True))
    session.splits[split] = session.splits[split].some(examples, key)
    session.cache_prefix(method, key, [split])
    made = rebuild(session, journal, at)
    try:
        seen = session.splits[split]
        found = measured(
            session, seen, key, probes=probes, examples=examples, radius=radius,
            among=among(journal.header, session.space.slots()),
        )  # fmt: skip
    except ValueError as error:
        raise UsageError(str(error)) from None
    return {
        "run": str(run), "split": split, "at": resolve_at(run, journal, at), "steps": made.done,
        "examples": len(session.splits[split].items), **told(found),
    }  # fmt: skip


def told(found: Sharpness) -> dict[str, Any]:
    """As plain values, in the order in which they are read; what is not finite is None."""
    values = {
        k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(found).items()
    }
    return {k: values[k] for k in ("trace", "low", "high")} | values | {"warning": found.warning or None}


def measured(
    session: Session, split: Split, key: int, *, probes: int = PROBES, examples: int = EXAMPLES,
    radius: float | None = None, among: Mapping[int, np.ndarray] | None = None,
) -> Sharpness:  # fmt: skip
    """Tr H of the mean loss over a split, or so many of its examples, where the weights stand; `among` these alone."""
    chosen = np.sort(permutation(key, SUBSET, len(split.items))[:examples])
    ask = _over(session, split, chosen)
    return hessian_trace(
        session.space, ask=ask, probes=probes, radius=radius, key=key, exact=EXACT, among=among
    )


class Sharpening:
    """Tr H along a run: events "sharpness" in metrics.jsonl, always by the same examples, probes and radius."""

    def __init__(self, session: Session, metrics: Metrics, header: Mapping[str, Any]) -> None:
        self.session, self.metrics, self.key = session, metrics, int(header["key"])
        self.among = among(header, session.space.slots())
        before = [e for e in events(metrics.path) if e.get("event") == "sharpness"]
        self.seen = {e.get("t") for e in before}
        self.radius = next((float(e["radius"]) for e in before if e.get("radius")), None)

    def __call__(self, t: int, forwards: int, seconds: float) -> None:
        """Measure and write down, unless this step was seen before; the first one chooses the radius."""
        if t in self.seen:
            return
        examples, probes = DURING
        split = self.session.splits["train"]
        found = measured(
            self.session, split, self.key, probes=probes, examples=examples, radius=self.radius, among=self.among
        )  # fmt: skip
        self.seen.add(t)
        self.radius = found.radius
        values = {k: v for k, v in told(found).items() if k != "forwards"}
        self.metrics.write(
            "sharpness", t=t, forwards=forwards, seconds=round(seconds, 3), apart=found.forwards, **values
        )


def _over(session: Session, split: Split, chosen: np.ndarray) -> Ask:
    """The loss over these examples at given points, a few points a pass; weighed as `measure` does."""
    session = replace(session, goal=make("loss", session.kind))
    batches = [chosen[some] for some in evaluation([split.lengths[i] for i in chosen])]

    def ask(points: Sequence[Point], directions: Directions, state: State) -> np.ndarray:
        total, weight = np.zeros(len(points)), 0.0
        for which in batches:
            question, size = session.objective(split, which), _points(session, split, which)
            for first in range(0, len(points), size):
                some = points[first : first + size]
                with session.space.visit(some, directions, state) as view:
                    answer = question(view)
                values, w = answer if isinstance(answer, tuple) else (answer, np.ones(len(which)))
                total[first : first + size] += np.asarray(values, np.float64) @ np.asarray(w)
            weight += float(np.sum(w))
        return total / weight

    return ask


def _points(session: Session, split: Split, which: np.ndarray) -> int:
    """Points that share a pass, as in a step on these examples."""
    if not session.space.lockstep:
        return 1
    config = replace(session.config, batch=len(which))
    step = Split([], [split.items[i] for i in which])
    return plan.points_per_pass(replace(session, config=config, splits={"train": step}))

"""What "auto" means: batch, passes and horizon of a run, decided from the model and the data.

Numbers that need measuring (lr, eps, units) are `calibrate`'s; which weights, `session.with_train`.  Everything
here is a function of the config, the model and the training examples, so a resumed run decides alike; the horizon
is recorded all the same, since a budget in minutes depends on the clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from ..method import Method, begun
from ..protocols import Draw, Point
from .asked import method_for
from .batches import Order
from .config import Config
from .errors import UsageError
from .objectives import make
from .session import Session

FORWARDS = 18_000  # the default budget
CHEAP_FORWARDS = 45_000  # where the prefix leaves nothing to run but a norm and the candidates' logits
TIMED = 64  # points that a forward is timed on
BATCH = 64  # examples a step
CHEAP_BATCH = 512  # ... where a forward costs nothing next to caching
TOKENS_BATCH = 16  # ... where whole-vocabulary logits are read
LOGITS = 1 << 26  # logits a pass may hold: points share passes up to here
TOKENS = (
    1 << 15
)  # ... and tokens, where only the scored positions are run, or a pass reads the model from disk
ACTIVE = 1 << 10  # ... and tokens that go through whole blocks: more activations leave the cache


def cheap(session: Session) -> bool:
    """Whether a forward is only the last norm and a few rows of the head."""
    plan, items = session.plan, session.splits["train"].items
    return plan is not None and plan.at == len(plan.layers) and items[0].columns is not None


def with_batch(session: Session) -> Config:
    """The config with `batch` decided: many examples where a forward costs nothing next to caching.

    Raises:
        UsageError: the method asks every example by itself, and there are fewer than its setting says.
    """
    config, items = session.config, session.splits["train"].items
    needed = getattr(method_for(config, 1.0, 1.0).probe, "examples", None)
    if needed and needed > len(items):
        raise UsageError(
            f"n={needed}: {config.method} asks so many examples, each at a point of its own, and there are {len(items)} to "
            f"train on; give --set n= at most that"
        )
    if config.batch == "auto":
        size = CHEAP_BATCH if cheap(session) else BATCH if items[0].columns is not None else TOKENS_BATCH
        config = replace(config, batch=min(needed or size, len(items)))
    if int(config.batch) > len(items):
        session.say(
            f"batch={config.batch}: there are {len(items)} examples to train on, every step takes all"
        )
        config = replace(config, batch=len(items))
    return config


def at_once(tokens: int) -> int:
    """Points of so many tokens that share a pass through whole blocks: at least a pair, which shares its noise."""
    return max(2, ACTIVE // tokens)


def points_per_pass(session: Session) -> int:
    """How many points share a pass: activations and whole-vocabulary logits bound it."""
    config, items = session.config, session.splits["train"].items
    if config.points_per_pass != "auto":
        return int(config.points_per_pass)
    lone = getattr(
        method_for(config, 1.0, 1.0).probe, "examples", None
    )  # all its examples, one a point, share a pass
    part = int(config.batch) if lone else min(int(config.batch), config.micro_batch or int(config.batch))
    rows = max(len(i.rows) for i in items) * part
    scored = max(len(r.ids) - r.start for i in items for r in i.rows)
    decoding = session.plan is not None and session.plan.mode == "decode"
    length = max(1, scored) if decoding else max(i.length for i in items)
    most = TOKENS // (rows * length) if decoding or session.stream is not None else at_once(rows * length)
    if items[0].columns is None:
        vocabulary = getattr(session.loaded.model.config, "vocab_size", 1 << 16)
        most = min(most, LOGITS // (rows * scored * vocabulary))
    if config.processes > 1:  # a share for each
        most = min(most, math.ceil(method_for(config, 1.0, 1.0).probe.forwards / config.processes))
    return max(1, most)


def settle(session: Session, method: Method, key: int, say: Callable[[str], None]) -> list[str]:
    """Lockstep compared with one-by-one on real examples, passes sized to memory; what was found.

    The loss is compared whatever the goal: an accuracy of four examples would agree with anything.
    """
    train, directions = session.splits["train"], method.directions
    session.space.points_per_pass = points_per_pass(session)
    state = begun(directions, session.space, key)
    points = [Point(((Draw(0, 0), method.eps),)), Point(((Draw(0, 1), -method.eps),))]
    few = Order(key, train.lengths, min(4, len(train.items)))(0)
    loss = replace(session, goal=make("loss", session.kind))
    note = session.space.check(loss.objective(train, few), points, directions, state)
    if note:
        say(note)
    return [note] if note else []


def horizon(session: Session, forwards_a_step: float, seconds_a_forward: float) -> int:
    """T: the steps the schedules are laid over; every budget given is one bound on it."""
    config, bounds = session.config, []
    if config.steps:
        bounds.append(config.steps)
    if config.forwards:
        if config.forwards < forwards_a_step:
            raise UsageError(
                f"forwards={config.forwards} is less than one step of {config.method} ({forwards_a_step:g})"
            )
        bounds.append(int(config.forwards // forwards_a_step))
    if config.minutes:
        bounds.append(max(1, int(config.minutes * 60 / (seconds_a_forward * forwards_a_step))))
    usual = CHEAP_FORWARDS if cheap(session) else FORWARDS
    if not bounds and usual < forwards_a_step:
        raise UsageError(
            f"method={config.method}: one step asks {forwards_a_step:,g} forwards, more than the {usual:,} a run takes "
            "unless told; ask fewer (--set n=...), or give --steps"
        )
    return min(bounds) if bounds else int(usual // forwards_a_step)

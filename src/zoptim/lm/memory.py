"""What a run will hold in memory, before it starts: for `--memory-limit`, `--dry-run` and refusals that say why.

    model + float32 master + the method's vectors + prefix cache + libraries and activations

An estimate from sizes alone.  Not here: what a process was seen to hold (`machine`), the prefix itself (`prefix`).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..method import Method
from ..spaces.store import Checkpoint, CheckpointError
from .asked import around_choice, refuse_streamed
from .config import Config
from .errors import UsageError
from .sensitivity import numbers_held
from .session import CACHED, Session
from .units import size

REST = 600_000_000  # torch, transformers, and the activations of a pass


class Memory(NamedTuple):
    """Bytes, by what holds them."""

    model: int
    master: int
    vectors: int
    prefix: int
    rest: int = REST

    @property
    def total(self) -> int:
        return sum(self)


def estimate(session: Session, method: Method, prefix: int) -> Memory:
    """`prefix`: bytes of the whole prefix cache; what exceeds --cache-gb lies on disk."""
    held = [*session.loaded.model.parameters(), *session.loaded.model.buffers()]  # codes are buffers
    model = sum(p.numel() * p.element_size() for p in held)
    if session.stream is not None:
        model = min(model, session.stream.window.limit)
    trained = sum(int(np.prod(s.shape)) for s in session.space.slots())
    kept = method.rule.vectors + method.directions.vectors + numbers_held(session, method)
    kept += getattr(method.probe, "order", 0)  # tangents
    if method.first is not None:  # besides activations; an ascent point is a copy
        kept += method.first.rule.vectors + (method.first.rho > 0.0)
    return Memory(
        model, session.space.master_bytes, 4 * kept * trained, min(prefix, int(session.config.cache_gb * 1e9))
    )


def most_prefix(session: Session) -> int:
    """Bytes the prefix cache may come to: a hidden state a token, where not every block is trained."""
    config = session.config
    if config.train == "all" or session.stream is not None:
        return 0
    kept = session.splits["train"].lengths[: config.train_limit or CACHED]
    width = getattr(session.loaded.model.config, "hidden_size", 0)
    return 4 * width * int(sum(kept) + sum(session.splits["dev"].lengths))


def refuse_stored(config: Config) -> None:
    """Refuse a folder of safetensors whose weights alone exceed the limit, before they are read.

    Raises:
        UsageError: with what they come to.
    """
    if config.memory_limit is None or config.stream:
        return
    if config.quantize != "none" and not around_choice(config):  # read a layer at a time
        return
    try:
        stored = Checkpoint(Path(config.model).expanduser())
    except (CheckpointError, OSError):
        return  # no such folder: whoever opens it says so
    numbers = sum(int(np.prod(entry.shape)) for entry in stored.tensors.values())
    stored.close()
    held = Memory(numbers * (4 if config.dtype == "float32" else 2), 0, 0, 0)
    _beyond(config, held, "at least")


def refuse(session: Session, method: Method) -> None:
    """Refuse a run whose memory would exceed the limit it was given, or whose method cannot be streamed.

    Raises:
        UsageError: with the parts and what would help.
    """
    refuse_streamed(method, session.stream is not None and session.stream.defers)
    half = any(session.space.parameter(s).element_size() == 2 for s in session.space.slots())
    if half and getattr(method.probe, "fine", False):
        raise UsageError(
            f"method={method.name}: it compares places that lie closer together than half precision can tell apart; "
            "give --dtype float32, or another method"
        )
    if session.config.memory_limit is not None:
        _beyond(session.config, estimate(session, method, most_prefix(session)), "up to")


def _beyond(config: Config, found: Memory, how: str) -> None:
    """Refuse what exceeds the limit, with its parts and what would help the largest."""
    limit = config.memory_limit
    assert limit is not None
    if found.total <= limit * 1e9:
        return
    parts = ", ".join(f"{name} {size(part)}" for name, part in found._asdict().items() if part)
    held = {"vectors": "a method without vectors (zoptim methods)", "prefix": "a smaller --cache-gb"}
    held |= {"master": "no --master", "model": "--stream or --quantize", "rest": "a larger --memory-limit"}
    if around_choice(config):
        held["model"] = "--method qzo, which never has it in floats"
    biggest = max(found._asdict(), key=lambda name: getattr(found, name))
    raise UsageError(
        f"memory_limit={limit:g}: this run would hold {how} {size(found.total)} ({parts}); try {held[biggest]}"
    )

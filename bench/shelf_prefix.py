"""The frozen prefix of all prompts of the comparison, built once and kept on disk: caching it takes longer than a cell.

A file holds the hidden states of every text of the ratings file, whatever the task; a task's splits are parts of it.
Its name is a digest of the weights and the tokens.  What it is not: a prefix for anything else (`zoptim.lm.prefix`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoptim.lm.encode import Item
from zoptim.lm.prefix import Prefix, PrefixPlan, Store
from zoptim.lm.session import Session
from zoptim.method import begun


class Kept(Prefix):
    """A prefix of mode "depth" whose states are read from `path`, built and written there the first time."""

    def __init__(
        self, session: Session, plan: PrefixPlan, items: Sequence[Item], folder: Path,
        say: Callable[[str], None],
    ) -> None:  # fmt: skip
        model: Any = session.loaded.model
        name = hashlib.sha256(
            repr((session.loaded.source["sha256"], plan.at, [i.rows for i in items])).encode()
        )
        self.path, self.width = folder / f"prefix-{name.hexdigest()[:16]}.bin", model.config.hidden_size

        def tell(done: int, total: int) -> None:
            say(f"\rcaching the frozen prefix: {done:,}/{total:,}")

        super().__init__(
            model, plan, items, session.loaded.tokenizer.pad_token_id, limit=1e12, folder=folder, say=tell
        )

    def _build(self, model: Any, say: Callable[[int, int], None]) -> None:
        if not self.path.is_file():
            super()._build(model, say)
            assert self._h is not None
            self.path.parent.mkdir(parents=True, exist_ok=True)
            part = self.path.with_suffix(f".{os.getpid()}")
            self._h.data.numpy().tofile(part)
            os.replace(part, self.path)
        rows = int(self.h_at[-1])
        self._h = Store(0, self.width, torch.float32, None)
        held = torch.from_file(str(self.path), shared=False, size=rows * self.width, dtype=torch.float32)
        self._h.data = held.view(rows, self.width)


class Part:
    """Some items of a kept prefix, by their own numbers."""

    def __init__(self, whole: Kept, index: np.ndarray) -> None:
        self.whole, self.index, self.plan, self.frozen = whole, index, whole.plan, whole.frozen

    @property
    def nbytes(self) -> int:
        return self.whole.nbytes

    def hidden(self, which: Any, width: int) -> Tensor:
        """As `Prefix.hidden`."""
        return self.whole.hidden(self.index[np.asarray(which)], width)


def attach(session: Session, everything: Sequence[Item], folder: Path, say: Callable[[str], None]) -> bool:
    """Give every split its part of the prefix of `everything`; False: these trained weights allow no such cache."""
    from zoptim import methods

    method = methods.mezo(law="signs")
    state = begun(method.directions, session.space, 0)
    few = session.splits["train"].items[:8]
    plan = session.scorer.plan(few, method.directions, state, method.eps)
    if plan is None or plan.mode != "depth":
        return False
    whole = Kept(session, plan, everything, folder, say)
    place = {item.rows: i for i, item in enumerate(everything)}
    for split in session.splits.values():
        split.prefix = Part(whole, np.array([place[item.rows] for item in split.items]))  # type: ignore[assignment]
    wrong = session.scorer.verify(
        session.splits["train"].prefix,
        few,
        range(len(few)),
        method.directions,
        state,
        method.eps,  # type: ignore[arg-type]
    )
    if wrong:
        raise RuntimeError(f"{whole.path} does not reproduce this model ({wrong}): remove it")
    session.plan = plan
    return True

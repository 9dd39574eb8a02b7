"""Runs of methods that also take gradients: which examples each part sees, weights kept on the way, opening anew.

A gradient is not in the journal, so such a run is replayed by taking its gradients again (`drivers.hybrid`), on
batches that are functions of (key, t).  That needs the data, and time: so the weights are kept at every evaluation,

    RUN/kept/latest.bin, best.bin     one line of JSON, then the trained tensors and the rules' vectors, bit for bit

each tied to the journal by a digest of all bytes before it, and to itself by a sha256.  Opening starts from the
latest that fits, and takes the steps after it again; a file that is damaged, or speaks of steps taken back, is
passed over.  They only save time: without them everything is taken again from the initial weights.

Not here: what a step is (`drivers.hybrid`), what is asked about examples (`session`).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import methods
from ..drivers.hybrid import OTHER, Hybrid, ReexecutionError, parts
from ..engine import Run
from ..first import First
from ..journal import Journal, canonical_json, digest, effective
from ..method import Method
from ..protocols import GRADIENT, Record
from .batches import Order
from .errors import RunError, UsageError
from .session import Session

KEPT = "kept"
HEAD = 512  # bytes of a file's first line, written last


def fits(session: Session, method: Method, key: int) -> None:
    """Refuse before the first step what the examples or the trained weights are not there for.

    Raises:
        UsageError: a part of the method without examples, or without weights.
    """
    if method.first is None:
        return
    batch = 1 if session.config.batch == "auto" else int(session.config.batch)  # auto: not decided yet
    orders(method.first, key, session.splits["train"].lengths, batch)
    try:
        parts(session.space, method.first.blocks, method.name)
    except ValueError as error:
        raise UsageError(str(error)) from None


def reexecutes(header: dict[str, Any]) -> bool:
    """Whether the run of this header can only be rebuilt with its data."""
    card = methods.SHELF.get(header["method"]["name"])  # an unknown one is refused where it is built
    return card is not None and card.make().first is not None


# -- which examples --------------------------------------------------------------------------------------------


class Among:
    """An order over some of the examples only."""

    def __init__(self, which: np.ndarray, order: Order) -> None:
        self.which, self.order = which, order

    def __call__(self, t: int) -> np.ndarray:
        return np.asarray(self.which[self.order(t)])

    def several(self, t: int, batches: int) -> np.ndarray:
        """Examples of so many batches, drawn for step t."""
        return np.asarray(self.which[self.order.several(t, batches)])


def orders(
    first: First | None, key: int, lengths: Sequence[int], batch: int
) -> tuple[Order | Among, Order | Among]:
    """Batches of the probes and of the gradient, functions of t.

    Raises:
        UsageError: a threshold that leaves one of them no example.
    """
    order = Order(key, lengths, batch)
    if first is None or first.threshold is None:
        return order, order
    own = first.batch or batch
    if first.threshold == 0:
        return order, Order(key ^ OTHER, lengths, own)
    n = np.asarray(lengths)
    short, long = np.flatnonzero(n <= first.threshold), np.flatnonzero(n > first.threshold)
    if not len(short) or not len(long):
        raise UsageError(
            f"threshold={first.threshold}: {len(short)} training examples are that short and {len(long)} longer "
            f"({n.min()} to {n.max()} tokens); give one in between, or 0"
        )
    return Among(long, Order(key, n[long].tolist(), batch)), Among(
        short, Order(key ^ OTHER, n[short].tolist(), own)
    )


@dataclass
class Losses:
    """The differentiable loss of step t, of a session whose prefix is cached when it is first asked."""

    session: Session
    method: Method
    key: int
    order: Order | Among | None = None

    def __call__(self, t: int) -> Callable[[], Tensor]:
        session = self.session
        if self.order is None:
            session.cache_prefix(self.method, self.key, ["train"])
            train = session.splits["train"]
            self.order = orders(self.method.first, self.key, train.lengths, int(session.config.batch))[1]
        return session.loss(session.splits["train"], self.order(t))


# -- weights on the way ----------------------------------------------------------------------------------------


class Kept:
    """Weights at steps of a run, in its folder: the latest evaluated, and the best.

    Cost: the bytes of the trained tensors and of the rules' vectors, twice on disk; a write at every evaluation.
    """

    def __init__(self, session: Session) -> None:
        self.session, self.folder = session, session.config.out / KEPT

    def save(self, run: Hybrid, *, best: bool) -> None:
        """Keep the weights as they are now, after every step of the journal."""
        run.journal.sync()
        dump, seal = run.journal.dump(), hashlib.sha256()
        head = {
            "t": run.t,
            "moved": run._moved,
            "descents": run.descents,
            "journal": [len(dump), digest(dump)],
        }
        self.folder.mkdir(exist_ok=True)
        part = self.folder / "part"
        with open(part, "wb") as file:
            file.write(b" " * HEAD + b"\n")
            for p in _tensors(run, self.session):
                raw = p.contiguous().view(torch.uint8).numpy().tobytes()
                seal.update(raw)
                file.write(raw)
            seal.update(canonical_json(head))
            file.seek(0)
            file.write(json.dumps({**head, "sha256": seal.hexdigest()}).ljust(HEAD).encode())
        part.replace(self.folder / "latest.bin")
        if best:
            shutil.copyfile(self.folder / "latest.bin", part)
            part.replace(self.folder / "best.bin")

    def restore(self, run: Hybrid, records: Sequence[Record]) -> Sequence[Record]:
        """Put the latest kept weights in place that lie on the way to the end of `records`; what is left to take."""
        found = [
            (head, path) for path in sorted(self.folder.glob("*.bin")) if (head := self._fits(run, path))
        ]
        found.sort(key=lambda pair: pair[0]["t"])
        since = 0
        for head, path in reversed(found):
            if self._read(run, head, path):  # else damaged: an earlier one
                since, run._moved, run.descents = (head[k] for k in ("t", "moved", "descents"))
                break
        rest = [r for r in records if r.t >= since]
        if rest:
            self.session.say(
                f"{run.method.name} also takes gradients: taking {len(rest)} steps again, from {since}"
            )
        return rest

    def _fits(self, run: Hybrid, path: Path) -> dict[str, Any] | None:
        """The head of a file whose weights are those after some of the records in force that the run is to hold."""
        try:
            with open(path, "rb") as file:
                head: dict[str, Any] = json.loads(file.readline())
            t, size, sign = int(head["t"]), int(head["journal"][0]), head["journal"][1]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        dump = run.journal.dump()
        there = {r.t for r in effective(run.journal.records)}
        last = max((r.t for r in effective(Journal(None, dump[:size]).records)), default=-1)
        fits = digest(dump[:size]) == sign and last + 1 == t and (last < 0 or last in there)
        return head if fits and (run.until is None or t <= run.until) else None

    def _read(self, run: Hybrid, head: dict[str, Any], path: Path) -> bool:
        """Copy a file's tensors into place; nothing where its sum is wrong."""
        with open(path, "rb") as file:
            start = len(file.readline())
            seal = hashlib.file_digest(file, "sha256")
            seal.update(canonical_json({k: v for k, v in head.items() if k != "sha256"}))
            if seal.hexdigest() != head.get("sha256"):
                return False
            file.seek(start)
            for p in _tensors(run, self.session):
                raw = bytearray(file.read(p.numel() * p.element_size()))
                p.copy_(torch.frombuffer(raw, dtype=p.dtype).view(p.shape))
        return True


def _tensors(run: Hybrid, session: Session) -> Iterator[Tensor]:
    """The numbers that a step may change: trained tensors (a master's, where there is one), then rules' vectors."""
    for slot in session.space.slots():
        with session.space.tensor(slot) as p:
            yield p
    for vectors in (run.vectors, run.gradient_vectors):
        for some in vectors.values():
            yield from some


# -- opening ---------------------------------------------------------------------------------------------------


def opened(
    session: Session, method: Method, journal: Journal, *, horizon: int, until: int | None = None
) -> Run:
    """A run on a session at its initial weights: replayed, or, where its method takes gradients, taken again.

    Raises:
        UsageError: what the method needs of the model or the data is not there.
        RunError: a step taken again gives another loss.
    """
    if method.first is None:
        processes = session.config.processes
        return Run(session.space, method, journal, horizon=horizon, until=until, processes=processes)
    losses = Losses(session, method, int(journal.header["key"]))
    try:
        return Hybrid(
            session.space, method, journal, losses=losses, horizon=horizon, until=until, kept=Kept(session)
        )
    except ReexecutionError as error:
        threads = journal.header.get("machine", {}).get("threads")
        raise RunError(f"{error} (the run was made with {threads} threads: --threads)") from None
    except ValueError as error:
        raise UsageError(str(error)) from None


def told(record: Record, base: int | None) -> tuple[float, np.ndarray]:
    """A step's loss for people, and its probes' losses: the gradient's own loss, where it has one, comes last.

    `base` is the place of theta's own loss among them; None: it was not asked, their mean stands for it.
    """
    losses = np.array(record.losses)
    if any(z == GRADIENT for z, _ in record.terms):
        return float(losses[-1]), losses[:-1]
    return float(losses.mean() if base is None or len(losses) == 0 else losses[base]), losses

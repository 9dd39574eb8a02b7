"""A torch module whose weights pass through a bounded window: a checkpoint larger than memory, trained.

    unit       a block's tensors, or another module's: what comes and goes together, see `layout`
    passing    before a module computes, a hook asks for its unit: read (mostly ahead of time), brought up to date,
               set as the modules' parameters; when it has to go they are on the meta device again
    updates    wait in the journal; a unit that passes gets those it misses, by the engine's own function, and is
               written to the working copy when it leaves.  Its mark says how many of which journal it holds, so none
               is lost, late or repeated whatever is killed when; without a usable copy it is the checkpoint's
               tensors and a replay
    small      where all that is trained is small it stays in memory, updates apply at once, and nothing is written

Visits are `Module`'s own, through the same layers: losses and weights are bit for bit those of a resident model.
Not here: which tensors form a unit (`layout`), files (`store`), what is in memory when (`window`), how a model's
tensors are found in a checkpoint (`lm.stream`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..protocols import Directions, Objective, Point, Record, Slot, State
from .device import Host
from .layout import Source, Unit, lay, size_of
from .module import Module
from .store import Mark, WorkingCopy
from .visit import Visit
from .window import Held, Window, least

SMALL = 4  # trained tensors up to a window's 1/SMALL stay in memory
SHARE = 8  # of the model, for a window that was not chosen

Write = Callable[[Slot, Tensor, int], None]


class Streamed(Module):
    """The chosen parameters of a module whose weights are streamed from a checkpoint.

    Args:
        model: its parameters on the meta device where `source` names them, real elsewhere.
        names: parameter names to train; None: all floating-point ones.
        source: where the parameters lie.
        blocks: modules that are each a unit, in no particular order.
        folder: of the working copy, see `keep`.
        window: bytes of weights in memory at most; None: an eighth of the model, or what lets reading overlap
            computing where that is more.
        points_per_pass: see `Module`.
        memory: where the window lies: the host, or `device.Device`.

    Raises:
        ValueError: the window cannot hold the largest unit; the message names the least that can.

    Memory: the window, trained tensors that stay, and what `Module` takes.
    Cost: a pass reads every unit that the window does not keep, once; where weights move it writes them, once.
    """

    def __init__(
        self, model: nn.Module, names: Iterable[str] | None = None, *, source: Source, blocks: Sequence[nn.Module],
        folder: Path, window: int | None = None, points_per_pass: int | None = None, memory: Host | None = None,
    ) -> None:  # fmt: skip
        self.source = source
        names = None if names is None else list(names)
        named = dict(model.named_parameters(remove_duplicate=False))
        moving = {named[n] for n in named if names is None or n in names} & set(source.names)
        self.layout = lay(model, blocks, source)
        bound = self._bound(window)
        self.defers = bool(moving) and sum(size_of(p) for p in moving) > bound // SMALL
        if moving and not self.defers:
            self._stay(moving)
            self.layout = lay(model, blocks, self.source)
            bound = self._bound(window)
        super().__init__(model, names, points_per_pass=points_per_pass)
        by_tensor = {id(self._tensor[s.id]): s for s in self._slots}
        for piece in (p for unit in self.units for p in unit.pieces):
            piece.slot = by_tensor.get(id(piece.parameter))
        if self.defers and len(moving) != len(self._slots):
            raise ValueError(
                "names: of the trained tensors some are not in the checkpoint: train either kind"
            )
        self._records: list[Record] = []
        self._chain: list[bytes] = [bytes(16)]
        self._apply: Write | None = None
        self._sync: Callable[[], None] = lambda: None
        self._synced = 0
        self.copy = WorkingCopy(folder, lasting=False)
        self._placed: dict[int, Held] = {}
        self._memory: dict[int, Tensor] = {}  # bytes of the units in use, where they compute
        self._store = memory or Host()
        self._here: tuple[tuple[int, ...] | None, int] = (None, 0)
        self._version = 0
        self.window = Window(
            [unit.nbytes for unit in self.units], bound, read=self._read, write=self._save,
            leaving=self._leave, memory=self._store,
        )  # fmt: skip
        self.window.pinned |= self.layout.parents
        self._hook()

    # -- the layout ----------------------------------------------------------------------------------

    @property
    def units(self) -> list[Unit]:
        """What comes and goes together."""
        return self.layout.units

    def _bound(self, window: int | None) -> int:
        """The window in bytes; refuses one that is too small, saying what would do."""
        sizes = [unit.nbytes for unit in self.units]
        order = list(dict.fromkeys(self.layout.needs.values()))
        needed, smooth = least(sizes, order, self.layout.parents)
        self.least = needed
        if window is None:
            return max(smooth, sum(sizes) // SHARE)
        if window < needed:
            largest = max(self.units, key=lambda unit: unit.nbytes)
            raise ValueError(
                f"window={window / 1e9:g} GB is too small: {largest.name} alone takes {largest.nbytes / 1e9:.4g} GB; "
                f"the least that works is {_up(needed)} GB, and {_up(smooth)} GB lets reading overlap computing"
            )
        return window

    def _stay(self, moving: set[nn.Parameter]) -> None:
        """Load these for good: they are no longer streamed."""
        for p in moving:
            real = nn.Parameter(torch.empty(p.shape, dtype=p.dtype), requires_grad=False)
            self.source.fill(p, real.detach())
            for module, attr in self.layout.pieces[p][1].places:
                module._parameters[attr] = real
        names = {p: name for p, name in self.source.names.items() if p not in moving}
        self.source = Source(self.source.checkpoint, names)

    def _hook(self) -> None:
        """Every module that computes with streamed tensors asks for them first.

        Blocks themselves do not ask unless they own tensors: one whose work is cached is never read.
        """
        self._handles = []
        for module, units in self.layout.needs.items():
            owns = any(p in self.source.names for p in module._parameters.values() if p is not None)
            if owns or (self.layout.homes.get(module) not in (None, module)):
                self._handles.append(module.register_forward_pre_hook(partial(self._before, units)))

    # -- passing -------------------------------------------------------------------------------------

    def _before(self, units: tuple[int, ...], module: nn.Module, args: Any) -> None:
        if self._here != (units, self._version):
            self._bring(units)

    def _bring(self, units: tuple[int, ...]) -> None:
        """These units in memory, up to date, in the model."""
        self._here = (None, 0)
        held = self.window.get(units)
        stale = [u for u, h in zip(units, held, strict=True) if not self._usable(h.mark)]
        if stale:  # another history is wanted than the one in memory
            for unit in stale:
                self.window.drop(unit)
            held = self.window.get(units)
        for unit, h in zip(units, held, strict=True):
            if self._placed.get(unit) is not h:
                self._memory[unit] = self._store.tensor(h.bytes)
            self._update(unit, h)
            if self._placed.get(unit) is not h:
                self._place(unit, h)
        self.window.ahead(units)
        self._here = units, self._version

    def _update(self, number: int, held: Held) -> None:
        """Apply what this unit misses; an interrupted one is dropped, never written."""
        trained = self.units[number].trained
        if held.mark.n == len(self._records) or not trained:
            return
        assert self._apply is not None
        try:
            with torch.no_grad():
                for piece in trained:
                    assert piece.slot is not None
                    p = piece.view(self._memory[number])
                    self._apply(piece.slot, p.view(p.shape[0] if p.dim() else 1, -1), held.mark.n)
            held.mark, held.changed = Mark(len(self._records), self._chain[-1]), True
        except BaseException:
            self.window.drop(number)
            raise

    def _place(self, number: int, held: Held) -> None:
        for piece in self.units[number].pieces:
            real = nn.Parameter(piece.view(self._memory[number]), requires_grad=False)
            for module, attr in piece.places:
                module._parameters[attr] = real
                if self._reads is not None and module in self.owners:
                    self._reads.watch(real, module)
        self._placed[number] = held

    def _leave(self, number: int, held: Held) -> None:
        """A unit goes: its parameters are on the meta device again; what it holds must be in the journal for good."""
        self._here = (None, 0)
        if self._placed.pop(number, None) is not None:
            for piece in self.units[number].pieces:
                for module, attr in piece.places:
                    if self._reads is not None:
                        self._reads.forget(module._parameters[attr])  # type: ignore[arg-type]
                    module._parameters[attr] = piece.parameter
        if self._memory.pop(number, None) is not None:
            self._store.leave(held.bytes, held.changed)
        self._settle(held)

    def _settle(self, held: Held) -> None:
        if held.changed and held.mark.n > self._synced:
            self._sync()
            self._synced = len(self._records)

    def _usable(self, mark: Mark) -> bool:
        chain = self._chain
        return mark.n == 0 or (mark.n < len(chain) and chain[mark.n] == mark.chain)

    def _read(self, number: int, memory: np.ndarray) -> Mark:
        unit = self.units[number]
        mark = self.copy.load(number, memory, self._usable) if unit.trained else None
        if mark is None:
            host = torch.from_numpy(memory)
            for piece in unit.pieces:
                self.source.fill(piece.parameter, piece.view(host))
            mark = Mark(0, bytes(16))
        self._store.send(memory)
        return mark

    def _save(self, number: int, memory: np.ndarray, mark: Mark) -> None:
        self._store.settle(memory)
        self.copy.save(number, memory, mark)

    # -- the space -----------------------------------------------------------------------------------

    def follow(self, records: list[Record], write: Write, *, sync: Callable[[], None], tag: bytes) -> None:
        """Take the moves in force; each unit gets those it misses when it passes.  For the engine.

        Args:
            records: all moves, from the first; the same list, grown, or another history.
            write: applies all but the first so many of them, in order, to a slot's (rows, cols).
            sync: makes the journal last; called before anything of it is written to the working copy.
            tag: names the journal.
        """
        if records is not self._records or self._chain[0] != tag:
            self._chain, self._synced = [tag], 0
        for record in records[len(self._chain) - 1 :]:
            self._chain.append(_link(self._chain[-1], record))
        self._records, self._apply, self._sync = records, write, sync
        self._version += 1

    def restart(self) -> None:
        """The initial values again."""
        self.follow([], _never, sync=lambda: None, tag=bytes(16))

    @contextmanager
    def visit(self, points: Sequence[Point], directions: Directions, state: State) -> Iterator[Visit]:
        if any(point.order for point in points):
            raise ValueError("forward-mode derivatives need all weights at once, so they cannot be streamed")
        for module in self.swapped:  # their tensors are read before any of their hooks could run
            self.window.pinned |= set(self.layout.needs.get(module, ()))
            if module in self.layout.needs:
                self._bring(self.layout.needs[module])
        with super().visit(points, directions, state) as view:
            yield view

    def check(
        self, objective: Objective, points: Sequence[Point], directions: Directions, state: State,
        tolerance: float | None = None,
    ) -> str | None:  # fmt: skip
        try:
            return super().check(objective, points, directions, state, tolerance)
        finally:
            kept = {u for module in self.swapped for u in self.layout.needs.get(module, ())}
            self.window.pinned &= self.layout.parents | kept

    @contextmanager
    def tensor(self, slot: Slot) -> Iterator[Tensor]:
        """For reading where updates are deferred: only `follow` writes then."""
        if not self.defers:
            with super().tensor(slot) as p:
                yield p
            return
        with self.reading(self._tensor[slot.id]) as p:
            yield p.view(p.shape[0] if p.dim() else 1, -1)

    @contextmanager
    def reading(self, tensor: Tensor) -> Iterator[Tensor]:
        """The values of a parameter that `tensors` gave, until the next one is asked for."""
        found = self.layout.pieces.get(tensor) if isinstance(tensor, nn.Parameter) else None
        if found is None:
            yield tensor.detach()
            return
        number, piece = found
        self._bring((number,))
        yield piece.view(self._memory[number])

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every parameter under every name; streamed ones stand for themselves, see `reading`."""
        origin = {place: p for p, (_, piece) in self.layout.pieces.items() for place in piece.places}
        for prefix, module in self.model.named_modules(remove_duplicate=False):
            for attr, p in module._parameters.items():
                if p is not None:
                    yield f"{prefix}.{attr}" if prefix else attr, origin.get((module, attr), p)

    # -- the working copy ----------------------------------------------------------------------------

    def keep(self, folder: Path) -> None:
        """From now on the working copy lies in `folder` and outlasts the process; what is there is used."""
        self.window.clear()
        self.copy.discard()
        self.copy = WorkingCopy(folder, lasting=True)

    def save(self) -> None:
        """Write every changed unit, so that a resumed run begins where this one ended."""
        for held in list(self._placed.values()):
            self._store.leave(held.bytes, held.changed)
            self._settle(held)
        self.window.flush()

    def close(self) -> None:
        """Give memory, files and the I/O thread back; the parameters stay on the meta device."""
        self.window.close()
        self.copy.close()
        self.source.checkpoint.close()
        for handle in self._handles:
            handle.remove()


def _never(slot: Slot, p: Tensor, since: int) -> None:
    raise AssertionError("nothing to apply")


def _up(count: int) -> str:
    """Gigabytes, rounded up, as --window-gb takes them."""
    return f"{-(-count // 10**5) / 10**4:g}"


def _link(chain: bytes, record: Record) -> bytes:
    """The digest of a history that is one move longer."""
    said = repr(
        (int(record.t), float(record.lr), record.group, [(tuple(z), float(c)) for z, c in record.terms])
    )
    return blake2b(chain + said.encode(), digest_size=16).digest()

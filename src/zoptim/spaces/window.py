"""A bounded window of memory onto units that live in files: one thread reads ahead and writes behind.

    held      unit -> its bytes, while it is in memory or being read into it
    ahead     the unit that followed the one in use the last time is read while that one is used
    behind    a changed unit that has to go is written by the same thread, before what takes its place is read

All memory is taken and given back by the I/O thread, in the order it was asked to, so the sum of everything held,
being read, being written and kept for reuse never exceeds the limit.  A unit that has to go is the one that will
be asked for last, as far as the order of the last pass tells (for a cyclic pass that is the best choice there is;
the least recently used would be the worst).

Bytes only; not here: files (`store`), tensors (`streamed`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

ALIGN = 64


class Memory:
    """Where units' bytes are kept; called in the I/O thread."""

    def empty(self, size: int) -> np.ndarray:
        raw = np.empty(size + ALIGN, np.uint8)
        skip = -raw.ctypes.data % ALIGN
        return raw[skip : skip + size]

    def free(self, memory: np.ndarray) -> None: ...


@dataclass(eq=False)
class Held:
    """A unit in the window; `mark` is whatever its read returned, and the owner's to move on."""

    ready: Future[Any] | None = None
    memory: np.ndarray | None = field(default=None, repr=False)
    mark: Any = None
    changed: bool = False

    @property
    def bytes(self) -> np.ndarray:
        assert self.memory is not None
        return self.memory


class Window:
    """Units of given sizes, at most `limit` bytes of them in memory.

    Args:
        sizes: bytes of each unit.
        limit: bytes; see `least`.
        read: fills a unit's memory and returns its mark; called in the I/O thread.
        write: saves a unit's memory under its mark; called in the I/O thread.
        leaving: told, in the caller's thread, that a unit goes, before its memory may be used again.
        memory: where units' bytes are kept.
    """

    def __init__(
        self, sizes: Sequence[int], limit: int, *, read: Callable[[int, np.ndarray], Any],
        write: Callable[[int, np.ndarray, Any], None], leaving: Callable[[int, Held], None],
        memory: Memory | None = None,
    ) -> None:  # fmt: skip
        self.sizes, self.limit, self._memory = sizes, limit, memory or Memory()
        self._read, self._write, self._leaving = read, write, leaving
        self._held: dict[int, Held] = {}
        self.pinned: set[int] = set()
        self._next: dict[int, int] = {}  # what followed each unit the last time
        self._current: int | None = None
        self._clock, self._used_at = 0, dict.fromkeys(range(len(sizes)), 0)
        self._committed = (
            0  # bytes held, in the caller's view; the I/O thread is never above it by more than it frees
        )
        self._io: ThreadPoolExecutor | None = None
        self._writes: list[Future[Any]] = []
        self._spare: list[np.ndarray] = []  # I/O thread only
        self._alive = 0  # bytes of all memory that exists: I/O thread only
        self.peak = 0
        self.reads = self.read_bytes = self.write_bytes = 0

    # -- asking --------------------------------------------------------------------------------------

    def get(self, units: Sequence[int]) -> list[Held]:
        """These units, in memory at once, until the next call; the first one is who asks.

        Raises:
            OSError: a write behind an earlier call failed.
            Exception: what `read` raised.
        """
        self._check()
        here = units[0]
        if self._current is not None and self._current != here:
            self._next[self._current] = here
        self._current = here
        self._clock += 1
        for unit in units:
            self._used_at[unit] = self._clock
            if unit not in self._held:
                self._fetch(unit, keep=units)
        for unit in units:
            held = self._held[unit]
            if held.ready is not None:
                try:
                    held.mark = held.ready.result()
                    held.ready = None
                except BaseException:
                    self.drop(unit)
                    raise
        return [self._held[unit] for unit in units]

    def ahead(self, units: Sequence[int]) -> None:
        """Begin to read what followed these units the last time, if it fits beside them."""
        after = self._next.get(units[0])
        if after is None or after in self._held:
            return
        stay = {*units, *self.pinned}
        if sum(self.sizes[u] for u in stay) + self.sizes[after] <= self.limit:
            self._fetch(after, keep=units)

    def drop(self, unit: int) -> None:
        """Forget a unit's memory, changed or not."""
        self._let_go(unit, save=False)

    def flush(self) -> None:
        """Write every changed unit now, and wait until all writes are done."""
        for unit, held in self._held.items():
            if held.changed and held.ready is None:
                self._writes.append(self._submit(self._save, unit, held, False))
                held.changed = False
        self._wait()

    def clear(self) -> None:
        """Nothing is held any more; changed units are written first."""
        for unit in list(self._held):
            self._let_go(unit, save=True)
        self._current = None
        self._wait()

    def close(self) -> None:
        """End the I/O thread after what it was given; what was not written is lost."""
        for unit in list(self._held):
            self._let_go(unit, save=False)
        if self._io is not None:
            self._io.shutdown(wait=True)
            self._io = None
        self._spare.clear()
        self._writes.clear()

    # -- coming and going ----------------------------------------------------------------------------

    def _fetch(self, unit: int, keep: Collection[int]) -> None:
        while self._committed + self.sizes[unit] > self.limit:
            self._let_go(self._victim(keep), save=True)
        self._committed += self.sizes[unit]
        held = self._held[unit] = Held()
        held.ready = self._submit(self._load, unit, held)

    def _victim(self, keep: Collection[int]) -> int:
        """Of what may go, the unit asked for last; those not in the known order first, oldest first."""
        may = [u for u in self._held if u not in keep and u not in self.pinned]
        if not may:
            raise ValueError(f"a window of {self.limit:,} bytes cannot hold units {sorted(keep)} at once")
        order: dict[int, int] = {}
        at = self._current
        while at is not None and at not in order:
            order[at] = len(order)
            at = self._next.get(at)
        far = len(self.sizes)
        return max(may, key=lambda u: (order.get(u, far), -self._used_at[u]))

    def _let_go(self, unit: int, *, save: bool) -> None:
        self._leaving(unit, self._held[unit])
        held = self._held.pop(unit)
        self._committed -= self.sizes[unit]
        if save and held.changed:
            self._writes.append(self._submit(self._save, unit, held, True))
        else:
            self._submit(self._release, held)

    def _check(self) -> None:
        done = [write for write in self._writes if write.done()]
        self._writes = [write for write in self._writes if not write.done()]
        for error in (write.exception() for write in done):
            if error:
                raise error

    def _wait(self) -> None:
        """Until all that was to be written is."""
        for write in self._writes:
            write.exception()
        self._check()

    # -- the I/O thread ------------------------------------------------------------------------------

    def _submit(self, job: Callable[..., Any], *args: Any) -> Future[Any]:
        if self._io is None:
            self._io = ThreadPoolExecutor(max_workers=1, thread_name_prefix="zoptim-stream")
        return self._io.submit(job, *args)

    def _load(self, unit: int, held: Held) -> Any:
        size = self.sizes[unit]
        held.memory = self._take(size)
        self.reads += 1
        self.read_bytes += size
        return self._read(unit, held.memory)

    def _save(self, unit: int, held: Held, release: bool) -> None:
        try:
            self._write(unit, held.bytes, held.mark)
            self.write_bytes += held.bytes.nbytes
        finally:
            if release:
                self._release(held)

    def _take(self, size: int) -> np.ndarray:
        for i, memory in enumerate(self._spare):
            if memory.nbytes == size:
                return self._spare.pop(i)
        while self._spare and self._alive + size > self.limit:
            self._alive -= self._spare[0].nbytes
            self._memory.free(self._spare.pop(0))
        self._alive += size
        self.peak = max(self.peak, self._alive)
        return self._memory.empty(size)

    def _release(self, held: Held) -> None:
        if held.memory is not None:
            self._spare.append(held.memory)
            held.memory = None

    def __del__(self) -> None:
        with suppress(Exception):
            if self._io is not None:
                self._io.shutdown(wait=False)


def least(sizes: Sequence[int], needs: Sequence[Sequence[int]], pinned: Collection[int]) -> tuple[int, int]:
    """(bytes without which nothing runs, bytes with which reading overlaps computing).

    `needs`: which units are wanted at once, in the order of a pass.
    """
    still = sum(sizes[u] for u in pinned)
    at_once = [sum(sizes[u] for u in set(need) - set(pinned)) for need in needs] or [0]
    pairs = [
        sum(sizes[u] for u in {*a, b[0]} - set(pinned))
        for a, b in zip(needs, [*needs[1:], *needs[:1]], strict=True)
    ]
    return still + max(at_once), still + max(pairs or [0])

"""The window: never above its limit, reads ahead, writes behind, and says what went wrong."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from zoptim.spaces.window import Held, Window, least


class Disk:
    """Units as numbers in memory; remembers what was asked."""

    def __init__(self, sizes: list[int], limit: int) -> None:
        self.values = [0] * len(sizes)
        self.reads: list[int] = []
        self.writes: list[int] = []
        self.left: list[int] = []
        self.error: Exception | None = None
        self.window = Window(sizes, limit, read=self.read, write=self.write, leaving=self.leaving)

    def read(self, unit: int, out: np.ndarray) -> int:
        self.reads.append(unit)
        out[:] = self.values[unit]
        return self.values[unit]

    def write(self, unit: int, data: np.ndarray, mark: int) -> None:
        if self.error:
            raise self.error
        assert (data == mark % 256).all()
        self.writes.append(unit)
        self.values[unit] = mark

    def leaving(self, unit: int, held: Held) -> None:
        self.left.append(unit)

    def use(self, unit: int, change: bool = False) -> np.ndarray:
        (held,) = self.window.get((unit,))
        assert (held.bytes == held.mark % 256).all()
        if change:
            held.bytes[:] += 1
            held.mark, held.changed = held.mark + 1, True
        self.window.ahead((unit,))
        return held.bytes


def test_random_use_keeps_the_limit_and_every_change() -> None:
    rng = random.Random(0)
    sizes = [rng.choice((100, 100, 100, 260, 40)) for _ in range(12)]
    disk, truth = Disk(sizes, 520), [0] * 12
    for _ in range(400):
        unit = rng.randrange(12)
        change = rng.random() < 0.6
        truth[unit] += change
        disk.use(unit, change)
        if rng.random() < 0.05:
            disk.window.flush()
    disk.window.clear()
    disk.window.close()
    assert disk.values == truth
    assert disk.window.peak <= 520


def test_a_model_that_fits_is_read_once_and_never_written_early() -> None:
    disk = Disk([10] * 4, 40)
    for _ in range(5):
        for unit in range(4):
            disk.use(unit, True)
    assert sorted(disk.reads) == [0, 1, 2, 3] and disk.writes == []
    disk.window.close()


def test_a_cyclic_pass_reads_ahead_and_keeps_what_it_can() -> None:
    disk = Disk([10] * 6, 30)
    for _ in range(2):
        for unit in range(6):
            disk.use(unit)
    disk.window.get((0,))
    disk.reads.clear()
    disk.window.flush()
    for unit in range(6):
        disk.window.get((unit,))
        disk.window.ahead((unit,))
        disk.window.flush()
        after = disk.window._next[unit]
        assert after in disk.window._held, "what comes next is there, or being read"
    assert len(disk.reads) <= 5, "a third of six units may stay; the least recently used would keep none"
    disk.window.close()


def test_errors_of_the_other_thread_come_out_here() -> None:
    disk = Disk([10] * 3, 10)
    disk.use(0, True)
    disk.error = OSError("full")
    disk.window.get((1,))
    with pytest.raises(OSError, match="full"):
        disk.window.flush()
    disk.error = None

    def broken(unit: int, out: np.ndarray) -> Any:
        raise ValueError("cut")

    disk.window._read = broken
    with pytest.raises(ValueError, match="cut"):
        disk.window.get((2,))
    disk.window._read = disk.read
    assert disk.use(2)[0] == 0, "a failed read leaves nothing behind"
    disk.window.close()


def test_dropped_changes_are_never_written() -> None:
    disk = Disk([10] * 2, 10)
    disk.use(0, True)
    disk.window.drop(0)
    disk.use(1)
    assert disk.use(0)[0] == 0 and disk.writes == []
    disk.window.close()


def test_several_at_once_and_pinned_ones_stay() -> None:
    disk = Disk([10] * 4, 30)
    disk.window.pinned.add(3)
    disk.window.get((3,))
    first, second = disk.window.get((0, 1))
    assert first.memory is not None and second.memory is not None
    disk.window.get((2,))
    assert 3 not in disk.left
    with pytest.raises(ValueError, match="cannot hold"):
        disk.window.get((0, 1, 2))
    disk.window.close()


def test_least_counts_pairs_and_pinned() -> None:
    sizes = [50, 10, 10, 5]
    assert least(sizes, [(0,), (1,), (2,), (3,)], set()) == (50, 60)
    assert least(sizes, [(0,), (1, 2), (3,)], {0}) == (70, 75)

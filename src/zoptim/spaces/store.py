"""Files behind a streamed model: a checkpoint that is only read, and a working copy of what has moved.

    Checkpoint    safetensors shards: 8 bytes of header length, a JSON header, raw tensors at `data_offsets`
    WorkingCopy   two slots a unit; a save goes to the older one, so a kill at any instant leaves the other

A slot is `header (4096) | payload`.  The header is cleared before the payload is written and set after it; it
carries the mark (how many moves of which journal the payload holds) and the payload's checksum.  A slot is read
only if its mark is a prefix of what is wanted and, unless this process wrote it, its checksum agrees.  Whatever
fails that is as if it were not there: the caller falls back to the checkpoint and a replay, which is exact.

Bytes only: no torch, no dtype arithmetic.  Reads are plain reads into given memory, never a mapping: mapped pages
count as resident.  Not here: which units are in memory (`window`), what they mean (`streamed`).
"""

from __future__ import annotations

import json
import math
import os
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

WIDTHS = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip
LARGEST_HEADER = 100_000_000  # the format's own bound
PAGE = 4096
MAGIC = b"zoslot\x00\x01"
_HEAD = struct.Struct("<8sQQ16sQII")  # magic, generation, n, chain, payload bytes, payload crc, header crc


class CheckpointError(ValueError):
    """A checkpoint on disk is not what its own headers say; the message names the file and the remedy."""


class Entry(NamedTuple):
    """One stored tensor: where its bytes lie."""

    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int  # from the beginning of the file
    nbytes: int


class Checkpoint:
    """A folder of safetensors shards; headers are checked whole, tensors are read when asked for.

    Raises:
        CheckpointError: no shard, a missing or cut one, a header that contradicts itself or the file.

    Cost: one open file a shard; memory of the headers.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.tensors: dict[str, Entry] = {}
        self.files: list[Path] = []
        self._fds: dict[Path, int] = {}
        for path in self._files():
            self._add(path)
        for name, file in self._named.items():
            if name not in self.tensors or self.tensors[name].file.name != file:
                raise CheckpointError(
                    f"{folder}: the index puts {name!r} into {file!r}, which lacks it; fetch it again"
                )

    def _files(self) -> list[Path]:
        index = self.folder / "model.safetensors.index.json"
        self._named: dict[str, str] = {}
        if not index.is_file():
            single = self.folder / "model.safetensors"
            if single.is_file():
                return [single]
            raise CheckpointError(
                f"{self.folder}: holds no model.safetensors and no model.safetensors.index.json; "
                "streaming reads safetensors: save the model once with save_pretrained"
            )
        try:
            named = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            names = sorted(set(named.values()))
            self._named = dict(named)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointError(f"{index}: is no index of shards ({error}); fetch it again") from None
        for name in names:
            if Path(str(name)).name != name or not (self.folder / name).is_file():
                raise CheckpointError(
                    f"{index}: shard {name!r} is missing ({len(names)} are named); fetch it again"
                )
        return [self.folder / name for name in names]

    def _add(self, path: Path) -> None:
        size = path.stat().st_size
        with path.open("rb") as file:
            raw = file.read(8)
            length = struct.unpack("<Q", raw)[0] if len(raw) == 8 else 0
            if not 2 <= length <= min(LARGEST_HEADER, size - 8):
                raise CheckpointError(f"{path}: is cut short or no safetensors file; fetch it again")
            raw += file.read(length)
        try:
            header = json.loads(raw[8:])
            entries = dict(_entries(path, header, 8 + length))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise CheckpointError(f"{path}: its header is damaged ({error}); fetch it again") from None
        end = 8 + length
        for name, entry in sorted(entries.items(), key=lambda pair: (pair[1].start, pair[1].nbytes)):
            if entry.start != end:
                raise CheckpointError(
                    f"{path}: tensor {name!r} overlaps another or leaves a hole; fetch it again"
                )
            end += entry.nbytes
        if end != size:
            raise CheckpointError(
                f"{path}: has {size:,} bytes, its header says {end:,} (cut short?); fetch it again"
            )
        twice = set(entries) & set(self.tensors)
        if twice:
            raise CheckpointError(f"{path}: tensor {min(twice)!r} is in another shard too; fetch it again")
        self.tensors |= entries
        self.files.append(path)

    def read(self, name: str, out: np.ndarray, offset: int = 0) -> None:
        """Bytes of a tensor from `offset` on into `out`, (n,) uint8.

        Raises:
            CheckpointError: the file ended early: it was changed since it was opened.
        """
        entry = self.tensors[name]
        if entry.file not in self._fds:
            self._fds[entry.file] = os.open(entry.file, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        if not _pread(self._fds[entry.file], out, entry.start + offset):
            raise CheckpointError(f"{entry.file}: ended early, it was changed while in use; fetch it again")

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.popitem()[1])

    def __del__(self) -> None:
        with suppress(Exception):
            self.close()


def _entries(path: Path, header: dict[str, Any], body: int) -> Iterator[tuple[str, Entry]]:
    for name, about in header.items():
        if name == "__metadata__":
            continue
        dtype, (begin, end) = about["dtype"], about["data_offsets"]
        shape = tuple(int(n) for n in about["shape"])
        if dtype not in WIDTHS:
            raise ValueError(f"{name!r} has dtype {dtype!r}, known are {', '.join(WIDTHS)}")
        if min(shape, default=0) < 0 or begin < 0 or end - begin != math.prod(shape) * WIDTHS[dtype]:
            raise ValueError(f"{name!r} of shape {list(shape)} in {dtype} has {end - begin} bytes")
        yield name, Entry(dtype, shape, path, body + begin, end - begin)


# -- what has moved ------------------------------------------------------------------------------------


class Mark(NamedTuple):
    """The first n moves of a journal are in; `chain` is the digest of that journal up to there."""

    n: int
    chain: bytes


class _Head(NamedTuple):
    generation: int
    mark: Mark
    nbytes: int
    crc: int


class WorkingCopy:
    """Units that have moved, two slots each.  For one process, and one thread, at a time.

    Args:
        folder: where the slots live; made when the first unit is saved.
        lasting: keep slots under names, so that a resumed run finds them; else they vanish with the process.
    """

    def __init__(self, folder: Path, *, lasting: bool) -> None:
        self.folder, self.lasting = Path(folder), lasting
        self._fds: dict[tuple[int, int], int] = {}
        self._heads: dict[tuple[int, int], _Head | None] = {}
        self._own: set[tuple[int, int]] = set()  # written whole by this process
        self.saved = self.fetched = 0  # bytes, for reports

    # -- slots ---------------------------------------------------------------------------------------

    def _path(self, unit: int, side: int) -> Path:
        return self.folder / f"{unit:05d}.{'ab'[side]}"

    def _fd(self, unit: int, side: int, *, create: bool) -> int | None:
        """The slot's open file; None where there is none."""
        where = unit, side
        if where not in self._fds:
            if create:
                self.folder.mkdir(parents=True, exist_ok=True)
            if self.lasting:
                flags = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | (os.O_CREAT if create else 0)
                try:
                    self._fds[where] = os.open(self._path(unit, side), flags, 0o644)
                except OSError:
                    if create:
                        raise
                    return None  # whatever it is, it is no slot
            elif create:
                with tempfile.TemporaryFile(dir=self.folder) as file:  # no name: gone with the process
                    self._fds[where] = os.dup(file.fileno())
        return self._fds.get(where)

    def _head(self, unit: int, side: int) -> _Head | None:
        where = unit, side
        if where not in self._heads:
            fd = self._fd(unit, side, create=False)
            self._heads[where] = None if fd is None else _parse(os.pread(fd, _HEAD.size, 0))
        return self._heads[where]

    # -- saving and loading --------------------------------------------------------------------------

    def save(self, unit: int, data: np.ndarray, mark: Mark) -> None:
        """Write a unit, (n,) uint8, to its older slot.  The caller has synced the journal.

        Raises:
            OSError: the disk refused; the unit's other slot and the checkpoint stay good.
        """
        heads = [self._head(unit, side) for side in (0, 1)]
        side = min((0, 1), key=lambda s: -1 if heads[s] is None else heads[s].generation)  # type: ignore[union-attr]
        generation = 1 + max((h.generation for h in heads if h), default=0)
        where = unit, side
        try:
            fd = self._fd(unit, side, create=True)
            assert fd is not None
            self._heads[where] = None
            self._own.discard(where)
            _pwrite(fd, bytes(_HEAD.size), 0)
            _pwrite(fd, data, PAGE)
            head = _Head(generation, mark, data.nbytes, _sum(unit, data))
            _pwrite(fd, _pack(head), 0)
        except OSError as error:
            raise OSError(
                error.errno,
                f"{error.strerror}; the working copy of streamed weights could not be written",
                str(self._path(unit, side)),
            ) from error
        self._heads[where] = head
        self._own.add(where)
        self.saved += data.nbytes

    def load(self, unit: int, out: np.ndarray, usable: Callable[[Mark], bool]) -> Mark | None:
        """Fill `out` with the furthest saved state that is usable; None: there is none, `out` is spoiled."""
        found = [(head, side) for side in (0, 1) if (head := self._head(unit, side)) is not None]
        for head, side in sorted(found, key=lambda pair: (-pair[0].mark.n, -pair[0].generation)):
            if head.nbytes != out.nbytes or not usable(head.mark):
                continue
            fd = self._fd(unit, side, create=False)
            if fd is None or not _pread(fd, out, PAGE):
                continue
            if (unit, side) in self._own or _sum(unit, out) == head.crc:
                self.fetched += out.nbytes
                return head.mark
        return None

    def close(self) -> None:
        """Let go of the files; lasting ones stay."""
        if self._fds and not self.lasting:
            with suppress(OSError):
                self.folder.rmdir()  # if nobody else uses it
        while self._fds:
            os.close(self._fds.popitem()[1])
        self._heads.clear()
        self._own.clear()

    def discard(self) -> None:
        """Remove everything."""
        self.close()
        if self.lasting:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __del__(self) -> None:
        with suppress(Exception):
            self.close()


def _sum(unit: int, data: np.ndarray) -> int:
    """The payload's checksum; begun with the unit's number, so that another unit's file does not pass."""
    return zlib.crc32(data.data, unit + 1)


def _pack(head: _Head) -> bytes:
    fields = MAGIC, head.generation, head.mark.n, head.mark.chain, head.nbytes, head.crc
    body = _HEAD.pack(*fields, 0)[:-4]
    return body + struct.pack("<I", zlib.crc32(body))


def _parse(raw: bytes) -> _Head | None:
    """A header, or None where it is torn, cleared or of something else."""
    if len(raw) < _HEAD.size:
        return None
    magic, generation, n, chain, nbytes, crc, check = _HEAD.unpack(raw)
    if magic != MAGIC or check != zlib.crc32(raw[: _HEAD.size - 4]):
        return None
    return _Head(generation, Mark(n, chain), nbytes, crc)


def _pread(fd: int, out: np.ndarray, offset: int) -> bool:
    """Fill `out`; False where the file ends before."""
    view, done = out.data.cast("B"), 0
    while done < len(view):
        got = os.preadv(fd, [view[done:]], offset + done)
        if not got:
            return False
        done += got
    return True


def _pwrite(fd: int, data: Any, offset: int) -> None:
    view, done = memoryview(data).cast("B"), 0
    while done < len(view):  # a second turn after a short write: a disk filling up
        done += os.pwrite(fd, view[done:], offset + done)

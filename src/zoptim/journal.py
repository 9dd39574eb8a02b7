"""The journal: one checked, append-only file that holds the whole truth of a run.

What it is: a header and a list of `Record`s, each written before any weight changes, so that

    theta_T = fold(rule, theta_0, effective(records))

survives a kill and can be replayed, undone, audited and sent.  What it is not: a database, a log of
metrics, or a place for tensors; it knows nothing of noise, rules or torch, and never pickles.

Layout (all little-endian, the byte-exact text is in docs/journal.md):

    magic 8 | length u32 | header, canonical JSON | checksum 8
    then per record:  length u32 | crc32(chain, length) u32 | payload | checksum 8

A checksum is blake2b-8 over (previous checksum, frame), so a record that was deleted, repeated, moved
or taken from another journal is refused just as a flipped byte is.  The length has its own check, so a
damaged length is never mistaken for a file that simply ends early.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import time
import weakref
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, overload

from zoptim.protocols import Draw, Kind, Record, Vec

try:
    import fcntl
except ImportError:  # not a POSIX system: no lock, everything else holds
    fcntl = None  # type: ignore[assignment]

MAGIC = b"\x93zoptim\x01"  # the last byte is the format version
SYNC_SECONDS = 1.0  # fsync at most this often; power loss costs at most the records since
BLOCK = 512  # what a disk writes whole: zeros after a power loss begin on a multiple of this
KINDS: tuple[Kind, ...] = ("move", "skip", "undo")  # the index is the byte on disk; append only

_U32 = struct.Struct("<I")
_HEAD = struct.Struct("<II")
_F64 = struct.Struct("<d")
_IMPLICIT, _OWN, _GROUP, _REASON, _EXTRA = 1, 2, 4, 8, 16  # flags; the other bits must be zero


class JournalError(ValueError):
    """A journal is damaged, locked or misused; the message names file, offset and remedy."""


# ---------------------------------------------------------------- canonical JSON and digests


def canonical_json(obj: object) -> bytes:
    """One spelling per value: ASCII, sorted keys, no spaces, no NaN; tuples become lists.

    Raises:
        JournalError: a key is not a string, or a value is not JSON.

    Example:
        >>> canonical_json({"b": (1, 2.5), "a": None})
        b'{"a":null,"b":[1,2.5]}'
    """
    _check_keys(obj)
    try:
        return json.dumps(obj, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (TypeError, ValueError) as error:
        raise JournalError(f"not canonical JSON: {error}; use None, bool, int, finite float, str") from error


def _check_keys(obj: object) -> None:
    if isinstance(obj, dict):
        for key, value in obj.items():
            if not isinstance(key, str):
                raise JournalError(f"not canonical JSON: key {key!r} is not a string; write str(key)")
            _check_keys(value)
    elif isinstance(obj, (list, tuple)):
        for value in obj:
            _check_keys(value)


def digest(data: bytes | bytearray | memoryview) -> str:
    """Name of some bytes: blake2b-16 as 32 hex digits; for an object, digest(canonical_json(obj))."""
    return blake2b(data, digest_size=16).hexdigest()


# ---------------------------------------------------------------- records to bytes and back


def _varint(value: int) -> bytes:
    if value < 0:
        raise JournalError(f"t and i of records and draws must be >= 0, not {value}")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _text(value: str) -> bytes:
    raw = value.encode("utf-8", "surrogatepass")
    return _varint(len(raw)) + raw


def _floats(values: Sequence[float]) -> bytes:
    return _varint(len(values)) + struct.pack(f"<{len(values)}d", *values)


def encode(record: Record) -> bytes:
    """Payload of a record, lossless: float64 throughout, NaN bit for bit.

    Draws that are exactly (t, 0), (t, 1), ... of the record's own t cost nothing.

    Cost: about 21 + 8 * (terms + losses + extra) bytes.
    """
    if record.kind not in KINDS:
        raise JournalError(f"record kind {record.kind!r} is unknown; use one of {', '.join(KINDS)}")
    draws = [draw for draw, _ in record.terms]
    flags = 0
    for bit, group in ((_IMPLICIT, ""), (_IMPLICIT | _OWN, record.group)):
        if not flags & _IMPLICIT and all(d == (record.t, i, group) for i, d in enumerate(draws)):
            flags |= bit
    flags |= _GROUP * bool(record.group) | _REASON * bool(record.reason) | _EXTRA * bool(record.extra)
    out = [bytes((KINDS.index(record.kind), flags)), _varint(record.t), _F64.pack(record.lr)]
    out += [_text(record.group)] * bool(record.group) + [_text(record.reason)] * bool(record.reason)
    out.append(_floats([coef for _, coef in record.terms]))
    if not flags & _IMPLICIT:
        out += map(_encode_draw, draws)
    out.append(_floats(record.losses))
    if record.extra:
        out.append(_floats(record.extra))
    return b"".join(out)


def _encode_draw(draw: Draw | Vec) -> bytes:
    if isinstance(draw, Vec):
        return b"\x02" + _text(draw.name)
    if draw.group:
        return b"\x01" + _varint(draw.t) + _varint(draw.i) + _text(draw.group)
    return b"\x00" + _varint(draw.t) + _varint(draw.i)


def decode(payload: bytes) -> Record:
    """The record `encode` was given.

    Raises:
        JournalError: the payload is not one that this version writes.
    """
    read = _Reader(payload)
    try:
        kind, flags = KINDS[payload[0]], payload[1]
        if flags >> 5:
            raise JournalError(f"flags {flags:#x} are unknown; a newer zoptim wrote this record")
        t, lr = read.varint(), read.floats(1)[0]
        group = read.text() if flags & _GROUP else ""
        reason = read.text() if flags & _REASON else ""
        coefs = read.floats(read.varint())
        draws: Iterable[Draw | Vec]
        if flags & _IMPLICIT:
            own = group if flags & _OWN else ""
            draws = [Draw(t, i, own) for i in range(len(coefs))]
        else:
            draws = [read.draw() for _ in coefs]
        losses = read.floats(read.varint())
        extra = read.floats(read.varint()) if flags & _EXTRA else ()
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise JournalError(f"payload is malformed ({error}); a newer zoptim may have written it") from error
    if read.at != len(payload):
        raise JournalError(f"payload has {len(payload) - read.at} bytes too many; a newer zoptim wrote it")
    return Record(kind, t, lr, tuple(zip(draws, coefs, strict=True)), losses, extra, reason, group)


class _Reader:
    """A cursor over one payload, past the kind and flag bytes."""

    def __init__(self, payload: bytes) -> None:
        self.payload, self.at = payload, 2

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.payload[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def text(self) -> str:
        size = self.varint()
        self.at += size
        if self.at > len(self.payload):
            raise IndexError("text runs past the end")
        return self.payload[self.at - size : self.at].decode("utf-8", "surrogatepass")

    def floats(self, count: int) -> tuple[float, ...]:
        values = struct.unpack_from(f"<{count}d", self.payload, self.at)
        self.at += 8 * count
        return values

    def draw(self) -> Draw | Vec:
        tag = self.payload[self.at]
        self.at += 1
        if tag == 2:
            return Vec(self.text())
        if tag > 2:
            raise JournalError(f"term tag {tag} is unknown; a newer zoptim wrote this record")
        return Draw(self.varint(), self.varint(), self.text() if tag else "")


# ---------------------------------------------------------------- frames and their verification


def _seal(chain: bytes, frame: bytes | bytearray) -> bytes:
    return blake2b(chain + frame, digest_size=8).digest()


class _Scan(NamedTuple):
    """What a verified image holds: records begin at `starts`, the good bytes end at `end`."""

    header: dict[str, Any]
    starts: array[int]
    chain: bytes
    end: int


def _scan(data: bytes, name: str) -> _Scan:
    """Verify every byte; stop at a torn tail, refuse any other damage."""
    if data[: len(MAGIC)] != MAGIC:
        version = data[7] if data[:7] == MAGIC[:7] and len(data) > 7 else None
        if version is not None:
            raise JournalError(f"{name}: format version {version} at offset 7; install a newer zoptim")
        if MAGIC.startswith(data):
            raise JournalError(
                f"{name}: ends at offset {len(data)}, before any step; delete it and start again"
            )
        raise JournalError(f"{name}: not a zoptim journal (offset 0); check the path, or restore a copy")
    body = len(MAGIC) + _U32.size
    size = _U32.unpack_from(data, len(MAGIC))[0] if len(data) >= body else 0
    end = body + size + 8
    if len(data) < end:
        raise JournalError(
            f"{name}: the header says it ends at offset {end} but the file ends at {len(data)}; "
            "restore a copy, or, if the run never made a step, delete it and start again"
        )
    chain = _seal(b"", data[: body + size])
    if data[end - 8 : end] != chain:
        raise JournalError(f"{name}: the header (offset 0 to {end}) is damaged; restore a copy of the file")
    starts, at = array("Q"), end
    while at < len(data):
        stop = _frame_end(data, at, chain)
        if 0 < stop <= len(data):
            seal = _seal(chain, data[at : stop - 8])
            if data[stop - 8 : stop] == seal:
                starts.append(at)
                chain, at = seal, stop
                continue
        elif stop:
            break  # the file ends before the record does
        if _zero_tail(data, at, stop or at + _HEAD.size):
            break
        raise JournalError(
            f"{name}: record {len(starts)} at offset {at} is damaged; restore a copy of the file, or keep "
            f"the {len(starts)} records before it (and lose all later ones) by cutting it to {at} bytes"
        )
    return _Scan(json.loads(data[body : body + size]), starts, chain, at)


def _frame_end(data: bytes, at: int, chain: bytes) -> int:
    """Where the record at `at` says it ends (past the data if torn), 0 if its length is damaged."""
    head = data[at : at + _HEAD.size]
    if len(head) <= _U32.size:
        return at + _HEAD.size
    check = _U32.pack(zlib.crc32(chain + head[:4]))
    if head[4:] != check[: len(head) - 4]:
        return 0
    return at + _HEAD.size + int(_U32.unpack_from(head)[0]) + 8


def _zero_tail(data: bytes, at: int, stop: int) -> bool:
    """Whether a power loss left zeros to the file's end: from `at`, or from a block inside the record."""
    zeros = len(data.rstrip(b"\0"))
    block = -(-max(zeros, at) // BLOCK) * BLOCK
    return zeros <= at or (block < min(stop, len(data)) and len(data) - block >= 8)


class Records(Sequence[Record]):
    """The records of a journal, decoded when read: 100,000 FZOO steps stay 17 MB, not 200."""

    def __init__(self, data: bytearray, starts: array[int]) -> None:
        self._data, self._starts = data, starts

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        if isinstance(index, slice):
            return [self._at(start) for start in self._starts[index]]
        return self._at(self._starts[index])

    def __iter__(self) -> Iterator[Record]:
        return map(self._at, self._starts)

    def _at(self, start: int) -> Record:
        body = start + _HEAD.size
        return decode(bytes(self._data[body : body + _U32.unpack_from(self._data, start)[0]]))


# ---------------------------------------------------------------- the journal


class Journal:
    """A run's header and records, in a file or in memory; make one with create, open or read.

    Attributes:
        path: the file, None in memory.
        header: what `create` was given, as JSON gives it back.
        cut: bytes of a torn tail that `open` removed (`read`: that it left alone).

    Cost: 16 bytes a record around the payload: 55 for two-sided MeZO, 167 for FZOO with 8 draws.
    The image is kept in memory too.  Not for several threads at once.
    """

    def __init__(self, path: Path | None, data: bytes) -> None:
        self.path, self._name = path, "<memory>" if path is None else str(path)
        scan = _scan(data, self._name)
        self.header, self.cut = scan.header, len(data) - scan.end
        self._data, self._starts, self._chain = bytearray(data[: scan.end]), scan.starts, scan.chain
        self._fd: int | None = None
        self._closed = ""  # why no record is taken any more
        self._synced = time.monotonic()

    @classmethod
    def create(cls, path: Path | None, header: dict[str, Any]) -> Journal:
        """Start a journal; `path` None keeps it in memory.

        Raises:
            JournalError: the file exists and is not empty, is locked, or the header is not JSON.
        """
        raw = canonical_json(header)
        data = MAGIC + _U32.pack(len(raw)) + raw
        data += _seal(b"", data)
        if path is None:
            return cls(None, data)
        path = Path(path)
        fd = _open_locked(path, os.O_CREAT)
        try:
            if os.fstat(fd).st_size:
                raise JournalError(f"{path}: already holds a run; resume it, or choose another path")
            _write(fd, data, 0, str(path))
            os.fsync(fd)
            _sync_folder(path.parent)
            return cls(path, data)._hold(fd)
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def open(cls, path: Path) -> Journal:
        """Verify a journal, cut a torn tail (see `cut`) and go on appending.

        Raises:
            JournalError: damaged anywhere but at a torn tail, or locked by another process.
            FileNotFoundError: no such file.
        """
        path = Path(path)
        fd = _open_locked(path, 0)
        try:
            with open(fd, "rb", closefd=False) as file:
                journal = cls(path, file.read())
            if journal.cut:
                os.ftruncate(fd, journal.nbytes)
                os.fsync(fd)
            return journal._hold(fd)
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def read(cls, path: Path) -> Journal:
        """What the file holds now, without a lock and without changing it; a run may be appending."""
        journal = cls(Path(path), Path(path).read_bytes())
        journal._closed = "was opened by Journal.read; use Journal.open to append"
        return journal

    def _hold(self, fd: int) -> Self:
        self._fd, self._release = fd, weakref.finalize(self, os.close, fd)  # a lost journal frees its lock
        return self

    @property
    def records(self) -> Records:
        """All records in the order written, undone ones too; see `effective`."""
        return Records(self._data, self._starts)

    @property
    def nbytes(self) -> int:
        """Size of the file, header included."""
        return len(self._data)

    def dump(self) -> bytes:
        """The exact bytes of the file, also for a journal in memory."""
        return bytes(self._data)

    def append(self, record: Record) -> None:
        """Write one record whole, or nothing; fsync if the last one is over a second ago.

        Raises:
            JournalError: the journal is closed or read-only; unknown kind; t or i below 0.
            OSError: the disk refused; the file again ends after the last good record.

        Cost: one `write`; 16 bytes + `encode(record)`.
        """
        self._check_open()
        payload = encode(record)
        if len(payload) > 0xFFFFFFFF:
            raise JournalError(f"{self._name}: a record of {len(payload)} bytes is over 4 GiB; split it")
        length = _U32.pack(len(payload))
        frame = length + _U32.pack(zlib.crc32(self._chain + length)) + payload
        seal = _seal(self._chain, frame)
        if self._fd is not None:
            try:
                _write(self._fd, frame + seal, self.nbytes, self._name)
            except BaseException:
                if os.fstat(self._fd).st_size != self.nbytes:
                    self._closed = "has half a record at its end; resume with Journal.open, which cuts it"
                raise
        self._starts.append(self.nbytes)
        self._data += frame + seal
        self._chain = seal
        if time.monotonic() - self._synced > SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Make every record so far survive a power loss; free in memory.

        Raises:
            OSError: the disk refused; no further append is taken, since what it kept is unknown.
        """
        self._check_open()
        if self._fd is not None:
            try:
                os.fsync(self._fd)
            except OSError as error:
                self._closed = "could not be synced; check the disk and resume with Journal.open"
                raise OSError(
                    error.errno, f"{error.strerror}; check the disk and resume", self._name
                ) from error
        self._synced = time.monotonic()

    def close(self) -> None:
        """Sync, release the lock, take no more records; what was read stays readable."""
        try:
            if not self._closed:
                self.sync()
        finally:
            self._closed = self._closed or "is closed; use Journal.open to append"
            if self._fd is not None:
                self._fd = None
                self._release()

    def _check_open(self) -> None:
        if self._closed:
            raise JournalError(f"{self._name}: this journal {self._closed}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open_locked(path: Path, flags: int) -> int:
    flags |= os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0)
    fd = os.open(path, flags, 0o644)
    try:
        if fcntl is not None:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise JournalError(
            f"{path}: another run is appending to this journal; stop it or close it first "
            "(Journal.read looks without a lock)"
        ) from error
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):  # file systems without locks
            os.close(fd)
            raise
    return fd


def _write(fd: int, data: bytes, end: int, name: str) -> None:
    """Append all of `data` to a file of `end` bytes; on any failure truncate back to `end`."""
    done = 0
    try:
        while done < len(data):  # a second turn only after a short write: a disk filling up
            done += os.write(fd, data[done:] if done else data)
    except BaseException as error:
        with suppress(OSError):
            os.ftruncate(fd, end)
        if isinstance(error, OSError):
            text = f"{error.strerror}; every earlier record is safe: free space and resume"
            raise OSError(error.errno, text, name) from error
        raise


def _sync_folder(folder: Path) -> None:
    """Make a new file's name survive a power loss; some systems cannot open or sync a folder."""
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


# ---------------------------------------------------------------- folds over records


def effective(records: Iterable[Record]) -> list[Record]:
    """The records in force, in order: an undo with t = k drops every earlier one with t >= k.

    Undo records themselves are resolved away; skips stay, for schedules and stopping rules fold over
    them.  Dropped records do not come back: a later undo only ever drops more.

    Cost: linear; no forwards.

    Example:
        >>> kinds = [("move", 0), ("move", 1), ("undo", 1), ("move", 2)]
        >>> [r.t for r in effective(Record(kind, t, 0.1) for kind, t in kinds)]
        [0, 2]
    """
    force: list[Record] = []
    ordered = True  # the engine's t only grows, so an undo pops; merged journals may not be in order
    for record in records:
        if record.kind == "undo":
            if ordered:
                while force and force[-1].t >= record.t:
                    force.pop()
            else:
                force = [r for r in force if r.t < record.t]
        else:
            ordered = ordered and not (force and force[-1].t > record.t)
            force.append(record)
    return force


def next_t(records: Iterable[Record]) -> int:
    """t of the next step: one more than any t ever used, undone steps included.

    Noise and batch are functions of t.  A step that reused an undone t would ask the same points on
    the same batch and walk the same way again; and two records with one t would make an undo, which
    names its target by t, ambiguous.

    Example:
        >>> next_t([Record("move", 0, 0.1), Record("move", 1, 0.1), Record("undo", 0, 0.0)])
        2
    """
    return 1 + max((record.t for record in records if record.kind != "undo"), default=-1)

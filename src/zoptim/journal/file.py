"""The journal itself: a checked image that grows record by record, in a locked file or in memory.

What it is: create, open, read, append whole or not at all, sync.  What it is not: the bytes
(`frames`, `codec`), or what records mean (`folds`).
"""

from __future__ import annotations

import errno
import os
import time
import weakref
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from zoptim.protocols import Record

from .codec import JournalError, canonical_json, encode
from .frames import Records, opening, scan, sealed

try:
    import fcntl
except ImportError:  # not a POSIX system: no lock, everything else holds
    fcntl = None  # type: ignore[assignment]

SYNC_SECONDS = 1.0  # fsync at most this often; power loss costs at most the records since


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
        found = scan(data, self._name)
        self.header, self.cut = found.header, len(data) - found.end
        self._data, self._starts, self._chain = bytearray(data[: found.end]), found.starts, found.chain
        self._fd: int | None = None
        self._closed = ""  # why no record is taken any more
        self._synced = time.monotonic()

    @classmethod
    def create(cls, path: Path | None, header: dict[str, Any]) -> Journal:
        """Start a journal; `path` None keeps it in memory.

        Raises:
            JournalError: the file exists and is not empty, is locked, or the header is not JSON.
        """
        data = opening(canonical_json(header))
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
        if self._closed:
            self._check_open()
        payload = encode(record)
        if len(payload) > 0xFFFFFFFF:
            raise JournalError(f"{self._name}: a record of {len(payload)} bytes is over 4 GiB; split it")
        frame, seal = sealed(self._chain, payload)
        if self._fd is not None:
            try:
                _write(self._fd, frame, self.nbytes, self._name)
            except BaseException:
                if os.fstat(self._fd).st_size != self.nbytes:
                    self._closed = "has half a record at its end; resume with Journal.open, which cuts it"
                raise
        self._starts.append(len(self._data))
        self._data += frame
        self._chain = seal
        if self._fd is not None and time.monotonic() - self._synced > SYNC_SECONDS:
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

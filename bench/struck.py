"""A child of a warm process does some work of zoptim and is struck: the means of `bench.crash`, not its judgement.

A blow is a signal after some seconds of a child's life, or at the n-th call of one of `PLACES`: before it,
after it, or half-way through what it writes.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoptim.engine import Run
from zoptim.journal import Journal, JournalError
from zoptim.journal import file as journal_file
from zoptim.lm import files, finish, metrics, report, training
from zoptim.lm.base import Base
from zoptim.lm.errors import RunError, UsageError

PATIENCE = 60.0  # seconds a child may take to end after its blow
REFUSALS = (
    UsageError,
    RunError,
    JournalError,
    OSError,
    ValueError,
    RuntimeError,
)  # one line, as the command says it
PLACES: dict[str, tuple[Any, str]] = {
    "a file write of the journal": (os, "write"),
    "the journal being made": (journal_file, "_open_locked"),
    "append": (Journal, "append"),
    "apply": (Run, "_write"),
    "an evaluation": (training, "measure"),
    "the test evaluated": (finish, "measure"),
    "a line of metrics": (metrics.Metrics, "write"),
    "the initial values being kept": (Base, "__init__"),
    "the initial values being restored": (Base, "restore"),
    "the final rebuild": (finish, "rebuild"),
    "config, predictions, result": (files, "write"),
    "the report": (report, "write"),
}


@dataclass(frozen=True)
class Blow:
    """A signal, after some seconds of a child's life, or at the n-th call of a place."""

    signal: signal.Signals
    after: float | None = None
    place: str = ""
    when: str = ""  # before, halfway, after
    count: int = 0

    def arm(self) -> None:
        """In the child: lay the trap."""
        if self.place:
            owner, name = PLACES[self.place]
            setattr(owner, name, _trapped(getattr(owner, name), self))

    def strike(self) -> None:
        os.kill(os.getpid(), self.signal)


def _trapped(real: Callable[..., Any], blow: Blow) -> Callable[..., Any]:
    calls = iter(range(1, 1 << 60))

    def trapped(*a: Any, **kw: Any) -> Any:
        if next(calls) != blow.count:
            return real(*a, **kw)
        if blow.when == "halfway" and real is WRITE:
            done = real(a[0], a[1][: len(a[1]) // 2])
            blow.strike()
            return done
        if blow.when == "halfway":  # a line of metrics
            a[0]._file.write(json.dumps({"event": a[1], **kw})[: 5 + blow.count])
            a[0]._file.flush()
        if blow.when != "after":
            blow.strike()
        answer = real(*a, **kw)
        if blow.when == "after":
            blow.strike()
        return answer

    return trapped


WRITE = os.write


@dataclass(frozen=True)
class End:
    """How a child ended: code as a shell gives it, what it said."""

    code: int
    said: str
    seconds: float

    @property
    def clear(self) -> bool:
        """Refused in one line that names something."""
        return self.code in (1, 2) and "Traceback" not in self.said and len(self.said.splitlines()) == 1


def child(work: Callable[[], object], log: Path, blow: Blow | None = None) -> End:
    """Fork, do the work, be struck; the parent waits for the end."""
    began = time.monotonic()
    alive, held = os.pipe()  # the read end tells when the child is gone
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        os.close(alive)
        _live(work, log, blow)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.close(held)
    try:
        if blow and blow.after is not None and not select.select([alive], [], [], blow.after)[0]:
            os.kill(pid, blow.signal)
        if not select.select([alive], [], [], PATIENCE)[0]:
            os.kill(pid, signal.SIGKILL)
            raise RuntimeError(f"a child did not end in {PATIENCE:g} s after {blow}")
    finally:
        os.close(alive)
        status = os.waitpid(pid, 0)[1]
    code = os.waitstatus_to_exitcode(status)
    return End(128 - code if code < 0 else code, log.read_text(errors="replace"), time.monotonic() - began)


def _live(work: Callable[[], object], log: Path, blow: Blow | None) -> None:
    """A child's whole life; never returns."""
    code, error = 70, ""
    try:
        try:
            out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1)
            os.dup2(out, 2)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if blow:
                blow.arm()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            work()
            code = 0
        except KeyboardInterrupt:
            code = 130
        except REFUSALS as refusal:
            code, error = (
                getattr(refusal, "exit_code", 2 if isinstance(refusal, ValueError) else 1),
                str(refusal),
            )
        except BaseException:
            error = traceback.format_exc()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        WRITE(2, error.encode())
    finally:
        os._exit(code)


def counting(calls: Counter[str], place: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*a: Any, **kw: Any) -> Any:
        calls[place] += 1
        return real(*a, **kw)

    return counted

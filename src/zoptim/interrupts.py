"""Ctrl-C held back for a moment: while weights are neither before nor after a step.

Not here: what a run makes of an interrupt (`engine`, `lm.training`).
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def deferred_interrupt() -> Iterator[None]:
    """Hold SIGINT back until the block is done (in the main thread; elsewhere it never arrives)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[Any] = []
    before = signal.signal(signal.SIGINT, lambda *a: caught.append(a))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)
        if caught:  # once more, to whoever was listening: also where the default action is to end the process
            signal.raise_signal(signal.SIGINT)

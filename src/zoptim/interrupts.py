"""Ctrl-C held back for a moment: while weights are neither before nor after a step.

Not here: what a run makes of an interrupt (`engine`, `lm.training`).
"""

from __future__ import annotations

import signal
import sys
from typing import Any

# _signal: without the wrapper's enumerations, which take longer than a small step
handle: Any = getattr(sys.modules.get("_signal"), "signal", signal.signal)
SIGINT = int(signal.SIGINT)


class deferred_interrupt:
    """Hold SIGINT back until the block is done (in the main thread; elsewhere it never arrives)."""

    def __enter__(self) -> None:
        self.caught: list[Any] = []
        try:
            self.before = handle(SIGINT, self._catch)
        except ValueError:  # not the main thread
            self.before = self

    def _catch(self, *seen: Any) -> None:
        self.caught.append(seen)

    def __exit__(self, *error: object) -> None:
        if self.before is self:
            return
        handle(SIGINT, signal.SIG_DFL if self.before is None else self.before)
        if self.caught:  # once more, to whoever was listening: the default action too, which ends the process
            signal.raise_signal(signal.SIGINT)

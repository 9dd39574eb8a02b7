"""A live line about a run: loss, dev, forwards, speed, time left.  No dependency.

On a terminal one line is rewritten in place; elsewhere (a log file, a pipe) a plain line appears
every ten seconds or so.  Everything goes to stderr, so stdout stays data.  Not here: what is kept
(`metrics.jsonl`), which `training.py` writes.
"""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

from zoptim.lm import units

REDRAW_SECONDS = 0.1
RATE_WINDOW_SECONDS = 10.0
LOSS_MEMORY = 0.95  # of the running mean shown, per step


class Progress:
    """The line itself; `update` may be called every step, it draws only when due.

    Args:
        steps, forwards, minutes: the budgets known, if any; the one nearest its end gives the ETA.
        stream: where to write (stderr).
        quiet: say nothing at all.
        every: seconds between plain lines when the stream is not a terminal.
    """

    def __init__(
        self,
        *,
        steps: int | None = None,
        forwards: int | None = None,
        minutes: float | None = None,
        stream: TextIO | None = None,
        quiet: bool = False,
        every: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._quiet = quiet
        self._clock = clock
        self._live = self._stream.isatty()
        self._every = REDRAW_SECONDS if self._live else every
        self._budgets = (steps, forwards, None if minutes is None else 60.0 * minutes)
        self._began: float | None = None
        self._drawn_at = float("-inf")
        self._recent: deque[tuple[float, float]] = deque()
        self._first = (0, 0.0)  # step and forwards when this process began (not 0 after a resume)
        self._t, self._forwards = 0, 0.0
        self._loss: float | None = None
        self._dev = self._best = ""
        self._best_score: float | None = None
        self._on_line = 0

    def update(
        self,
        *,
        t: int,
        forwards: float,
        loss: float | None = None,
        dev_accuracy: float | None = None,
        dev_loss: float | None = None,
        best: bool | None = None,
    ) -> None:
        """What is known after a step or an evaluation; what is left out keeps its last value.

        `best` says whether this evaluation is the best so far; None: judged here (accuracy, else loss).
        """
        now = self._clock()
        if self._began is None:
            self._began, self._first = now, (t, forwards)
        self._t, self._forwards = t, forwards
        if loss is not None and math.isfinite(loss):
            self._loss = loss if self._loss is None else LOSS_MEMORY * self._loss + (1 - LOSS_MEMORY) * loss
        self._judge(dev_accuracy, dev_loss, best)
        self._recent.append((now, forwards))
        while len(self._recent) > 2 and now - self._recent[0][0] > RATE_WINDOW_SECONDS:
            self._recent.popleft()
        if now - self._drawn_at >= self._every:
            self._drawn_at = now
            self._draw(self.line())

    def note(self, text: str) -> None:
        """A line that stays."""
        if self._quiet:
            return
        self._wipe()
        self._stream.write(text + "\n")
        self._stream.flush()
        self._drawn_at = float("-inf") if self._live else self._drawn_at

    def say(self, text: str) -> None:
        """A line for people: one that stays, or, where it begins with a carriage return, one that is replaced."""
        if text.startswith("\r"):
            self.doing(text[1:])
        else:
            self.note(text)

    def doing(self, text: str) -> None:
        """A line about something slow before or between steps; the next line replaces it."""
        if self._live or self._clock() - self._drawn_at >= self._every:
            self._drawn_at = self._clock()
            self._draw(text)

    def close(self) -> None:
        """Leave the last line standing and end it."""
        if self._began is not None:
            self._draw(self.line())
        if self._live and self._on_line and not self._quiet:
            self._stream.write("\n")
            self._stream.flush()
        self._on_line = 0

    def line(self) -> str:
        """The line as it is now."""
        steps, forwards, _ = self._budgets
        of_steps = f"/{steps:,}" if steps else ""
        of_forwards = f"/{forwards:,}" if forwards else ""
        parts = [f"step {self._t:,}{of_steps}"]
        if self._loss is not None:
            parts.append(f"loss {units.figure(self._loss)}")
        if self._dev:
            parts.append(f"dev {self._dev}" + (f" (best {self._best})" if self._best else ""))
        parts.append(f"{self._forwards:,.0f}{of_forwards} forwards")
        if (rate := self._rate()) is not None:
            parts.append(f"{rate:.3g}/s")
        if (left := self._left()) is not None:
            parts.append(f"{units.duration(left)} left")
        return "  ".join(parts)

    def _judge(self, accuracy: float | None, loss: float | None, best: bool | None) -> None:
        if accuracy is None and loss is None:
            return
        score = accuracy if accuracy is not None else -(loss or 0.0)
        shown = units.figure(accuracy if accuracy is not None else loss)
        self._dev = shown if accuracy is not None else f"loss {shown}"
        if best is None:
            best = self._best_score is None or score > self._best_score
        if best:
            self._best_score, self._best = score, shown

    def _rate(self) -> float | None:
        if len(self._recent) < 2:
            return None
        (t0, f0), (t1, f1) = self._recent[0], self._recent[-1]
        return (f1 - f0) / (t1 - t0) if t1 > t0 and f1 > f0 else None

    def _left(self) -> float | None:
        if self._began is None:
            return None
        spent = self._clock() - self._began
        steps, forwards, seconds = self._budgets
        left = [] if seconds is None else [seconds - spent]
        for budget, now, first in (
            (steps, self._t, self._first[0]),
            (forwards, self._forwards, self._first[1]),
        ):
            if budget and now > first:
                left.append(spent * (budget - now) / (now - first))
        return max(0.0, min(left)) if left and spent > 0 else None

    def _draw(self, text: str) -> None:
        if self._quiet:
            return
        if not self._live:
            self._stream.write(text + "\n")
        else:
            width = max(20, shutil.get_terminal_size().columns - 1)
            text = text if len(text) <= width else text[: width - 1] + "…"
            self._stream.write("\r" + text + " " * max(0, self._on_line - len(text)))
            self._on_line = len(text)
        self._stream.flush()

    def _wipe(self) -> None:
        if self._on_line:
            self._stream.write("\r" + " " * self._on_line + "\r")
            self._on_line = 0

"""A search's points one at a time, answered in any order: what other libraries' ask and tell are made of.

Not here: which point becomes which trial (`optuna_sampler`, `nevergrad_optimizer`).
"""

from __future__ import annotations

from threading import RLock
from typing import Any

import numpy as np

from .search import Search


class Desk:
    """Hands out the points of a search's rounds, and answers a round when all of it came back; threads may share it.

    Args:
        search: with failures="skip" or "penalize".

    Example:
        >>> desk = Desk(Search([0.0, 0.0], "mezo", budget=20, failures="skip"))
        >>> ticket, x = desk.take()
        >>> desk.give(ticket, float(x @ x))
        >>> desk.search.spent >= 0
        True
    """

    def __init__(self, search: Search) -> None:
        self.search = search
        self._round: list[np.ndarray] = []
        self._values: list[float | None] = []
        self._out, self._back, self._first = 0, 0, 0
        self._lock = RLock()

    def take(self) -> tuple[int, np.ndarray] | None:
        """A ticket and a point nobody else has; None while a round is out, or where the search is over."""
        with self._lock:
            if self._back == len(self._round):
                if self.search.done:
                    return None
                self._first += len(self._round)
                self._round = list(self.search.ask())
                self._values, self._out, self._back = [None] * len(self._round), 0, 0
            if self._out == len(self._round):
                return None
            self._out += 1
            return self._first + self._out - 1, self._round[self._out - 1]

    def give(self, ticket: int, value: float | None) -> None:
        """The value at a ticket's point; None or NaN where it failed.

        Raises:
            KeyError: no such point is out.
        """
        with self._lock:
            i = ticket - self._first
            if not (0 <= i < self._out and self._values[i] is None):
                raise KeyError(f"ticket {ticket}: no point of that number is out")
            self._values[i] = np.nan if value is None else float(value)
            self._back += 1
            if self._back == len(self._round):
                self.search.tell(self._values)

    def add(self, x: Any, value: float | None) -> None:
        """The value at a point of somebody else's: it counts, and may be the best."""
        with self._lock:
            if not self.search.done:
                self.search.tell([value], np.asarray(x, np.float64)[None])

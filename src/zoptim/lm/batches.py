"""Which examples step t sees: a function of (run key, t) alone, so a resumed run sees the same.

Every epoch is a fresh permutation; within windows of eight batches examples are sorted by length, so that a
batch wastes little on padding, and the window's batches are taken in a fresh order.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from ..noise import permutation

WINDOW = 8  # batches sorted by length together


class Order:
    """Batches of indices over n examples.

    Args:
        key: run key.
        lengths: (n,) tokens of each example.
        batch: examples a step; more than n means all of them.
    """

    def __init__(self, key: int, lengths: Sequence[int], batch: int) -> None:
        self.key, self.lengths = key, np.asarray(lengths)
        self.batch = min(batch, len(self.lengths))
        self.per_epoch = max(1, len(self.lengths) // self.batch)
        self._epoch = lru_cache(maxsize=2)(self._make_epoch)

    def __call__(self, t: int) -> np.ndarray:
        """(batch,) indices of step t's examples."""
        epoch, place = divmod(t, self.per_epoch)
        return self._epoch(epoch)[place]

    def several(self, t: int, k: int) -> np.ndarray:
        """The examples of the k batches from step t on, each once: (at most k * batch,) indices, in order."""
        k = min(k, 2 * self.per_epoch)
        return np.unique(np.concatenate([self(t + j) for j in range(k)]))

    def _make_epoch(self, epoch: int) -> list[np.ndarray]:
        order = permutation(self.key, 2 * epoch, len(self.lengths))[: self.per_epoch * self.batch]
        batches: list[np.ndarray] = []
        for start in range(0, len(order), WINDOW * self.batch):
            window = order[start : start + WINDOW * self.batch]
            window = window[np.argsort(self.lengths[window], kind="stable")]
            batches += [window[i : i + self.batch] for i in range(0, len(window), self.batch)]
        return [batches[i] for i in permutation(self.key, 2 * epoch + 1, len(batches))]


def evaluation(lengths: Sequence[int], tokens: int = 4096) -> list[np.ndarray]:
    """All examples once, shortest first, in batches of about `tokens` padded tokens."""
    order = np.argsort(np.asarray(lengths), kind="stable")
    batches: list[np.ndarray] = []
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * lengths[order[stop]] <= tokens:
            stop += 1
        batches.append(order[start:stop])
        start = stop
    return batches

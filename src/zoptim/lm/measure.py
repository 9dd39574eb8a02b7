"""How good a run's weights are on a split, as they stand: loss, accuracy, the objective itself.

Counted apart from a run's forwards, and the model is asked at one point, with nothing formed.  Not here: the question
a step asks (`session`), what is kept of the answers (`metrics`, `finish`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..protocols import Point
from .batches import evaluation
from .forward import Outputs
from .objectives import Asked
from .session import STILL, Session, Split


@dataclass(frozen=True)
class Measured:
    """What an evaluation saw: mean loss, which examples are right, candidate log-probabilities."""

    loss: float
    right: np.ndarray | None
    scores: list[Any]
    losses: np.ndarray

    @property
    def accuracy(self) -> float | None:
        return None if self.right is None else float(self.right.mean())


def measure(session: Session, split: Split) -> Measured:
    """Loss and accuracy of a split where the weights stand now; counted apart from a run's forwards."""
    items = split.items
    loss = np.zeros(len(items))
    weight = np.ones(len(items))
    scores: list[Any] = [None] * len(items)
    for which in evaluation(split.lengths):
        with session.space.visit([Point(())], STILL, None) as view:
            out = session.scorer(view, [items[i] for i in which], split.prefix, which)
        if out.scores is not None:
            logp = torch.log_softmax(out.scores[0], -1).numpy()
            for i, row in zip(which, logp, strict=True):
                scores[i] = row
                loss[i] = -row[items[i].label]
        else:
            assert out.logp is not None
            loss[which] = (-out.logp[0].sum(-1) / out.counts).numpy()
            weight[which] = out.counts.numpy()
    right = None
    if session.kind == "classification":
        right = np.array([int(s.argmax()) == i.label for s, i in zip(scores, items, strict=True)])
    return Measured(float((loss * weight).sum() / weight.sum()), right, scores, loss)


def score_goal(session: Session, split: Split) -> float:
    """The objective itself over a split (lower is better), for goals other than the loss."""
    if session.goal.needs == "candidates" and session.kind == "classification":
        return _score_whole(session, split, measure(session, split).scores)
    total, count = 0.0, 0
    for which in evaluation(split.lengths):
        with session.space.visit([Point(())], STILL, None) as view:
            answer = session.objective(split, which)(view)
        values = np.asarray(answer[0] if isinstance(answer, tuple) else answer, dtype=np.float64)
        total += float(values.mean()) * len(which)
        count += len(which)
    return total / count


def _score_whole(session: Session, split: Split, scores: list[np.ndarray]) -> float:
    """The objective of all predictions at once: an F1 is no mean of batches' F1s."""
    table = np.full((1, len(scores), max(map(len, scores))), -np.inf, np.float32)
    for i, row in enumerate(scores):
        table[0, i, : len(row)] = row
    items = split.items
    labels = np.array([-1 if i.label is None else i.label for i in items])
    batch = Asked(items, labels, [""] * len(items))
    counts = torch.zeros(len(items), dtype=torch.long)
    answer = session.goal.values(batch, Outputs(1, torch.from_numpy(table), None, None, counts), None)
    return float(np.asarray(answer[0] if isinstance(answer, tuple) else answer, dtype=np.float64).mean())

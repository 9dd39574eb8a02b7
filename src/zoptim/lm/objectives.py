"""What answers are worth: per-example values, lower is better, of anything a forward can show.

    loss       cross-entropy over the candidates, or of the completion's tokens
    accuracy   1 - [the right candidate scores highest]; completions: 1 - [the generated text is the answer]
    f1         1 - macro F1 over a batch (one number, not additive); completions: 1 - token F1 of the text
    python:module:function    your own `fn(batch, outputs) -> per-item values`

A function says what it needs by an attribute `needs`: "candidates" (default; `outputs.scores` (B, C)
log-probabilities), "logits" (`outputs.logits` (R, S, V) at the scored positions) or "text" (`outputs.text`, a
list of B generated strings).  `batch.items` are the examples.

No gradient is taken of any of these: they may be as flat or as jumpy as they like.
"""

from __future__ import annotations

import importlib
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .encode import Item
from .errors import UsageError, closest
from .forward import Outputs

NAMES = ("loss", "accuracy", "f1")


class Asked(NamedTuple):
    """The batch as a user's function sees it."""

    items: Sequence[Item]
    labels: np.ndarray  # (B,), -1 where there is none
    answers: Sequence[str]  # (B,) right completions, "" where there is none


@dataclass(frozen=True)
class Seen:
    """One point's outputs as a user's function sees them; what was not needed is None."""

    scores: Tensor | None = None
    logp: Tensor | None = None
    logits: Tensor | None = None
    text: list[str] | None = None


def joined(answers: Sequence[Any], name: str) -> Any:
    """The answers about parts of a batch as one answer about the whole.

    Raises:
        UsageError: they are one number a part.
    """
    if len(answers) == 1:
        return answers[0]
    values, weights = zip(*(a if isinstance(a, tuple) else (a, None) for a in answers), strict=True)
    tables = [np.asarray(v, dtype=np.float64) for v in values]
    if any(t.ndim != 2 for t in tables):
        raise UsageError(
            f"objective={name}: it is one number a batch, which parts of a batch cannot give; leave out --micro-batch "
            "and methods that ask of several batches (mezo_svrg)"
        )
    table = np.concatenate(tables, axis=1)
    return table if weights[0] is None else (table, np.concatenate([np.asarray(w) for w in weights]))


@dataclass(frozen=True)
class Goal:
    """An objective by name: what it needs and how it is computed.

    `values(batch, outputs) -> (m, B)`, or (m,) where it is one number a batch: a user's function may be either.
    """

    name: str
    needs: str
    values: Callable[[Asked, Outputs, list[list[str]] | None], Any]
    smooth: bool = False
    each: bool = True  # a value for every example, as far as the name tells


def make(name: str, kind: str) -> Goal:
    """The objective of that name for a task of that kind ("classification" or "completion").

    Raises:
        UsageError: no such objective, module or function.
    """
    if name == "loss":
        return Goal(name, "candidates", _loss, smooth=True)
    if name == "accuracy":
        return Goal(name, "candidates", _errors) if kind == "classification" else Goal(name, "text", _inexact)
    if name == "f1":
        return (
            Goal(name, "candidates", _macro_f1, each=False)
            if kind == "classification"
            else Goal(name, "text", _token_f1)
        )
    if name.startswith("python:"):
        return _own(name)
    raise UsageError(f"objective={name!r} is not known; {closest(name, [*NAMES, 'python:module:function'])}")


def _loss(batch: Asked, out: Outputs, text: Any) -> Any:
    if out.scores is not None:
        labels = torch.from_numpy(batch.labels)
        logp = torch.log_softmax(out.scores, -1)
        return -logp[:, torch.arange(len(labels)), labels]
    assert out.logp is not None
    nll = -out.logp.sum(-1) / out.counts
    return nll, out.counts.numpy()


def _errors(batch: Asked, out: Outputs, text: Any) -> Any:
    assert out.scores is not None
    return (out.scores.argmax(-1) != torch.from_numpy(batch.labels)).float()


def _macro_f1(batch: Asked, out: Outputs, text: Any) -> Any:
    assert out.scores is not None
    chosen = out.scores.argmax(-1).numpy()
    return np.array([1.0 - macro_f1(batch.labels, row) for row in chosen])


def _inexact(batch: Asked, out: Outputs, text: list[list[str]] | None) -> Any:
    return _by_text(batch, text, lambda a, b: 0.0 if normalised(a) == normalised(b) else 1.0)


def _token_f1(batch: Asked, out: Outputs, text: list[list[str]] | None) -> Any:
    return _by_text(batch, text, lambda a, b: 1.0 - token_f1(a, b))


def _by_text(batch: Asked, text: list[list[str]] | None, worth: Callable[[str, str], float]) -> np.ndarray:
    assert text is not None
    return np.array([[worth(a, b) for a, b in zip(row, batch.answers, strict=True)] for row in text])


def _own(name: str) -> Goal:
    parts = name.split(":")
    if len(parts) != 3 or not all(parts):
        raise UsageError(f"objective={name!r}: write python:module:function")
    try:
        module = importlib.import_module(parts[1])
    except Exception as error:  # a module that is not there, or one that breaks
        raise UsageError(
            f"objective={name!r}: cannot import {parts[1]!r} ({error}); is it on the path?"
        ) from error
    function = getattr(module, parts[2], None)
    if not callable(function):
        near = closest(
            parts[2], [n for n in dir(module) if callable(getattr(module, n)) and n[0] != "_"] or ["-"]
        )
        raise UsageError(f"objective={name!r}: {parts[1]} has no function {parts[2]!r}; {near}")
    needs = getattr(function, "needs", "candidates")
    if needs not in ("candidates", "logits", "text"):
        raise UsageError(f"objective={name!r}: needs={needs!r} must be 'candidates', 'logits' or 'text'")

    def values(batch: Asked, out: Outputs, text: list[list[str]] | None) -> Any:
        rows = []
        for p in range(out.points):
            seen = Seen(
                None if out.scores is None else out.scores[p],
                None if out.logp is None else out.logp[p],
                None if out.logits is None else out.logits[p],
                None if text is None else text[p],
            )
            row = _called(name, function, batch, seen)
            if row.shape not in ((), (len(batch.items),)):
                raise UsageError(
                    f"objective={name!r} returned shape {row.shape}: return one value per item, "
                    f"({len(batch.items)},), or one number"
                )
            rows.append(row)
        return np.stack(rows)

    return Goal(name, needs, values)


def _called(name: str, function: Callable[[Asked, Seen], Any], batch: Asked, seen: Seen) -> np.ndarray:
    """A user's function's answer as numbers; whatever goes wrong inside it is named as its own."""
    try:
        answer = function(batch, seen)
    except Exception as error:
        raise UsageError(
            f"objective={name!r} raised {type(error).__name__}: {error}; mend the function"
        ) from error
    try:
        if answer is None:
            raise TypeError("None")
        return np.asarray(answer, dtype=np.float64)
    except (TypeError, ValueError):
        raise UsageError(
            f"objective={name!r} returned {type(answer).__name__}: return one number per item, lower is better"
        ) from None


# -- measures, usable by themselves --------------------------------------------------------------------


def macro_f1(labels: np.ndarray, chosen: np.ndarray) -> float:
    """Mean over the classes seen of 2 tp / (2 tp + fp + fn).

    Example:
        >>> macro_f1(np.array([0, 1, 1]), np.array([0, 1, 0]))
        0.6666666666666666
    """
    scores = []
    for k in np.union1d(labels, chosen):
        hit = np.sum((labels == k) & (chosen == k))
        scores.append(2 * hit / (np.sum(labels == k) + np.sum(chosen == k)))
    return float(np.mean(scores))


def normalised(text: str) -> str:
    """Lower case, no punctuation, no articles, single spaces (SQuAD's)."""
    words = "".join(c for c in text.lower() if c not in string.punctuation).split()
    return " ".join(w for w in words if w not in ("a", "an", "the"))


def token_f1(said: str, wanted: str) -> float:
    """F1 of the bags of normalised words; 1.0 where both are empty.

    Example:
        >>> token_f1("The cat sat.", "a cat")
        0.6666666666666666
    """
    a, b = normalised(said).split(), normalised(wanted).split()
    if not a or not b:
        return float(a == b)
    common = sum((Counter(a) & Counter(b)).values())
    return 2.0 * common / (len(a) + len(b))

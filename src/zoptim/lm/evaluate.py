"""Using a run: its accuracy on a split, and what it says about new texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..protocols import Point
from . import encode
from .errors import UsageError
from .existing import rebuild, reopen, resolve_at
from .measure import measure
from .prompts import Template
from .session import NEW_TOKENS, STILL, Session, Split
from .tasks import Example


def evaluate(run: Path, split: str = "test", at: str | int | None = None) -> dict[str, Any]:
    """Loss and accuracy of a run's weights on train, dev or test.

    Cost: one full forward an example.
    """
    if split not in ("train", "dev", "test"):
        raise UsageError(f"split={split!r} must be train, dev or test")
    session, journal = reopen(run)
    made = rebuild(session, journal, at)
    t = resolve_at(run, journal, at)
    seen = measure(session, session.splits[split])
    return {
        "run": str(run), "split": split, "at": t, "steps": made.done,
        "examples": len(session.splits[split].items), "loss": seen.loss, "accuracy": seen.accuracy,
    }  # fmt: skip


def predict(run: Path, texts: Sequence[str], at: str | int | None = None) -> list[dict[str, Any]]:
    """What a run answers to new texts: a candidate with its probability, or a completion.

    The texts fill the run's own template where it has one field; else give whole prompts.

    Cost: one full forward a text; a completion one a token.
    """
    if not texts:
        raise UsageError("texts: give at least one")
    session, journal = reopen(run, data=False)
    rebuild(session, journal, at)
    about = journal.header["data"]
    template = str(about["template"])
    field = _only_field(template)
    prompts = [Template(template, (field,)).fill({field: t}, "text") if field else t for t in texts]
    candidates = about.get("candidates")
    if isinstance(candidates, str):
        raise UsageError(
            f"run={str(run)!r} chooses among answers that come with each example: use zoptim eval"
        )
    if candidates is None:
        return _complete(session, texts, prompts)
    return _choose(session, texts, prompts, tuple(candidates))


def _choose(
    session: Session, texts: Sequence[str], prompts: Sequence[str], candidates: tuple[str, ...]
) -> list[dict[str, Any]]:
    examples = [Example(p, candidates, 0, None, t) for p, t in zip(prompts, texts, strict=True)]
    items = encode.encode(
        examples, session.loaded.tokenizer, kind="classification", max_length=session.limit,
        chat=session.config.chat,
    ).items  # fmt: skip
    seen = measure(session, Split(examples, items))
    answers = []
    for text, scores in zip(texts, seen.scores, strict=True):
        p = np.exp(scores)
        answers.append(
            {
                "text": text, "answer": candidates[int(p.argmax())].strip(), "p": float(p.max()),
                "probabilities": {c.strip(): float(x) for c, x in zip(candidates, p, strict=True)},
            }
        )  # fmt: skip
    return answers


def _complete(session: Session, texts: Sequence[str], prompts: Sequence[str]) -> list[dict[str, Any]]:
    examples = [Example(p, None, None, " .", t) for p, t in zip(prompts, texts, strict=True)]
    items = encode.encode(
        examples, session.loaded.tokenizer, kind="completion", max_length=session.limit,
        chat=session.config.chat,
    ).items  # fmt: skip
    with session.space.visit([Point(())], STILL, None) as view, torch.no_grad():
        said = session.scorer.generate(view, items, session.loaded.tokenizer, NEW_TOKENS)[0]
    return [{"text": t, "answer": s} for t, s in zip(texts, said, strict=True)]


def _only_field(template: str) -> str | None:
    """The name of a template's field, when it has exactly one."""
    from string import Formatter

    names = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    return names.pop() if len(names) == 1 else None

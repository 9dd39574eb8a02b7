"""What is measured, once for every bench: a model, a batch, and the calls that ask it or take a step.

    plain   one inference forward as anyone would write it, all logits of all positions
    lean    one unperturbed forward that computes only what is scored
    step    a whole step of a method: its points, its update, its record written to a file

What it is not: a clock (`common`), a floor (`floors`), a peer (`peers`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bench.mezo_published import PublishedMeZO
from zoptim import methods
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.lm import models
from zoptim.lm.encode import Item, Row
from zoptim.lm.forward import Scorer
from zoptim.lm.plan import at_once
from zoptim.method import Method
from zoptim.protocols import Point
from zoptim.spaces.module import Module

PUBLISHED = "MeZO as published"
TWO_SIDED, LOW_RANK, NORMALS, NINE = (
    "two-sided, signs",
    "two-sided, low-rank",
    "two-sided, normals",
    "nine points",
)

# A step size that changes next to nothing: the last repeat must ask the same model as the first.
_MAKERS: dict[str, tuple[str, dict[str, Any]]] = {
    TWO_SIDED: ("mezo", {"lr": 1e-9, "law": "signs"}),
    LOW_RANK: ("lozo", {"lr": 1e-9}),
    NORMALS: ("mezo", {"lr": 1e-9, "law": "normal"}),
    NINE: ("fzoo", {"lr": 1e-9, "n": 8, "schedule": "constant"}),
}
METHODS: dict[str, tuple[str, dict[str, Any]]] = {  # a method that the shelf does not hold yet is left out
    name: (made, settings) for name, (made, settings) in _MAKERS.items() if made in methods.SHELF
}


class Batch(NamedTuple):
    """How much is asked at once."""

    rows: int
    tokens: int

    def __str__(self) -> str:
        return f"{self.rows} x {self.tokens}"


FULL, SHORT = Batch(8, 32), Batch(1, 8)


def method(name: str) -> Method:
    """A fresh composition of one of `METHODS`."""
    made, settings = METHODS[name]
    return methods.build(made, settings)


class Subject:
    """A model with all its weights trained; batches are made from it."""

    def __init__(self, spec: str, dtype: str = "float32") -> None:
        loaded = models.load(spec, dtype=dtype)
        self.model, self.pad = loaded.model, loaded.tokenizer.pad_token_id
        names = [name for name, _ in models.select(self.model, "all")]
        self.space = Module(self.model, names)
        self.weights = sum(slot_size(slot.shape) for slot in self.space.slots())

    def on(self, batch: Batch, folder: Path) -> Calls:
        """The calls on one batch; journals go into `folder`."""
        return Calls(self, batch, folder)


def slot_size(shape: tuple[int, ...]) -> int:
    """Elements of a slot."""
    return int(torch.Size(shape).numel())


class Calls:
    """One batch of random tokens with two candidate answers, and everything that is asked about it."""

    def __init__(self, subject: Subject, batch: Batch, folder: Path) -> None:
        self.subject, self.folder, self.batch = subject, folder, batch
        generator = torch.Generator().manual_seed(0)
        vocabulary = subject.model.config.vocab_size
        self.ids = torch.randint(0, vocabulary, (batch.rows, batch.tokens), generator=generator)
        self.columns = torch.randperm(vocabulary, generator=generator)[:2]
        rows = [Row(tuple(row), len(row)) for row in self.ids.tolist()]
        columns = tuple(int(x) for x in self.columns)
        self.items = [Item((row,), i % 2, 1.0, columns) for i, row in enumerate(rows)]
        self.labels = torch.tensor([item.label for item in self.items])
        self.scorer = Scorer(subject.space, subject.pad)

    def plain(self) -> None:
        """One inference forward, all logits."""
        with torch.no_grad():
            self.subject.model(input_ids=self.ids, use_cache=False)

    def question(self, view: Any) -> Any:
        """Cross-entropy over the candidates, (m, items)."""
        scores = self.scorer(view, self.items).scores
        assert scores is not None
        chosen = self.labels.expand(len(scores), -1)[..., None]
        return -scores.log_softmax(-1).gather(-1, chosen)[..., 0]

    def lean(self) -> None:
        """One unperturbed forward that computes only what is scored."""
        made = method(TWO_SIDED)
        with self.subject.space.visit([Point(())], made.directions, None) as view:
            self.question(view)

    def step(self, name: str) -> Callable[[], object]:
        """A whole step of one of `METHODS`, its record appended to a file."""
        path = self.folder / f"{name} {self.batch}.zoj"
        space = self.subject.space
        run = Run(space, method(name), Journal.create(path, {"key": 1}))

        def step() -> None:
            space.points_per_pass = at_once(self.batch.rows * self.batch.tokens)
            run.step(self.question)

        return step

    def published(self) -> Callable[[], object]:
        """A whole step of MeZO as published; its loss takes all logits, as in its code."""
        mezo = PublishedMeZO(self.subject.model, lr=1e-9, eps=1e-3)
        return lambda: mezo.step(self.ids)

    def call(self, name: str) -> Callable[[], object]:
        """By name: "inference", `PUBLISHED` or one of `METHODS`."""
        if name == "inference":
            return self.plain
        return self.published() if name == PUBLISHED else self.step(name)


def points(name: str) -> int:
    """Points a step asks."""
    return 2 if name == PUBLISHED else method(name).probe.forwards

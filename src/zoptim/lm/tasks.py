"""A task: examples with prompts and right answers, split into train, dev and test.

`load_packaged("packaged:movie-reviews")` is ready to run; `from_files` makes one of your own JSONL or
CSV. Splits are by hash of the text (of your own files: of the whole prompt, so another template splits anew):
the same text is always on the same side, whatever the order of the file or the seed of the run.

    h(text) = blake2b-64(UTF-8 of text), big-endian;    part by h mod 100, order by h

Each part is in order of h: files are often sorted by label, and the first n of a part are a fair sample.

Not here: tokens (`encode.py`), the language of templates and candidates (`prompts.py`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from zoptim.lm import packaged
from zoptim.lm.errors import UsageError, closest
from zoptim.lm.prompts import Candidates, Template, joined, parse_candidates, read_labels, unescape
from zoptim.lm.records import Records, read

Kind: TypeAlias = Literal["classification", "completion"]

TEXTS = ("text", "sentence", "review", "content")
LABELS = ("label", "labels", "class", "answer", "target")
PAIRS = (("prompt", "completion"), ("prompt", "response"), ("instruction", "output"), ("question", "answer"))


@dataclass(frozen=True)
class Example:
    """One question to the model. A classification has candidates and a label, the rest a completion."""

    prompt: str
    candidates: tuple[str, ...] | None
    label: int | None
    completion: str | None
    text: str  # what a person is shown
    fields: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Task:
    """Examples in three parts; `source` is plain data for the journal, with sha256 of every file read."""

    name: str
    kind: Kind
    train: list[Example]
    dev: list[Example]
    test: list[Example]
    classes: tuple[str, ...]
    source: dict[str, Any]
    notes: tuple[str, ...] = ()  # guesses made, to be said aloud

    @property
    def candidates(self) -> tuple[str, ...] | None:
        """The answers, where all examples share them."""
        first = self.train[0].candidates
        return first if self.classes else None


def bucket(text: str) -> int:
    """0 .. 99, a function of the text alone: which part of a split it falls in.

    Example:
        >>> bucket("a") == bucket("a"), 0 <= bucket("b") < 100
        (True, True)
    """
    return _hash(text) % 100


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def load_packaged(
    name: str, *, template: str | None = None, candidates: str | Iterable[str] | None = None
) -> Task:
    """A packaged task; today there is `packaged:movie-reviews`.

    Sentences of movie reviews with a mean rating from -4 to 4, those within 0.3 of zero left out; the sign
    is the label. 22 % by hash are test, 6 % dev, the rest train.

    Args:
        name: with or without `packaged:`.
        template: another prompt over the fields `text` and `rating`.
        candidates: two other answers, negative first.

    Raises:
        UsageError: no such task, or a template or candidates that do not fit.
        RunError: it could not be fetched.
    """
    parcel = packaged.parcel(name, "task")
    content = packaged.fetch(name).read_text(encoding="utf-8-sig")
    rows: list[dict[str, Any]] = []
    for line in content.replace("\r\n", "\n").strip("\n").split("\n"):
        _, rating, text = line.split("\t", 2)
        if abs(float(rating)) > 0.3:
            rows.append({"text": text, "rating": float(rating), "label": int(float(rating) > 0)})
    fill = Template(template or "{text} It was", ("text", "rating"))
    answers = parse_candidates(candidates or "negative= terrible,positive= great")
    if len(answers.texts) != 2:
        raise UsageError(f"candidates={candidates!r}: {name} has two classes; give two, negative first")
    examples = [
        Example(fill.fill(r, name), answers.texts, r["label"], None, r["text"], {"rating": r["rating"]})
        for r in rows
    ]
    examples.sort(key=lambda e: _hash(e.text))
    parts: dict[str, list[Example]] = {"test": [], "dev": [], "train": []}
    for example in examples:
        h = bucket(example.text)
        parts["test" if h < 22 else "dev" if h < 28 else "train"].append(example)
    assert len(parts["test"]) >= 2000
    bare = name.removeprefix(packaged.PREFIX)
    classes = answers.classes if candidates else ("negative", "positive")
    source = {
        "spec": packaged.PREFIX + bare, "package": parcel.requirement, "sha256": parcel.sha256,
        "template": fill.text, "candidates": list(answers.texts), **{k: len(v) for k, v in parts.items()},
    }  # fmt: skip
    return Task(bare, "classification", parts["train"], parts["dev"], parts["test"], classes, source)


def from_files(
    data: str | Path, *,
    template: str | None = None, candidates: str | Iterable[str] | None = None, completion: str | None = None,
    label: str | None = None, dev: str | Path | None = None, test: str | Path | None = None,
) -> Task:  # fmt: skip
    """A task of your own: with candidates (given or guessed) a classification, else completions.

    Args:
        data: JSONL, JSON, CSV or TSV; what is not in `dev` and `test` files is split off it, a tenth each.
        template: the prompt, `"{text} It was"`.
        candidates: the answers to choose from, see `prompts.py`; `@field` when each example has its own.
        completion: the answer to be written: a field's name, or a template.
        label: the field of the right answer.
        dev, test: files of the same form.

    Raises:
        UsageError: anything that does not fit, with file and line where there is one.
    """
    train = read(data)
    others = {n: read(p, argument=n) for n, p in (("dev", dev), ("test", test)) if p is not None}
    if candidates is not None and completion is not None:
        raise UsageError(f"completion={completion!r}: goes without candidates; choose an answer or write one")
    plan = _Plan.make(train, template, candidates, completion, label)
    pool = plan.examples(train)
    parts = {n: plan.examples(records) for n, records in others.items()}
    for name, low in (("test", 0), ("dev", 10)):
        if name not in parts:
            parts[name] = [e for e in pool if low <= bucket(e.prompt) < low + 10]
            pool = [e for e in pool if not low <= bucket(e.prompt) < low + 10]
    parts["train"] = pool
    for examples in parts.values():
        examples.sort(key=lambda e: _hash(e.prompt))
    for name, examples in parts.items():
        if not examples:
            where = "leave out --dev or --test" if name == "train" else f"give a file: --{name} FILE"
            few = f"{len(train.rows)} examples are too few for a {name} part"
            raise UsageError(f"data={str(data)!r}: {few}; add more, or {where}")
    files = {"train": train, **others}
    source = {
        "spec": Path(data).name,  # names, not paths: a moved folder is still the same data
        "files": {n: r.plain() for n, r in files.items()},
        **plan.plain(),
        **{n: len(parts[n]) for n in ("train", "dev", "test")},
    }
    notes = (*plan.notes, *_shared(parts))
    return Task(
        Path(data).stem, plan.kind, parts["train"], parts["dev"], parts["test"], plan.classes, source, notes
    )


@dataclass(frozen=True)
class _Plan:
    """How a record becomes an example."""

    prompt: Template
    candidates: Candidates | None
    completion: Template | None
    label: str | None
    notes: tuple[str, ...]

    @classmethod
    def make(
        cls, records: Records, template: str | None, candidates: str | Iterable[str] | None,
        completion: str | None, label: str | None,
    ) -> _Plan:  # fmt: skip
        """Decide, guessing what was not given and saying so."""
        fields, notes = records.fields, []
        if label is not None and label not in fields:
            raise UsageError(f"label={label!r}: no such field in the data; {closest(label, fields)}")
        pair = next((p for p in PAIRS if set(p) <= set(fields)), None)
        if completion is None and candidates is None and label is None and pair:
            completion = pair[1]
            template = template or "{" + pair[0] + "}"
            notes.append(f"completion not given: prompt {template!r}, answer from {pair[1]!r}")
        if template is None:
            name = next((f for f in TEXTS if f in fields), None)
            if name is None:
                raise UsageError(
                    f"template is missing; write one over the fields {', '.join(fields)}: '{{{fields[0]}}}'"
                )
            template = "{" + name + "}" + ("" if completion else " It was")
            notes.append(f"template not given: using {template!r}")
        if completion is not None:
            text = completion if "{" in completion else "{" + completion + "}"
            return cls(
                Template(template, fields),
                None,
                Template(text, fields, argument="completion"),
                None,
                tuple(notes),
            )
        label = label or next((f for f in LABELS if f in fields), None)
        if label is None:
            raise UsageError(
                f"label is missing; name the field of the right answer (fields: {', '.join(fields)})"
            )
        answers = parse_candidates(candidates) if candidates is not None else _guess(records, label, notes)
        if answers.field is not None and answers.field not in fields:
            hint = closest(answers.field, fields)
            raise UsageError(f"candidates='@{answers.field}': no such field in the data; {hint}")
        plan = cls(Template(template, fields), answers, None, label, tuple(notes))
        return plan._hear(records)

    def _hear(self, records: Records) -> _Plan:
        """Add a note when prompt and candidates would run into each other."""
        assert self.candidates is not None
        if not self.candidates.texts or self.prompt.text[-1:].isspace() or self.prompt.text[-1:] in "{}\"'([":
            return self
        glued = [t for t in self.candidates.texts if not t[:1].isspace()]
        if not glued:
            return self
        note = f"the model will read {(self.prompt.text + glued[0])[-30:]!r}: begin candidates with a space"
        return _Plan(self.prompt, self.candidates, None, self.label, (*self.notes, note))

    @property
    def kind(self) -> Kind:
        return "completion" if self.completion else "classification"

    @property
    def classes(self) -> tuple[str, ...]:
        return self.candidates.classes if self.candidates else ()

    def plain(self) -> dict[str, Any]:
        """The plan as data for the journal."""
        if self.completion:
            return {"template": self.prompt.text, "completion": self.completion.text}
        assert self.candidates is not None
        answers = f"@{self.candidates.field}" if self.candidates.field else list(self.candidates.texts)
        return {"template": self.prompt.text, "candidates": answers, "label": self.label}

    def examples(self, records: Records) -> list[Example]:
        """All records of a file as examples."""
        places = [records.place(k) for k in range(len(records.rows))]
        prompts = [self.prompt.fill(r, p) for r, p in zip(records.rows, places, strict=True)]
        if self.completion is not None:
            answers = [self.completion.fill(r, p) for r, p in zip(records.rows, places, strict=True)]
            return [
                Example(q, None, None, _there(joined(q, a), where, self.completion), q, r)
                for q, a, r, where in zip(prompts, answers, records.rows, places, strict=True)
            ]
        assert self.candidates is not None and self.label is not None
        for row, where in zip(records.rows, places, strict=True):
            if row.get(self.label) is None or row[self.label] == "":
                raise UsageError(f"{where}: field {self.label!r} is missing; every example needs its label")
        if self.candidates.field is None:
            lists = [self.candidates.texts] * len(prompts)
            namings: list[tuple[Sequence[str], ...]] = [
                (self.candidates.classes, self.candidates.texts)
            ] * len(prompts)
        else:
            raw = [_choices(r, self.candidates.field, p) for r, p in zip(records.rows, places, strict=True)]
            lists = [tuple(joined(q, c) for c in those) for q, those in zip(prompts, raw, strict=True)]
            namings = [(those,) for those in raw]
        labels = read_labels([row[self.label] for row in records.rows], places, namings, self.label)
        return [
            Example(q, c, k, None, q, r)
            for q, c, k, r in zip(prompts, lists, labels, records.rows, strict=True)
        ]


def _guess(records: Records, label: str, notes: list[str]) -> Candidates:
    """Candidates from labels that are words; numbers say nothing about the words to use."""
    seen = sorted({str(row.get(label)).strip() for row in records.rows if row.get(label) is not None})
    numbers = all(s.lstrip("-").replace(".", "", 1).isdigit() for s in seen)
    if numbers or not 2 <= len(seen) <= 50:
        shown = ", ".join(seen[:5])
        raise UsageError(
            f"candidates is missing and cannot be guessed from {label!r} ({shown}); "
            "give the answers in label order: --candidates ' terrible, great'"
        )
    notes.append(f"candidates not given: using the labels {', '.join(repr(' ' + s) for s in seen)}")
    return Candidates(tuple(" " + s for s in seen), tuple(seen))


def _choices(row: dict[str, Any], name: str, where: str) -> list[str]:
    """An example's own answers."""
    given = row.get(name)
    if isinstance(given, str):  # a CSV cell: a JSON list, or split at commas
        try:
            given = json.loads(given) if given.lstrip()[:1] == "[" else [c.strip() for c in given.split(",")]
        except ValueError:
            given = None
    if not isinstance(given, list | tuple) or len(given) < 2:
        shown = repr(row.get(name))[:80]
        raise UsageError(f"{where}: field {name!r} is {shown}; it needs a list of two or more answers")
    found = [unescape(str(c)) for c in given]
    if len({c.strip() for c in found}) < len(found):
        raise UsageError(f"{where}: field {name!r} lists an answer twice: {found!r}; each must differ")
    return found


def _there(answer: str, where: str, template: Template) -> str:
    if not answer.strip():
        raise UsageError(f"{where}: the completion {template.text!r} is empty; every example needs one")
    return answer


def _shared(parts: dict[str, list[Example]]) -> list[str]:
    """Prompts of train that are also in dev or test, when those came as files."""
    seen = {e.prompt for e in parts["train"]}
    found = []
    for name in ("dev", "test"):
        common = sum(e.prompt in seen for e in parts[name])
        if common:
            found.append(
                f"{common} of {len(parts[name])} {name} prompts are also in train: its score flatters"
            )
    return found

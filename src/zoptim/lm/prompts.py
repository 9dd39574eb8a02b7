"""From a record of named fields to the words a model reads: templates, candidates, labels.

    template    "{text} It was"                       fields in braces, as in str.format
    candidates  " terrible, great"                    split at commas; spaces are kept, they are tokens
                "negative= terrible,positive= great"  with class names
                '[" yes, sir", " no"]'                JSON, when a candidate holds a comma
                '{"negative": " terrible"}'           JSON with class names
                ("no= No", "yes= Yes")                a list from Python or YAML
                "@choices"                            each example brings its own, in a list field

Labels are read by the first of these rules that fits every label of the data: class names, candidate texts
(both without regard to surrounding space, then to case), numbers counted from 0. In texts typed in a
shell, `\\n` and `\\t` mean a new line and a tab.

Not here: reading files and splitting (`tasks.py`), tokens (`encode.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from string import Formatter
from typing import Any, TypeAlias

from zoptim.lm.errors import UsageError, closest


@dataclass(frozen=True)
class Candidates:
    """The answers of a classification: texts as the model reads them, and what they stand for."""

    texts: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    field: str | None = None  # "@field": every example brings its own list


def parse_candidates(given: str | Iterable[str]) -> Candidates:
    """Read `--candidates` (see the file's header).

    Raises:
        UsageError: fewer than two, an empty one, two alike, or JSON that is none.

    Example:
        >>> parse_candidates("negative= terrible,positive= great").classes
        ('negative', 'positive')
        >>> parse_candidates(" terrible, great").texts
        (' terrible', ' great')
    """
    parts: Any = [given] if isinstance(given, str) else [str(g) for g in given]
    shown = repr(given if isinstance(given, str) else parts)
    if len(parts) == 1:
        text = parts[0]
        if text.strip().startswith("@"):
            return Candidates(field=text.strip()[1:])
        if text.strip()[:1] in ("[", "{"):
            try:
                parts = json.loads(text)
            except ValueError as error:
                raise UsageError(f"candidates={shown}: looks like JSON, but is not ({error})") from None
        else:
            parts = text.split(",")
    if isinstance(parts, dict):
        pairs = [(str(name), str(value)) for name, value in parts.items()]
    elif all("=" in str(p) for p in parts):
        pairs = [(n.strip(), v) for n, _, v in (str(p).partition("=") for p in parts)]
    else:
        pairs = [(str(p).strip(), str(p)) for p in parts]
    texts = tuple(unescape(value) for _, value in pairs)
    if len(texts) < 2:
        raise UsageError(f"candidates={shown}: give at least two, as in ' terrible, great'")
    if any(not t.strip() for t in texts):
        raise UsageError(f"candidates={shown}: one is empty; each needs a text")
    classes = tuple(name for name, _ in pairs)
    for what, names in (("candidates", texts), ("class names", classes)):
        twice = [n for k, n in enumerate(names) if n.strip() in {m.strip() for m in names[:k]}]
        if twice:
            raise UsageError(f"candidates={shown}: the {what} list {twice[0]!r} twice; each must differ")
    return Candidates(texts, classes)


def unescape(text: str) -> str:
    """`\\n` and `\\t` as typed in a shell become a new line and a tab."""
    return text.replace("\\n", "\n").replace("\\t", "\t")


class Template:
    """`str.format` over a record's fields, checked once for fields that are not there.

    Args:
        text: with `{field}`s.
        fields: those the records have.
        argument: what to call it in an error.

    Raises:
        UsageError: an unknown field, or braces that do not match.
    """

    def __init__(self, text: str, fields: Sequence[str], *, argument: str = "template") -> None:
        self.text, self.argument = unescape(text), argument
        try:
            used = [name for _, name, _, _ in Formatter().parse(self.text) if name is not None]
        except ValueError as error:
            raise UsageError(f"{argument}={text!r}: {error}; write {{{{ and }}}} for braces") from None
        self.fields = tuple(dict.fromkeys(name.partition(".")[0].partition("[")[0] for name in used))
        for name in self.fields:
            if name not in fields:
                hint = closest(name, fields) if name else "name one in the braces"
                known = ", ".join(fields)
                raise UsageError(
                    f"{argument}={text!r}: no field {name!r} in the data; {hint} (fields: {known})"
                )

    def fill(self, record: Mapping[str, Any], where: str) -> str:
        """The text for one record; `where` names it in an error."""
        for name in self.fields:
            if record.get(name) is None:
                raise UsageError(
                    f"{where}: field {name!r} is missing; {self.argument} needs it in every example"
                )
        try:
            return self.text.format_map(record)
        except (KeyError, IndexError, AttributeError, ValueError) as error:
            raise UsageError(f"{where}: {self.argument} does not fit ({error!r}); check its braces") from None


def read_labels(
    values: Sequence[Any], places: Sequence[str], namings: Sequence[Sequence[Sequence[str]]], field: str
) -> list[int]:
    """Labels as positions among the candidates, all read by one rule (see the file's header).

    Args:
        values: as found in the data, (n,).
        places: where each was found, (n,), for an error.
        namings: for each example the ways its candidates are named: classes, texts; (n, ways, candidates).
        field: the name of the label field, for an error.

    Raises:
        UsageError: no rule fits them all; the first label the best rule does not fit is named.
    """
    best: list[int | None] | None = None
    for rule in _rules(len(namings[0]) if namings else 0):
        found = [rule(value, names) for value, names in zip(values, namings, strict=True)]
        if None not in found:
            return [k for k in found if k is not None]
        if best is None or found.count(None) < best.count(None):
            best = found
    k = (best or [None]).index(None)
    known = ", ".join(repr(n.strip()) for n in namings[k][0])
    raise UsageError(
        f"{places[k]}: label {values[k]!r} in field {field!r} is none of {known} nor a number from 0 to "
        f"{len(namings[k][0]) - 1}; correct it, or name the classes: --candidates 'NAME= text,NAME= text'"
    )


Rule: TypeAlias = Callable[[Any, Sequence[Sequence[str]]], int | None]


def _rules(ways: int) -> Iterator[Rule]:
    """Exact names, way by way; then without regard to case; then numbers."""
    for key in (str.strip, _loose):
        for way in range(ways):
            yield partial(_named, key=key, way=way)
    yield lambda value, namings: _number(value, len(namings[0]))


def _loose(text: str) -> str:
    return text.strip().casefold()


def _named(value: Any, namings: Sequence[Sequence[str]], key: Callable[[str], str], way: int) -> int | None:
    return _place(key(str(value)), map(key, namings[way]))


def _place(value: str, names: Iterable[str]) -> int | None:
    return next((k for k, name in enumerate(names) if name == value), None)


def _number(value: Any, count: int) -> int | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if 0 <= number < count and number == int(number) else None


def joined(prompt: str, answer: str) -> str:
    """An answer taken from data: one space before it, where prompt and answer bring none.

    Example:
        >>> joined("2 + 2 =", "4"), joined("Answer:\\n", "4")
        (' 4', '4')
    """
    return answer if not prompt or prompt[-1:].isspace() or answer[:1].isspace() else " " + answer

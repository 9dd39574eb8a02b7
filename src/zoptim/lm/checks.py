"""One function per kind of setting: takes a name and a raw value, gives the clean value or refuses.

Values come from a command line (strings), a YAML file (where `6e-3` is a string and `no` is False)
or Python; one check serves all three, so all three say the same.  Not here: which settings there
are (`fields.py`), nor what they mean to a run (`finetune.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from os import PathLike, fspath
from typing import Any, TypeAlias

from zoptim.lm.errors import UsageError, closest

Check: TypeAlias = Callable[[str, Any], Any]


def refuse(name: str, value: object, remedy: str) -> UsageError:
    """The one line of a refusal: argument, value, remedy."""
    shown = repr(value)
    if len(shown) > 80:
        shown = shown[:77] + "..."
    return UsageError(f"{name}={shown}: {remedy}")


def scalar(text: str) -> bool | int | float | str | None:
    """What `key=TEXT` means: none, true, false, an integer, a number, else the text itself.

    Example:
        >>> [scalar(t) for t in ("8", "6e-3", "true", "none", "sign")]
        [8, 0.006, True, None, 'sign']
    """
    word = text.strip().lower()
    if word in ("none", "null", ""):
        return None
    if word in ("true", "false"):
        return word == "true"
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            pass
    return text


def text(name: str, value: Any) -> str:
    """Any text with something in it; numbers and paths are written out."""
    if isinstance(value, PathLike):
        value = fspath(value)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise refuse(name, value, "give a text")
    if not str(value).strip():
        raise refuse(name, value, "is empty; give a text or leave it out")
    return str(value)


def texts(name: str, value: Any) -> tuple[str, ...]:
    """One text or several; a mapping {label: answer} becomes "label=answer" texts."""
    if isinstance(value, Mapping):
        value = [f"{k}={v}" for k, v in value.items()]
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, Sequence) or not value:
        raise refuse(name, value, "give one text or a list of them")
    found = tuple(text(name, v) for v in value)
    if len(set(found)) < len(found):
        raise refuse(name, list(found), "the same one is listed twice; each must differ")
    return found


def number(low: float = 0.0, *, open_end: bool = True) -> Check:
    """A finite number above `low` (`open_end`), or from `low` on."""

    def check(name: str, value: Any) -> float:
        wanted = f"give a number {'above' if open_end else 'of at least'} {low:g}"
        try:
            found = float(value)
        except (TypeError, ValueError):
            raise refuse(name, value, f"not a number; {wanted}") from None
        if isinstance(value, bool) or not math.isfinite(found):
            raise refuse(name, value, wanted)
        if found < low or (open_end and found == low):
            raise refuse(name, value, f"too small; {wanted}")
        return found

    return check


def count(low: int = 1, high: int = 2**63 - 1) -> Check:
    """A whole number from `low` to `high`; `2000`, `"2000"`, `"2e3"` and `"2_000"` are the same."""

    def check(name: str, value: Any) -> int:
        wanted = f"give a whole number of at least {low}"
        try:
            exact = int(value) if isinstance(value, str) else value
        except ValueError:
            exact = value
        try:
            found = exact if isinstance(exact, int) else int(float(exact))
            whole = isinstance(exact, int) or found == float(exact)
        except (TypeError, ValueError, OverflowError):
            raise refuse(name, value, f"not a whole number; {wanted}") from None
        if isinstance(value, bool) or not whole:
            raise refuse(name, value, f"not a whole number; {wanted}")
        if found < low:
            raise refuse(name, value, f"too small; {wanted}")
        if found > high:
            raise refuse(name, value, f"too large; the most is {high}")
        return found

    return check


def auto(check: Check) -> Check:
    """`check`, or the word auto."""

    def checked(name: str, value: Any) -> Any:
        if isinstance(value, str) and value.strip().lower() == "auto":
            return "auto"
        try:
            return check(name, value)
        except UsageError as error:
            raise UsageError(f"{error} (or auto)") from None

    return checked


def choice(*known: str) -> Check:
    """One of a few words; YAML's bare yes and no (booleans there) count as these words."""

    def check(name: str, value: Any) -> str:
        word = {True: "yes", False: "no"}[value] if isinstance(value, bool) else value
        if isinstance(word, str) and word.strip().lower() in known:
            return word.strip().lower()
        raise refuse(name, value, closest(str(value), known) + f" (one of {', '.join(known)})")

    return check


def switch(name: str, value: Any) -> bool:
    """On or off: a YAML boolean, or yes, no, true, false."""
    if isinstance(value, str):
        value = {"yes": True, "true": True, "no": False, "false": False}.get(value.strip().lower())
    if not isinstance(value, bool):
        raise refuse(name, value, "give yes or no")
    return value


def objective(name: str, value: Any) -> str:
    """loss, accuracy, f1, or python:module:function."""
    word = text(name, value)
    if word.startswith("python:"):
        parts = word.split(":")
        if len(parts) != 3 or not all(parts):
            raise refuse(name, value, "write it as python:module:function, e.g. python:my_scores:length")
        return word
    return str(choice("loss", "accuracy", "f1")(name, word))


def settings(name: str, value: Any) -> dict[str, Any]:
    """A method's own settings: a mapping, or texts `key=value` as given to --set."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, Mapping):
        return _finite(name, {text(name, k): v for k, v in value.items()})
    found: dict[str, Any] = {}
    for pair in value if isinstance(value, Sequence) else [value]:
        key, equals, right = pair.partition("=") if isinstance(pair, str) else ("", "", "")
        if not key.strip() or not equals:
            raise refuse(name, pair, "write it as key=value, e.g. --set n=8")
        found[key.strip()] = scalar(right)
    return _finite(name, found)


def _finite(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """Settings as they are, unless one cannot be written into a journal."""
    for key, value in found.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise refuse(name, f"{key}={value}", "not a finite number; give one (none, to leave a bound out)")
    return found

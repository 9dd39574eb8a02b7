"""The settings of a fine-tuning run, declared: for each its heading, default, check, placeholder and line of help.

`--help`, `config.yaml` and the arguments of `zoptim.finetune` are all made from these lines.  Not here: which settings
exclude one another, or where they are read from (`config`); what a check accepts (`checks`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from zoptim.lm import checks

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


def setting(group: str, default: Any, check: checks.Check, metavar: str, says: str, *, bare: str = "") -> Any:
    """A field under a heading of `GROUPS`: `check` makes its value, `bare` is what its flag alone means."""
    metadata = {"group": group, "check": check, "help": says, "metavar": metavar}
    if bare:
        metadata["bare"] = bare
    if default is dict:
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Every setting, in the order of a written config: its type and default, then its line of help."""

    # fmt: off
    model: str = setting("model", "packaged:smollm2-135m", checks.text, "MODEL",
        "a hub id, a local folder, a GGUF file, or packaged:NAME")
    train: str = setting("model", "auto", checks.text, "PATTERN",
        "which weights move: final-norm, last-block, norms, scales, all, or a pattern on names; "
        "auto: the adapter, scales for qzo, all for split, else final-norm")
    adapter: str | None = setting("model", None, checks.text, "ADAPTER",
        "train an adapter instead: lora, or a PEFT folder")
    dtype: str = setting("model", "float32", checks.choice("float32", "bfloat16", "float16"), "DTYPE",
        "of the weights")
    quantize: str = setting("model", "none", checks.choice("none", "int4", "int8"), "none|int4|int8",
        "round the linear layers to int4 or int8 when the model is opened")
    quantize_group: int | Auto = setting("model", "auto", checks.auto(checks.count()), "N",
        "weights that share a scale with --quantize; auto: 128")
    max_length: int | None = setting("model", None, checks.count(2), "N",
        "tokens an example may have; what is scored is kept")
    task: str | None = setting("data", None, checks.text, "TASK",
        "a packaged task: data, prompt and split in one")
    data: str | None = setting("data", None, checks.text, "FILE",
        "your training examples: JSONL or CSV")
    template: str | None = setting("data", None, checks.text, "TEXT",
        'the prompt, with columns in braces: "{text} It was"')
    candidates: tuple[str, ...] | None = setting("data", None, checks.texts, "TEXT",
        'the answers to choose from, in label order: " terrible, great"')
    label: str | None = setting("data", None, checks.text, "COLUMN",
        "the column that says which is right")
    completion: str | None = setting("data", None, checks.text, "COLUMN",
        "the column to be written after the prompt")
    train_limit: int | None = setting("data", None, checks.count(), "N",
        "training examples used, at most (else all; 8,192 where a prefix is cached)")
    dev: str | None = setting("data", None, checks.text, "FILE",
        "examples to choose by (else a tenth, by hash of the text)")
    test: str | None = setting("data", None, checks.text, "FILE",
        "examples for the last word (else a tenth, likewise)")
    chat: str = setting("data", "auto", checks.choice("auto", "yes", "no"), "WHEN",
        "use the model's chat template")
    method: str = setting("method", "fzoo", checks.text, "NAME",
        "how it moves; list them: zoptim methods")
    settings: dict[str, Any] = setting("method", dict, checks.settings, "KEY=VALUE",
        "a setting of the method (list: zoptim methods NAME); may be repeated")
    objective: str = setting("method", "loss", checks.objective, "NAME",
        "what is lowered: loss, accuracy, f1, python:MODULE:FUNCTION")
    lr: float | Auto = setting("method", "auto", checks.auto(checks.number()), "NUMBER",
        "step size; auto measures one first")
    eps: float | Auto = setting("method", "auto", checks.auto(checks.number()), "NUMBER",
        "radius of probes; auto measures one")
    batch: int | Auto = setting("method", "auto", checks.auto(checks.count()), "N",
        "examples a step; auto: 16 to 512, by what a forward costs")
    memory_limit: float | None = setting("machine", None, checks.number(), "GB",
        "refuse a run that would hold more (estimated first)")
    micro_batch: int | None = setting("machine", None, checks.count(), "N",
        "examples through the model at once: less memory, the same step")
    master: str = setting("method", "none", checks.choice("none", "float32"), "DTYPE",
        "float32: half-precision weights learn through a copy (4 bytes a trained number)")
    seed: int = setting("method", 0, checks.count(0), "N",
        "of noise and batches: same seed, same run")
    steps: int | None = setting("budget", None, checks.count(), "N",
        "at most so many steps")
    forwards: int | None = setting("budget", None, checks.count(), "N",
        "at most so many forward passes of one batch")
    minutes: float | None = setting("budget", None, checks.number(), "X",
        "at most so long, setting up excluded")
    patience: int | None = setting("budget", None, checks.count(), "N",
        "stop after so many evaluations without a better one")
    eval_every: int | Auto = setting("watching", "auto", checks.auto(checks.count()), "N",
        "steps between evaluations on dev; auto: 40 over the run")
    sharpness_every: int | None = setting("watching", None, checks.count(), "N",
        "steps between estimates of the Hessian's trace (forwards apart from the budget)")
    dev_limit: int | None = setting("watching", 2000, checks.count(), "N",
        "dev examples looked at, at most")
    at: str = setting("watching", "best", checks.choice("best", "last"), "best|last",
        "which weights are the result")
    out: Path = setting("machine", Path("auto"), checks.text, "RUN",
        "the run's folder; auto is runs/TASK-METHOD-SEED")
    cache_gb: float = setting("machine", 2.0, checks.number(open_end=False), "GB",
        "prefix cache in memory up to here, else on disk")
    stream: bool = setting("machine", False, checks.switch, "YES",
        "stream the weights from their safetensors: a model larger than memory")
    window_gb: float | Auto = setting("machine", "auto", checks.auto(checks.number()), "GB",
        "weights in memory at once with --stream, at most")
    points_per_pass: int | Auto = setting("machine", "auto", checks.auto(checks.count()), "N",
        "points that share a pass: fewer, less memory (a loss may differ in its last bits)")
    threads: int | None = setting("machine", None, checks.count(1, 4096), "N",
        "CPU threads (else as docs/threads.md says)")
    processes: int = setting("machine", 1, checks.count(1, 256), "N",
        "share the points of a step out over so many processes of one thread each (Linux, macOS)")
    compile: str = setting("machine", "no", checks.choice("no", "yes"), "yes|no",
        "compile what is not perturbed, if it pays", bare="yes")
    # fmt: on

"""The method a config asks for, and what it cannot be part of: refused before a model is opened.

Only what the config alone can tell.  What needs the model, the examples or a measurement is refused where that is
known: `session`, `memory.refuse`, `plan.with_batch`, `reexecute.fits`.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from .. import methods
from ..method import Method
from .config import Config
from .errors import UsageError, closest

if TYPE_CHECKING:
    from .objectives import Goal  # it imports torch, and this file answers before that is loaded


def method_for(config: Config, lr: float, eps: float) -> Method:
    """The method a config asks for, with this lr and eps."""
    for name in ("lr", "eps"):
        if name in config.settings:
            given = config.settings[name]
            raise UsageError(
                f"settings={name}={given}: it has a flag of its own, --{name} {given}, or {name}={given!r} in Python, "
                f"which is {getattr(config, name)!r}; give it there alone"
            )
    try:
        return methods.build(config.method, {**config.settings, "lr": lr, "eps": eps})
    except ValueError as error:
        raise UsageError(f"method={config.method}: {error}") from None


def check(config: Config) -> None:
    """Refuse a method, settings and flags that cannot go together.

    Raises:
        UsageError: an unknown setting or one out of range; a flag the method cannot be part of.
    """
    method = method_for(config, 1.0, 1.0)
    _derivatives(config, method)
    _parts(config, method)
    needed = getattr(method.probe, "examples", None)
    if needed and config.batch not in ("auto", needed):
        raise UsageError(
            f"batch={config.batch}: {config.method} asks each of its n={needed} examples at a point of its own; leave "
            f"--batch out, or give --batch and --set n= the same number"
        )
    if config.method == "qzo" and config.quantize == "none":
        raise UsageError(
            "method='qzo': it moves the scales of quantized layers, and quantize='none' leaves the model without any; "
            "add --quantize int4, or take --method mezo"
        )
    if getattr(method.directions, "follows", False) and config.master != "none":
        raise UsageError(
            f"master={config.master!r} does not go with method={method.name}: its directions follow the weights, of "
            "which visits see the rounded image and updates the master; leave one out"
        )
    if config.train == "scales" and config.quantize == "none":
        raise UsageError(
            "train='scales': they belong to quantized layers, and quantize='none'; add --quantize int4, or train others"
        )
    if around_choice(config) and config.adapter:
        raise UsageError(
            f"adapter={config.adapter!r} does not go with method='senszoq' and quantize={config.quantize!r}, which train "
            "chosen weights of the quantized layers themselves; leave one of the three out"
        )
    half = config.dtype != "float32" and config.adapter is None  # an adapter is float32 on any model
    if half and getattr(method.probe, "fine", False):
        raise UsageError(
            f"dtype={config.dtype!r} does not go with method={method.name}: it compares places that lie closer "
            "together than half precision can tell apart; give --dtype float32, or another method"
        )


def around_choice(config: Config) -> bool:
    """Whether layers are quantised only when the weights to train are chosen: see `quantized`."""
    return config.quantize != "none" and config.method == "senszoq"


def refuse_streamed(method: Method, defers: bool) -> None:
    """Refuse a method that keeps numbers beside weights that are streamed; `defers`: those that are trained are.

    Raises:
        UsageError: with what would help.
    """
    if defers and (
        method.rule.vectors or not method.directions.memoryless or getattr(method.probe, "order", 0)
    ):
        raise UsageError(
            f"method={method.name}: it keeps numbers beside the weights, which cannot be streamed; "
            "train less (what is small stays in memory), or use a method without (mezo, fzoo, lozo; zoptim methods)"
        )


def refuse_names(config: Config, names: Sequence[str]) -> None:
    """Refuse a setting that is a pattern on names of trained tensors and fits none of them.

    Raises:
        UsageError: with the closest that does.
    """
    floored = config.settings.get("floored")
    if floored is None or any(fnmatchcase(name, floored) for name in names):
        return
    ends = ["*", *("*" + name.rpartition(".")[2] for name in names)]
    near = closest(floored, [*ends, *names])
    hint = closest(floored, ends) if near.startswith("known") else near
    raise UsageError(
        f"floored={floored!r} fits none of the {len(names)} tensors that are trained, so none would end at 0; {hint}"
    )


def refuse_whole(config: Config, goal: Goal) -> None:
    """Refuse an objective that is one number a batch where every example, or every part of a batch, needs its own.

    Raises:
        UsageError: naming what asks for it.
    """
    if goal.each:
        return
    probe = method_for(config, 1.0, 1.0).probe
    says = f"objective={goal.name!r} is one number a batch, and "
    if getattr(probe, "examples", None):
        raise UsageError(
            f"{says}method={config.method} needs a loss of every example; use --objective loss or accuracy, or another "
            "method"
        )
    if getattr(probe, "sample", 1) > 1:
        raise UsageError(
            f"{says}method={config.method} asks of several batches at once; use --objective loss or accuracy, or "
            "--set sample=1"
        )
    if config.micro_batch is not None:
        raise UsageError(
            f"{says}micro_batch={config.micro_batch} would cut the batch into parts; leave one out"
        )


def _derivatives(config: Config, method: Method) -> None:
    """What a backward pass, or one with dual numbers, cannot be part of."""
    if method.first is None and not getattr(method.probe, "order", 0):
        return
    why = f"does not go with method={method.name}, which also takes "
    why += "exact slopes: " if method.first is None else "gradients: "
    if config.stream:
        raise UsageError(
            f"stream={config.stream} {why}they need all weights at once, so it cannot be streamed; leave one out"
        )
    if config.compile != "no":
        raise UsageError(
            f"compile={config.compile!r} {why}blocks are compiled for forwards alone; leave one out"
        )
    if config.quantize != "none":
        raise UsageError(
            f"quantize={config.quantize!r} {why}quantized layers have no derivative here; leave one out"
        )
    if config.objective != "loss":
        raise UsageError(f"objective={config.objective!r} {why}only the loss has one; leave one out")


def _parts(config: Config, method: Method) -> None:
    """What leaves the gradient or the probes nothing, as far as no model is needed to tell; the rest: `reexecute.fits`."""
    first = method.first
    if first is None:
        return
    if first.blocks and config.adapter is None and config.train in ("final-norm", "last-block"):
        raise UsageError(
            f"train={config.train!r}: method={method.name}: blocks={first.blocks} leaves probes nothing, for what is trained "
            "lies in or behind the last block; give --train all, or name earlier blocks too"
        )
    if first.blocks and config.master != "none":
        raise UsageError(
            f"master={config.master!r} does not go with method={method.name}: a float32 master cannot be split; leave one out"
        )
    if first.threshold and config.max_length and first.threshold >= config.max_length:
        raise UsageError(
            f"threshold={first.threshold}: no example is longer than max_length={config.max_length}, so probes have none; "
            "give one below it, or 0"
        )

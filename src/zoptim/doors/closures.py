"""A training loop's closure as an objective: asked once a point, or once for all where it takes the view.

Not here: steps and checkpoints (`optimizer`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from ..method import Method
from ..protocols import BATCH, Now, Objective
from ..spaces.visit import Visit


def takes_view(closure: Callable[..., Any]) -> bool:
    """Whether a closure asks for the view: it has a positional parameter without a default."""
    try:
        parameters = inspect.signature(closure).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(p.kind in positional and p.default is p.empty for p in parameters)


def one_by_one(closure: Callable[[], Any]) -> Objective:
    def ask(view: Visit) -> Any:
        values = numbers(closure())
        if values.ndim > 1:
            raise ValueError(
                f"closure: returned shape {values.shape}; return a scalar or one loss an item (B,)"
            )
        return values.reshape(1, *values.shape)

    return ask


def lockstep(closure: Callable[[Visit], Any]) -> Objective:
    def ask(view: Visit) -> Any:
        values = numbers(closure(view))
        if values.ndim == 0 and view.m == 1:
            values = values.reshape(1)
        if values.ndim not in (1, 2) or values.shape[0] != view.m:
            raise ValueError(
                f"closure(view): returned shape {values.shape}; return ({view.m},) or ({view.m}, items) losses, "
                "e.g. view.split(losses)"
            )
        return values

    return ask


def numbers(answer: Any) -> Any:
    if isinstance(answer, Tensor):
        if forward_ad.unpack_dual(answer).tangent is not None:  # type: ignore[no-untyped-call]
            return answer  # a slope is asked
        answer = answer.detach().to("cpu", torch.float64).numpy()
    try:
        return np.asarray(answer if answer is not None else "", dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(
            f"closure: returned {type(answer).__name__}; return the loss, a number or a tensor"
        ) from None


def refuse_items(method: Method) -> None:
    """A closure answers for its one batch: refuse probes that ask single examples, or several batches."""
    asked = next(method.probe.rounds(0, Now(1.0, 1.0)))
    if any(point.items != BATCH for point in asked):
        raise ValueError(
            f"method={method.name}: it asks single examples or several batches at a time, and a closure answers for the "
            "one it holds; use zoptim.finetune, or engine.Run with an objective that looks at view.items"
        )

"""`--compile`: blocks of the model through torch.compile, where that pays.

A perturbed layer is Python that asks a kernel for its weights chunk by chunk: no compiler sees through it, and
nine tenths of such a step are matrix products that are as fast as they get.  So a block runs compiled only in
calls in which none of its layers is perturbed: evaluations, and frozen blocks during a step.  One forward of real
examples is compared and timed both ways first; the compiled one is kept if it gives the same logits and
takes less time.  These forwards count towards no budget.

Not here: lockstep (`spaces`), what need not run at all (`prefix`).

Cost: the compiler's time, tens of seconds for a new model; three forwards each way.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..spaces.module import NEAR
from .encode import collate
from .errors import UsageError
from .models import blocks
from .session import Session

GAIN = 0.97  # share of the plain forward's time a compiled one may take to be kept


def settle_compile(session: Session) -> str:
    """Compile the blocks, keep them compiled or put everything back; what was found, in one line."""
    if session.compiled:
        return "compile: blocks run compiled where none of their weights is perturbed"
    try:
        layers = list(blocks(session.loaded.model))
    except UsageError:
        return "compile: left aside, the model has no list of blocks"
    ids = torch.from_numpy(collate(session.splits["train"].items[:8], session.scorer.pad_id).ids)
    plain, before = _measured(session, ids)
    began = time.monotonic()
    try:
        _install(layers, torch.compile(lambda block, *a, **kw: type(block).forward(block, *a, **kw)))
        _measured(session, ids, repeats=1)
        took = time.monotonic() - began
        compiled, after = _measured(session, ids)
    except Exception as error:  # no compiler at hand, or a forward it cannot take: any error means no
        _remove(layers)
        reason = (str(error).strip().splitlines() or [""])[0][:160]
        remedy = "; install a C++ compiler (g++)" if "ompiler" in f"{type(error).__name__} {reason}" else ""
        return f"compile: left aside, {type(error).__name__}: {reason}{remedy}"
    gap = float((compiled - plain).abs().max() / plain.abs().max())
    rate = f"{after:.3g} s a forward, {before:.3g} s plain, {took:.0f} s to compile"
    if not gap <= max(10 * NEAR.get(p.dtype, 0.0) for p in session.loaded.model.parameters()):
        _remove(layers)
        return f"compile: left aside, logits differ by {gap:.1g} of the largest"
    if after > GAIN * before:
        _remove(layers)
        return f"compile: left aside, it does not pay here ({rate})"
    session.compiled = True
    return f"compile: blocks run compiled where none of their weights is perturbed ({rate}); steps on them do not"


def _measured(session: Session, ids: torch.Tensor, repeats: int = 3) -> tuple[torch.Tensor, float]:
    """Last logits and the least seconds of a forward."""
    model: Any = session.loaded.model
    best = float("inf")
    with torch.no_grad():
        for _ in range(repeats):
            began = time.perf_counter()
            out = model(input_ids=ids, use_cache=False, output_hidden_states=False).logits[:, -1].double()
            best = min(best, time.perf_counter() - began)
    return out, best


def _install(layers: list[nn.Module], run: Callable[..., Any]) -> None:
    for block in layers:
        block.__dict__["forward"] = _forward(block, list(block.modules()), run)


def _forward(block: nn.Module, inside: list[nn.Module], run: Callable[..., Any]) -> Callable[..., Any]:
    inner = [m for m in inside if m is not block]

    def forward(*args: Any, **kwargs: Any) -> Any:
        perturbed = any("forward" in m.__dict__ for m in inner) or block.__dict__["forward"] is not forward
        if perturbed or kwargs.get("past_key_values") is not None:
            return type(block).forward(block, *args, **kwargs)
        return run(block, *args, **kwargs)

    return forward


def _remove(layers: list[nn.Module]) -> None:
    for block in layers:
        block.__dict__.pop("forward", None)

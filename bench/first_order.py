"""The yardstick with gradients: AdamW, LoRA with AdamW and SGD on the same weights, prompts, batches and candidates.

A step is one forward and one backward; it is counted as three forwards, a backward being about two, and its seconds
and memory are measured.  What it is not: a part of the package; its own methods that use gradients are on the shelf.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bench.shelf_cell import STEP, Cell, Clock, Lab, Watch
from zoptim.lm.adapters import redraw


class Baseline(NamedTuple):
    """An optimizer and the step size its grid is laid around."""

    says: str
    make: Callable[[list[nn.Parameter], float], torch.optim.Optimizer]
    lr: float
    rank: int = 0  # of LoRA; 0: the weights themselves


BASELINES = {
    "adamw": Baseline("AdamW", lambda p, lr: torch.optim.AdamW(p, lr, weight_decay=0.0), 3e-4),
    "lora_adamw": Baseline(
        "LoRA (rank 8) with AdamW", lambda p, lr: torch.optim.AdamW(p, lr, weight_decay=0.0), 1e-3, 8
    ),
    "sgd": Baseline("SGD", lambda p, lr: torch.optim.SGD(p, lr), 1e-1),
}


def loss(lab: Lab, which: Sequence[int] | Any) -> Tensor:
    """Mean cross-entropy over the candidates, as the forward methods' objective is, with a gradient."""
    return lab.session.loss(lab.session.splits["train"], which)()


@contextmanager
def parameters(lab: Lab, baseline: Baseline, seed: int) -> Iterator[list[nn.Parameter]]:
    """What is trained: the weights of the lab's space, or LoRA matrices on its linear layers; gone afterwards."""
    model, space = lab.session.loaded.model, lab.session.space
    names = {slot.name for slot in space.slots()}
    held = {n: p for n, p in model.named_parameters() if n in names}
    if not baseline.rank:
        try:
            for p in held.values():
                p.requires_grad_(True)
            yield list(held.values())
        finally:
            for p in held.values():
                p.requires_grad_(False)
                p.grad = None
        return
    import peft

    owners = {n.rpartition(".")[0] for n in names}
    targets = [
        n for n, m in model.named_modules() if n in owners and isinstance(m, nn.Linear) and n != "lm_head"
    ]
    config = peft.LoraConfig(r=baseline.rank, lora_alpha=2 * baseline.rank, target_modules=targets)
    with torch.random.fork_rng(devices=[]):
        peft.inject_adapter_in_model(config, model)
    model.peft_config = {"default": config}
    redraw(model, seed)
    model.eval()
    try:
        yield [p for p in model.parameters() if p.requires_grad]
    finally:
        for name in targets:
            parent, _, leaf = name.rpartition(".")
            layer: Any = model.get_submodule(name)
            setattr(model.get_submodule(parent), leaf, layer.base_layer)
        del model.peft_config
        model.requires_grad_(False)


def course(lab: Lab, cell: Cell, evaluations: int) -> dict[str, Any]:
    """A baseline from its first to its last step."""
    baseline, clock, order = BASELINES[cell.method], Clock(), lab.order(cell)
    lr, steps = baseline.lr * cell.factor, cell.forwards // STEP
    seen = Watch(lab, cell, clock, evaluations, steps)
    with parameters(lab, baseline, cell.seed) as trained:
        optimizer = baseline.make(trained, lr)
        for t in range(steps):
            seen.maybe(t, STEP * t)
            with clock:
                for group in optimizer.param_groups:
                    group["lr"] = lr * (1 + math.cos(math.pi * t / steps)) / 2
                seen.losses.append(_step(lab, optimizer, order(t)))
        ended = seen.end(steps, STEP * steps)
    return {
        "centre": {"lr": baseline.lr, "forwards": 0}, "lr": lr, "eps": None, "settings": {"rank": baseline.rank},
        "steps": steps, "a_step": STEP, "forwards": steps, "backwards": steps,
        **ended,
    }  # fmt: skip


def _step(lab: Lab, optimizer: torch.optim.Optimizer, which: Any) -> float:
    optimizer.zero_grad()
    value = loss(lab, which)
    value.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return float(value.detach())


def trial(lab: Lab, cell: Cell, steps: int) -> float:
    """A few steps that change next to nothing, for memory and time; seconds a step."""
    baseline, order = BASELINES[cell.method], lab.order(cell)
    taken = []
    with parameters(lab, baseline, cell.seed) as trained:
        optimizer = baseline.make(trained, 1e-12)
        for t in range(steps):
            with Clock() as clock:
                _step(lab, optimizer, order(t))
            taken.append(clock.wall / STEP)
    return sorted(taken)[len(taken) // 2]

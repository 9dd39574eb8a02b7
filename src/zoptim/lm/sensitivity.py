"""Which weights matter: the choice a sparse run (SensZOQ) trains, made once before its first step.

    gradient      sum over examples of (dL/dtheta_j)^2, the diagonal of the empirical Fisher matrix; the largest over
                  all trained weights (arXiv 2406.02913).  The one place where a run of forward passes may go backward
    activations   |theta_j| * rms of what it multiplies, of linear layers' matrices; the largest of each (the score of
                  Wanda, arXiv 2306.11695).  Forward passes alone
    magnitude, random: of each tensor, see `directions.Choosing`

Measured on the loss of training examples, one at a time; the paper takes pre-training texts.  Not here: how a choice
is stored (`masks`), what a direction along it is (`directions.sparse`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..directions import Choosing
from ..directions.sparse import count, top
from ..method import Method, begun
from ..methods.grasp import grasp
from ..noise import permutation
from ..protocols import Point
from .batches import Order
from .encode import Item
from .errors import RunError, UsageError
from .masks import chosen, pack
from .quantized import is_quantized
from .session import STILL, SUBSET, Session
from .units import duration

TEXTS = 64  # examples the choice is measured on
GRASP = 192  # directions of ZO-GraSP (the paper's)


def choose(
    session: Session, method: Method, key: int, say: Callable[[str], None]
) -> tuple[Method, dict[str, Any] | None]:
    """The method with its choice made, and what the run's header records of it; None: a method that has none.

    Raises:
        UsageError: a choice that cannot be made of these weights.
        RunError: a gradient that is not finite.

    Cost: TEXTS examples forward, and back for "gradient"; then 12 bytes a trained weight while it is measured.
    """
    if not isinstance(method.directions, Choosing):
        return method, None
    by, began = how(session, method), time.monotonic()
    items = session.splits["train"].items
    items = [items[i] for i in permutation(key, SUBSET + 1, len(items))[:TEXTS]]
    slots = session.space.slots()
    if by == "gradient":
        positions = by_gradient(session, items, method.directions.density)
    elif by == "activations":
        positions = by_activations(session, items, method.directions.density)
    else:
        state = begun(method.directions, session.space, key)
        positions, items = {s.name: state[s.id] for s in slots}, []
    d = sum(int(np.prod(s.shape)) for s in slots)
    seconds = time.monotonic() - began
    packed = {name: pack(p) for name, p in positions.items() if len(p)}
    found: dict[str, Any] = {
        "by": by, "count": sum(map(len, positions.values())), "of": d, "examples": len(items),
        "backwards": len(items) if by == "gradient" else 0, "seconds": round(seconds, 3),
        "positions": packed,
    }  # fmt: skip
    on = f", measured on {len(items)} examples in {duration(seconds)}" if items else ""
    say(f"mask by {by}: {found['count']:,} of {d:,} weights in {len(packed)} tensors{on}")
    return chosen(method, positions, slots), found


def balance(session: Session, method: Method, key: int, order: Order, say: Callable[[str], None]) -> int:
    """ZO-GraSP, where the method asks for it (`deepzero`, keep below 1): shares into the config's settings; forwards.

    Cost: 2n + 2 forwards of a batch; a vector of the trained weights' size.
    """
    keep = method.arguments.get("keep", 1.0) if method.name == "deepzero" else 1.0
    if keep == 1.0 or method.arguments["shares"]:
        return 0
    train = session.splits["train"]
    shares = grasp(session.space, session.objective(train, order(0)), key=key, keep=keep, n=GRASP)
    session.config = replace(session.config, settings={**session.config.settings, "shares": shares})
    top = sorted(shares, key=lambda name: -shares[name])[:3]
    said = ", ".join(f"{name} {shares[name]:.0%}" for name in top)
    say(f"ZO-GraSP keeps {keep:.0%} of the matrices, by {2 * GRASP + 2} forwards; most of {said}")
    return 2 * GRASP + 2


def how(session: Session, method: Method) -> str:
    """What "auto" means here; refused where it cannot be measured."""
    by = str(method.arguments["mask"])
    backward = session.stream is None and not is_quantized(session.loaded.model)
    if by == "auto":
        return "gradient" if backward else "activations"
    if by == "gradient" and not backward:
        raise UsageError(
            "mask='gradient': streamed or quantized weights have no backward pass; measure by forward passes, mask=activations"
        )
    return by


def numbers_held(session: Session, method: Method) -> int:
    """Numbers a trained weight that measuring holds for a while: a gradient, the sum of squares, and a copy to sort."""
    return 3 if isinstance(method.directions, Choosing) and how(session, method) == "gradient" else 0


def stand_in(method: Method) -> Method:
    """The method with any choice of the same size, where only its cost matters."""
    if not isinstance(method.directions, Choosing):
        return method
    return replace(method, directions=replace(method.directions, choice="random"))


# -- by gradient ----------------------------------------------------------------------------------------


def by_gradient(session: Session, items: Sequence[Item], density: float) -> dict[str, np.ndarray]:
    """The largest sums of squared gradients over all trained weights."""
    slots = session.space.slots()
    sizes = [int(np.prod(s.shape)) for s in slots]
    edges = np.cumsum([0, *sizes]).tolist()
    total = torch.zeros(edges[-1])
    with _tracked([session.space.parameter(s) for s in slots]) as parameters:
        for item in items:
            with session.space.visit([Point(())], STILL, None) as view, torch.enable_grad():
                loss = _loss(session.scorer.full(view, [item]), item)
                grads = torch.autograd.grad(loss, parameters, allow_unused=True)
            for start, stop, grad in zip(edges[:-1], edges[1:], grads, strict=True):
                if grad is not None:
                    total[start:stop] += grad.float().flatten().square_()
    scores = total.numpy()
    if not np.isfinite(scores).all():
        raise RunError(
            "mask='gradient': a gradient of the loss is not finite; give mask=activations or magnitude"
        )
    best = top(scores, count(len(scores), density))
    cuts = np.searchsorted(best, edges)
    return {s.name: best[a:b] - e for s, a, b, e in zip(slots, cuts[:-1], cuts[1:], edges[:-1], strict=True)}


def _loss(out: Any, item: Item) -> Tensor:
    """The example's cross-entropy: of its candidates, or of its completion's tokens."""
    if out.scores is not None:
        loss: Tensor = -torch.log_softmax(out.scores[0, 0], -1)[item.label]
        return loss
    total: Tensor = -out.logp[0].sum() / out.counts.sum()
    return total


@contextmanager
def _tracked(parameters: list[Tensor]) -> Iterator[list[Tensor]]:
    """Gradients are tracked to these parameters inside the block."""
    before = [p.requires_grad for p in parameters]
    try:
        yield [p.requires_grad_(True) for p in parameters]
    finally:
        for p, was in zip(parameters, before, strict=True):
            p.requires_grad_(was)


# -- by activations -------------------------------------------------------------------------------------


def by_activations(session: Session, items: Sequence[Item], density: float) -> dict[str, np.ndarray]:
    """In each linear layer's matrix the largest |weight| * rms of the input it multiplies.

    Raises:
        UsageError: no linear layer is trained.
    """
    squares: dict[nn.Module, Tensor] = {}

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        x = (args[0] if args else next(iter(kwargs.values()))).detach().double()
        squares[module] = squares.get(module, torch.zeros(x.shape[-1])) + x.square().flatten(0, -2).sum(0)

    layers = {
        m: slots["weight"] for m, slots in session.space.owners.items() if _side(m) and "weight" in slots
    }
    hooks = [m.register_forward_pre_hook(note, with_kwargs=True) for m in layers]
    try:
        for item in items:
            with session.space.visit([Point(())], STILL, None) as view:
                session.scorer(view, [item])
    finally:
        for hook in hooks:
            hook.remove()
    found = {}
    for module, slot in layers.items():
        if module in squares:
            with session.space.tensor(slot) as p:
                rms = squares[module].sqrt().to(torch.float32)
                scores = p.detach().abs().float() * (rms if _side(module) == "columns" else rms[:, None])
            found[slot.name] = top(scores.flatten().numpy(), count(scores.numel(), density))
    if not found:
        raise UsageError(
            "mask='activations' scores the matrices of linear layers, and none is trained: give mask=gradient or "
            "magnitude, or train others (--train)"
        )
    return found


def _side(module: nn.Module) -> str:
    """Along which side of its matrix a layer's input lies; "": not a linear layer."""
    if isinstance(module, nn.Linear):
        return "columns"
    return "rows" if type(module).__name__ == "Conv1D" and hasattr(module, "nf") else ""

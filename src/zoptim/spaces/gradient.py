"""Gradients of a module space, one tensor at a time: a forward that keeps its graph, a backward that keeps no gradient.

    with graph(space, loss) as g:    g.value is known, no weight has moved
        g.back(write)                write(slot, gradient), as soon as a tensor's gradient is whole; then it is dropped

`write` may move the tensor at once: nothing later in the backward reads it (autograd checks versions, and would
raise).  So one tensor's gradient is alive at a time (LOMO; Addax, arXiv 2410.06441).  `at` gives other values for
some tensors (SAM's ascent point): layers then own those, and the weights themselves are not touched.

Not here: what is done with a gradient (`drivers.hybrid`), what a loss is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TypeAlias

import torch
from torch import Tensor, nn

from ..protocols import Slot
from .module import Module

Loss: TypeAlias = Callable[[], Tensor]  # () -> a scalar, or one loss an item, of the model where it stands
Write: TypeAlias = Callable[[Slot, Tensor], None]  # slot, its gradient as (rows, cols)


class Graph:
    """A loss at a point, and the way back from it, once."""

    def __init__(self, loss: Tensor, leaves: Mapping[Slot, Tensor]) -> None:
        self.value, self._loss, self._leaves = float(loss.detach().double()), loss, leaves

    def back(self, write: Write) -> None:
        """Hand every slot's gradient to `write`, in the order the backward meets them; slots it does not meet: none.

        Cost: about two forwards; memory: the activations of one forward, and one tensor's gradient.
        """
        slots = {leaf: slot for slot, leaf in self._leaves.items()}

        def take(leaf: Tensor) -> None:
            grad, leaf.grad = leaf.grad, None
            assert grad is not None
            with torch.no_grad():
                write(slots[leaf], grad.reshape(leaf.shape[0] if leaf.dim() else 1, -1))

        hooks = [
            leaf.register_post_accumulate_grad_hook(take)  # type: ignore[no-untyped-call]
            for leaf in self._leaves.values()
        ]
        try:
            torch.autograd.backward(self._loss, inputs=list(self._leaves.values()))
        finally:
            for hook in hooks:
                hook.remove()
            for leaf in self._leaves.values():
                leaf.grad = None


@contextmanager
def graph(space: Module, loss: Loss, at: Mapping[int, Tensor] | None = None) -> Iterator[Graph]:
    """The loss of the model where it stands, or at `at` (slot id -> tensor), with its graph.

    Raises:
        TypeError: a loss that no gradient can be taken of: it does not reach the trained weights.
    """
    space.model.eval()  # a training forward would change buffers and draw noise
    with ExitStack() as undo:
        if at is None:
            leaves = {slot: space.parameter(slot) for slot in space.slots()}
            for leaf in leaves.values():
                undo.callback(leaf.requires_grad_, leaf.requires_grad)
                undo.callback(setattr, leaf, "grad", leaf.grad)  # the user's own, if there is one
                leaf.requires_grad_(True)
                leaf.grad = None
        else:
            leaves = {slot: nn.Parameter(at[slot.id]) for slot in space.slots()}
            for module, held in space.owners.items():
                for name, slot in held.items():
                    undo.callback(module._parameters.__setitem__, name, module._parameters[name])
                    module._parameters[name] = leaves[slot]  # type: ignore[assignment]
        with torch.enable_grad():
            answer = loss()
            answer = answer.mean() if isinstance(answer, Tensor) else answer
        if not isinstance(answer, Tensor) or not answer.requires_grad:
            raise TypeError(
                "loss: no gradient reaches the trained weights; return the loss as a torch tensor, computed from the "
                "model without detach(), item() or torch.no_grad()"
            )
        yield Graph(answer, leaves)

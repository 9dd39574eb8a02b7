"""Forward-mode derivatives of a module space: a visit whose answer is the loss's slope along a point's sum.

    d/ds L(theta + s sum scale * z) at s = 0      exact, by dual numbers (torch.autograd.forward_ad)

The model runs once with dual parameters in place of its own; nothing is written and nothing is kept for a backward.
Attention runs in plain products, as torch's fused kernels have no forward-mode formula.

Not here: values at points (`module`), gradients (`gradient`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..protocols import Directions, Objective, Point, Slot, State
from .visit import Visit


class Owning(Protocol):
    """What a slope is asked of: a space of modules that own what moves."""

    owners: dict[nn.Module, dict[str, Slot]]
    swapped: set[nn.Module]  # those whose forward is not called

    def slots(self) -> Sequence[Slot]: ...

    def parameter(self, slot: Slot) -> Tensor: ...

    def widen(self, p: Tensor) -> Tensor: ...


class Sloped(Visit):
    """A visit of one point, asked for a slope.

    Cost: about two forwards; memory: a second copy of what is trained, and of one layer's activations.
    """

    def __init__(self, space: Owning, point: Point, directions: Directions, state: State) -> None:
        super().__init__([point], directions, state)
        self._space, self._of = space, (directions, state)

    def slopes(self, objective: Objective) -> np.ndarray:
        """(1,) float64: the derivative of the reduced loss.

        Raises:
            TypeError: an objective that is not a differentiable function in torch, of weights it reads in modules.
        """
        with forward_ad.dual_level(), sdpa_kernel(SDPBackend.MATH), self._duals():
            answer = objective(self)
            values, weights = answer if isinstance(answer, tuple) else (answer, None)
            if not isinstance(values, Tensor):
                values = torch.zeros(())
            tangent: Tensor | None = forward_ad.unpack_dual(values).tangent  # type: ignore[no-untyped-call]
        if tangent is None:
            raise TypeError(
                "objective: forward-mode derivatives need a differentiable objective; return its losses as a torch "
                "tensor computed from the model, without numpy, item() or detach(), or use a method of differences"
            )
        each = tangent.double().reshape(-1).numpy()
        w = np.ones(len(each)) if weights is None else np.asarray(weights, dtype=np.float64)
        return np.array([(each * w).sum() / w.sum()])

    @contextmanager
    def _duals(self) -> Iterator[None]:
        space = self._space
        duals: dict[int, Any] = {}
        directions, state = self._of
        if space.swapped:
            raise TypeError(
                "the model reads parameters past their modules' forward: their slopes cannot be asked"
            )
        for slot in space.slots():
            p = space.parameter(slot).detach()
            flat = p.contiguous().view(p.shape[0] if p.dim() else 1, -1)
            wide = space.widen(flat)
            out = torch.empty_like(wide)
            directions.form(out[None], slot, slice(0, len(out)), self.mix, None, state, at=wide)
            tangent = out.view(p.shape).to(p.dtype)
            with warnings.catch_warnings():  # torch loads formulas of its own in a way it deprecates
                warnings.simplefilter("ignore", DeprecationWarning)
                duals[slot.id] = forward_ad.make_dual(p, tangent)  # type: ignore[no-untyped-call]
        with ExitStack() as undo:
            for module, held in space.owners.items():
                for name, slot in held.items():
                    undo.callback(module._parameters.__setitem__, name, module._parameters[name])
                    module._parameters[name] = duals[slot.id]  # reads of it find a tensor, all they ask
            yield

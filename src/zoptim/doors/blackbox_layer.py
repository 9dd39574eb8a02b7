"""`zoptim.blackbox_layer`: a function without derivatives as a layer, so that what lies before it can be trained.

    layer = zoptim.blackbox_layer(lambda x: np.round(x.numpy()), eps=0.5, n=8, seed=0)
    loss = criterion(head(layer(body(x))), y);   loss.backward()          body gets an estimate, head its gradient

Backward, for a row x (n_in,) with the gradient G of its output (the two-sided estimate of arXiv 2305.17333, row by row):

    x's gradient = 1/n sum_i < G, f(x + eps z_i) - f(x - eps z_i) > / (2 eps) z_i,      z_i signs

In the mean this is the gradient of <G, f> smoothed over distances of about eps; on a linear f it is J^T G.  z_i is the
noise (key of the seed, t = how many calls asked for gradients before, i): nothing is drawn, nothing is stored.

What it is not: a method for weights (that is `zoptim.Optimizer`), nor a way to differentiate the estimate again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from .. import kernels
from ..noise import key_from_seed, slot_id

SLOT = slot_id("zoptim.blackbox_layer")


class BlackboxLayer(nn.Module):
    """What `blackbox_layer` returns.  No parameters; `calls` is in the state dict, so a resumed run goes on alike."""

    def __init__(self, f: Callable[[Tensor], Any], eps: float, n: int, seed: int) -> None:
        super().__init__()
        if not callable(f):
            raise TypeError(f"f={f!r}: give a function of a (B, n) tensor that returns (B, ...)")
        number = isinstance(eps, int | float) and not isinstance(eps, bool)
        if not (number and 0 < eps < float("inf")):
            raise ValueError(f"eps={eps!r} must be a positive finite number, in units of the layer's input")
        if isinstance(n, bool) or not (isinstance(n, int) and 1 <= n < 1 << 24):
            raise ValueError(f"n={n!r} must be a whole number of draws from 1")
        self.f, self.eps, self.n, self.key = f, float(eps), n, key_from_seed(seed)
        self.calls = 0  # so far that asked for gradients: t of the next one's noise

    def forward(self, x: Tensor) -> Tensor:
        """f at x (B, n_in): (B, ...).  Cost: one call of f; of backward, 2n more."""
        if x.dim() != 2 or x.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"blackbox_layer: x is {x.dtype} of shape {tuple(x.shape)}; it must be float32 or float64 of shape (B, n): "
                "use x.float(), x.flatten(1)"
            )
        if not (torch.is_grad_enabled() and x.requires_grad):
            return self.ask(x)
        t, self.calls = self.calls, self.calls + 1
        return _Estimate.apply(x, self, t)  # type: ignore[no-any-return, no-untyped-call]

    @torch.no_grad()
    def ask(self, x: Tensor) -> Tensor:
        """f's answer as a tensor like x, with x's gradients out of its reach."""
        y = self.f(x.detach())
        y = (
            y.to(x)
            if isinstance(y, Tensor)
            else torch.as_tensor(np.asarray(y), dtype=x.dtype, device=x.device)
        )
        if y.dim() == 0 or len(y) != len(x):
            raise ValueError(
                f"blackbox_layer: f returned shape {tuple(y.shape)} for {len(x)} rows; it must return a row for each"
            )
        return y.detach().clone()  # f may return a buffer of its own, or x itself

    def product(self, x: Tensor, grad: Tensor, t: int) -> Tensor:
        """The estimate of J^T grad, row by row: (B, n_in)."""
        found, z = torch.zeros_like(x), torch.empty_like(x, memory_format=torch.contiguous_format)
        shape = (len(x), grad[0].numel() if len(x) else 0)
        for i in range(self.n):
            kernels.form(
                z[None], None, law="signs", key=self.key, slot=SLOT, rows=slice(0, len(x)), draws=((t, i),),
                coefs=np.ones((1, 1)),
            )  # fmt: skip
            difference = self.ask(x + self.eps * z) - self.ask(x - self.eps * z)
            slope = torch.einsum("bk,bk->b", grad.reshape(shape), difference.reshape(shape)) / (
                2 * self.eps * self.n
            )
            found += slope[:, None] * z
        return found

    def extra_repr(self) -> str:
        return f"{getattr(self.f, '__name__', type(self.f).__name__)}, eps={self.eps:g}, n={self.n}"

    def get_extra_state(self) -> dict[str, int]:
        return {"calls": self.calls}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.calls = int(state["calls"])


class _Estimate(Function):
    """The boundary: f forwards, estimated backwards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: BlackboxLayer, t: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.layer, ctx.t = layer, t
        return layer.ask(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return ctx.layer.product(x, grad, ctx.t), None, None


def blackbox_layer(f: Callable[[Tensor], Any], eps: float = 1e-2, *, n: int = 8, seed: int) -> BlackboxLayer:
    """A function without derivatives as a torch layer, whose backward is estimated from 2n more calls of it.

    Args:
        f: takes (B, n_in), a detached tensor (`x.numpy()` for numpy), returns (B, ...), an array or a tensor; each row
            from its own row only, and the same for the same x at every call.  It must not write to x.
        eps: radius, in units of the layer's input: far enough that f changes by more than its rounding, and over its
            steps where it has steps.
        n: draws a backward; the estimate's squared error is about n_in / n of the gradient's square.
        seed: of the noise; each such layer of a network needs its own, or their errors correlate and do not cancel.

    Returns:
        A module without parameters.

    Raises:
        TypeError, ValueError: f is not callable; eps, n or seed out of range; at a call, x of another shape or dtype,
            or an answer without a row for each row of x.

    Cost: forward, one call of f; backward, 2n calls with B rows each and two copies of x; none of them where no
        gradient is asked for (torch.no_grad(), an input that needs none).

    Example:
        >>> layer = blackbox_layer(lambda x: 3 * x, n=1, seed=0)
        >>> x = torch.ones(2, 1, requires_grad=True)
        >>> layer(x).sum().backward()
        >>> [round(g, 4) for g in x.grad.flatten().tolist()]
        [3.0, 3.0]
    """
    return BlackboxLayer(f, eps, n, seed)

"""How a layer computes at several points at once, never writing a weight.

    Linear            x (W + s Z)^T in one native product that forms W + s Z as it multiplies (float32)
    ... else, Conv1D  in row chunks: each is formed in a scratch that fits the cache and multiplied
    with low-rank directions   x W^T at once for all points, plus (x V) U^T at each: nothing is formed
    Embedding         only the rows looked up are formed; one with a forward of its own (scaled, offset) runs
                      it once, with only its lookup replaced
    norms             normalized once, then one formed weight a point
    anything else     in `others`: convolutions, once per point what remains

Inputs and outputs are point-major: (m * B, ...) for m points in flight.  Not here: which modules are visited,
and whether their answers can be trusted (`module`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..protocols import Slot, chunks
from . import others, quantized
from .visit import PAIR, Visit
from .watch import Lookups, ReadDirectly

# Elements of scratch: 8 MB of float32, inside a shared cache, whatever the number of points.  Wider products pay.
SCRATCH = 1 << 21


def handler(visit: Visit, module: nn.Module, slots: dict[str, Slot]) -> Callable[..., Any]:
    """The forward of an owner of trained parameters while it is visited."""
    compute = _kind(module)
    original = functools.partial(type(module).forward, module)
    call = module.__dict__.get("forward", original)  # someone may have given this very module another one

    def forward(*args: Any, **kwargs: Any) -> Any:
        visit.called.add(module)
        if compute is _lookups:
            with visit.unwatched():
                return _lookups(visit, module, slots, call, args, kwargs)
        names = [name for name in kwargs if name != "rows"]  # `rows` is ours: a head's candidates
        if not args and len(names) == 1:
            args = (kwargs.pop(names[0]),)
            names = []
        if compute is None or len(args) != 1 or names:
            return others.per_point(visit, module, slots, call, visit.unshare(args), kwargs)
        with visit.unwatched():
            return compute(visit, module, slots, *visit.unshare(args), **kwargs)

    return forward


def _kind(module: nn.Module) -> Callable[..., Any] | None:
    """How this module computes at several points; None: once per point, whatever it is."""
    kind = type(module)
    if kind is quantized.QuantLinear and "forward" not in module.__dict__:
        return quantized.at_points
    if "forward" in module.__dict__ or not set(module._parameters) <= {"weight", "bias"}:
        return None
    if kind.forward is nn.Linear.forward:
        return _linear
    if isinstance(module, nn.Embedding) and module.max_norm is None:
        return _embedding if kind.forward is nn.Embedding.forward else _lookups
    if kind.__name__ == "Conv1D" and hasattr(module, "nf"):
        return _conv1d
    if kind.forward in (nn.Conv1d.forward, nn.Conv2d.forward, nn.Conv3d.forward):
        return others.convolution
    if (
        isinstance(module, nn.LayerNorm)
        and kind.forward is nn.LayerNorm.forward
        and len(module.normalized_shape) == 1
    ):
        return _layer_norm
    if kind.__name__.endswith("RMSNorm") and set(module._parameters) == {"weight"} and not _fused(kind):
        return _rms_norm
    return None


def _fused(kind: type[nn.Module]) -> bool:
    """torch's own RMSNorm takes a weight of the normalized shape only."""
    return kind.forward is getattr(getattr(nn, "RMSNorm", None), "forward", None)


def _linear(
    visit: Visit, module: nn.Linear, slots: dict[str, Slot], x: Tensor, rows: np.ndarray | None = None
) -> Tensor:
    """x (width * N.., in) -> (width * N.., out); `rows`: only these outputs (a head's candidates)."""
    weight, bias = module.weight, module.bias
    m = visit.width
    xs = x.reshape(m, -1, x.shape[-1])
    if rows is not None:
        base = weight[torch.from_numpy(rows)]
        w = visit.form(slots["weight"], rows, base) if "weight" in slots else base.expand(m, *base.shape)
        y = torch.bmm(xs, w.transpose(1, 2))
    elif "weight" not in slots:
        y = visit.plain(xs, weight)
    elif (thin := visit.factors(slots["weight"], weight)) is not None:
        y = visit.plain(xs, weight)
        for p, u, vt in thin:
            y[p].addmm_(xs[p] @ vt.T, u.T)
    elif not visit.multiply(y := xs.new_empty(m, xs.shape[1], weight.shape[0]), xs, slots["weight"], weight):
        for part, points, w in _formed(visit, slots["weight"], weight):
            for p, one in zip(range(m)[points], w, strict=True):
                torch.mm(xs[p], one.T, out=y[p, :, part])
    if bias is not None:
        part = slice(0, bias.shape[0])
        b = visit.form(slots["bias"], part, bias[:, None])[:, :, 0] if "bias" in slots else bias.expand(m, -1)
        y += (b if rows is None else b[:, torch.from_numpy(rows)])[:, None, :]
    return y.view(*x.shape[:-1], y.shape[-1])


def _conv1d(visit: Visit, module: Any, slots: dict[str, Slot], x: Tensor) -> Tensor:
    """GPT-2's x W + b with W (in, out): chunks over the inputs are accumulated."""
    weight, bias = module.weight, module.bias
    m = visit.width
    xs = x.reshape(m, -1, x.shape[-1])
    n_out = weight.shape[1]
    if "bias" in slots:
        b = visit.form(slots["bias"], slice(0, n_out), bias[:, None], own=True)[:, :, 0]
    else:
        b = bias.expand(m, -1)
    y = b[:, None, :].repeat(1, xs.shape[1], 1)
    if "weight" not in slots:
        y += torch.matmul(xs, weight)
    elif (thin := visit.factors(slots["weight"], weight)) is not None:
        y += torch.matmul(xs, weight)
        for p, u, vt in thin:
            y[p].addmm_(xs[p] @ u, vt)
    else:
        for part, points, w in _formed(visit, slots["weight"], weight):
            for p, one in zip(range(m)[points], w, strict=True):
                y[p].addmm_(xs[p][:, part], one)
    return y.view(*x.shape[:-1], n_out)


def _formed(visit: Visit, slot: Slot, weight: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
    """(rows, points, their weights) until all rows have been formed at all points.

    Products want many rows, the scratch must stay in the cache: so points are formed two at a time, and an
    unperturbed point reads the weight itself.
    """
    rows, cols = weight.shape
    parts = max(1, -(-rows * cols * min(PAIR, visit.width) // SCRATCH))
    step = -(-rows // (64 * parts)) * 64  # even parts, of whole panels
    for part in chunks(rows, cols, step * cols):
        base = weight[part]
        for points in visit.pairs():
            with visit.only(points):
                yield part, points, visit.form(slot, part, base) if visit.moved else base[None]


def _embedding(visit: Visit, module: nn.Embedding, slots: dict[str, Slot], ids: Tensor) -> Tensor:
    """Noise only for the rows looked up, each made once."""
    m = visit.width
    rows, where = torch.unique(ids, return_inverse=True)
    table = visit.form(slots["weight"], rows.numpy(), module.weight[rows])
    where = where.view(m, -1)
    out = torch.stack([table[p][where[p]] for p in range(m)])
    return out.view(*ids.shape, -1)


def _lookups(
    visit: Visit, module: nn.Embedding, slots: dict[str, Slot], call: Callable[..., Any], args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:  # fmt: skip
    """An embedding's own forward, its lookups made at the points: only the rows looked up are formed."""

    def lookup(ids: Tensor) -> Tensor:
        return _embedding(visit, module, slots, *visit.unshare((ids,)))

    try:
        with Lookups(module.weight, lookup):
            return call(*args, **kwargs)
    except ReadDirectly:
        return others.per_point(visit, module, slots, call, visit.unshare(args), kwargs)


def _rms_norm(visit: Visit, module: nn.Module, slots: dict[str, Slot], x: Tensor) -> Tensor:
    """A norm that ends in weight * x: all points in one call, the weight broadcast over (m, N, D)."""
    weight = module._parameters["weight"]
    assert weight is not None
    w = visit.form(slots["weight"], slice(0, weight.shape[0]), weight[:, None])[:, None, :, 0]
    try:
        module._parameters["weight"] = w  # type: ignore[assignment]
        y: Tensor = type(module).forward(module, x.reshape(visit.width, -1, x.shape[-1]))
    finally:
        module._parameters["weight"] = weight
    return y.view(x.shape)


def _layer_norm(visit: Visit, module: nn.LayerNorm, slots: dict[str, Slot], x: Tensor) -> Tensor:
    """Normalized once for all points, then scaled and shifted point by point."""
    m = visit.width
    y = nn.functional.layer_norm(x, module.normalized_shape, eps=module.eps).view(m, -1, x.shape[-1])
    for name, combine in (("weight", torch.mul), ("bias", torch.add)):
        p = module._parameters[name]
        if p is not None:
            formed = (
                visit.form(slots[name], slice(0, p.shape[0]), p[:, None])[:, None, :, 0]
                if name in slots
                else p
            )
            y = combine(y, formed)
    return y.view(x.shape)


@contextmanager
def override(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Give one module instance another forward for a while."""
    had = module.__dict__.get("forward")
    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        if had is None:
            del module.__dict__["forward"]
        else:
            module.__dict__["forward"] = had

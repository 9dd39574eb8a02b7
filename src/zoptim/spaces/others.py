"""Layers without a kernel of their own at several points: convolutions, whatever remains.

    Conv1d, 2d, 3d    one convolution a point with its formed weight, noise made once a pair of points
    anything else     once per point on that point's rows, with perturbed parameters swapped in

Measured on one AVX-512 core, 8 x 64 x 32 x 32, 3 x 3 kernels: a convolution a point beats one grouped over
points, whose input has to be interleaved first (LOG.md).  Not here: linear layers, embeddings and norms (`layers`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..protocols import Slot
from .nested import each, tensors
from .visit import Visit

FORMED = 1 << 20  # elements of a convolution's weight up to which two points are formed at once


def convolution(visit: Visit, module: Any, slots: dict[str, Slot], x: Tensor) -> Tensor:
    """x (width * B, C, ...) -> (width * B, O, ...); weights are formed whole, as no chunk of them fits a call.

    Raises:
        RuntimeError: an input without a batch dimension, whose points cannot be told apart.

    Memory: the layer's weight, twice where it is small.
    """
    weight, bias, m = module.weight, module.bias, visit.width
    if m > 1 and x.dim() < weight.dim():
        raise RuntimeError(f"{type(module).__name__}: an input of shape {tuple(x.shape)} has no rows")
    flat = weight.reshape(weight.shape[0], -1)
    b = [bias] * m
    if "bias" in slots:
        b = list(visit.form(slots["bias"], slice(0, len(bias)), bias[:, None], own=True)[:, :, 0])
    xs = x.chunk(m) if m > 1 else (x,)
    small = "weight" in slots and flat.numel() <= FORMED
    y = []
    for points in visit.pairs() if small else [slice(p, p + 1) for p in range(m)]:
        with visit.only(points):
            if "weight" in slots and visit.moved:
                formed = visit.form(slots["weight"], slice(0, len(flat)), flat).view(-1, *weight.shape)
            else:
                formed = weight[None]
            for p, one in zip(range(m)[points], formed, strict=True):
                y.append(module._conv_forward(xs[p], one, b[p]))
    return y[0] if m == 1 else torch.cat(y)


# -- anything else ---------------------------------------------------------------------------------------


def per_point(
    visit: Visit, module: nn.Module, slots: dict[str, Slot], call: Callable[..., Any], args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:  # fmt: skip
    """Any other module: once per point, on that point's rows, with perturbed parameters swapped in.

    A module that is given no rows of the batch (nothing, or a table of positions) is asked at every point too:
    an answer of one row then stands for all rows of its point.

    Raises:
        RuntimeError: answers that cannot be told apart by points.
    """
    m = visit.width
    lead = next((x.shape[0] for x in tensors((args, kwargs)) if x.dim()), 0)
    apart = lead > 1 and lead % m == 0
    outs = []
    for p in range(m):
        with visit.only(p), swapped(visit, module, slots, 0):
            if m > 1 and apart:
                outs.append(call(*_rows_of(args, p, m, lead), **_rows_of(kwargs, p, m, lead)))
            else:
                outs.append(call(*args, **kwargs))
    if m == 1:
        return outs[0]
    rows = lead // m if apart else visit.rows
    return _join([_own(out, p, visit, rows, apart) for p, out in enumerate(outs)])


def _rows_of(x: Any, p: int, m: int, lead: int) -> Any:
    """Point p's rows of whatever holds `lead` rows, the rest as it is."""
    if isinstance(x, Tensor):
        return x.chunk(m)[p] if x.dim() and x.shape[0] == lead else x
    if isinstance(x, tuple | list | dict):
        return each(x, lambda value: _rows_of(value, p, m, lead))
    return x


def _own(x: Any, p: int, visit: Visit, rows: int, apart: bool) -> Any:
    """Point p's answer with a row for each of its rows: one stands for all; all points' rows are cut."""
    if isinstance(x, Tensor):
        if x.dim() and x.shape[0] == 1:
            return x.expand(rows, *x.shape[1:])
        if apart:
            return x
        if x.dim() and x.shape[0] == visit.width * rows:
            return x.chunk(visit.width)[p]
        raise RuntimeError(f"an answer of shape {tuple(x.shape)} is not that of {visit.width} points")
    if isinstance(x, tuple | list | Mapping):
        return each(x, lambda value: _own(value, p, visit, rows, apart))
    return x


def _join(outs: list[Any]) -> Any:
    """The answers of several points as one, point-major."""
    first = outs[0]
    if first is None:
        return first
    if isinstance(first, Tensor):
        return torch.cat(outs)
    if isinstance(first, Mapping):
        joined = {key: _join([out[key] for out in outs]) for key in first}
        return joined if type(first) is dict else type(first)(**joined)
    if isinstance(first, tuple | list):
        parts = [_join(list(same)) for same in zip(*outs, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    raise RuntimeError(f"answers of type {type(first).__name__} cannot be joined over points")


@contextmanager
def swapped(visit: Visit, module: nn.Module, slots: dict[str, Slot], p: int) -> Iterator[None]:
    """Put the point's whole perturbed tensors in place of the module's own, which are not touched."""
    own = {name: module._parameters[name] for name in slots}
    try:
        with visit.unwatched():
            for name, slot in slots.items() if visit.moved else ():
                base = own[name].detach()  # type: ignore[union-attr]
                flat = base.reshape(base.shape[0] if base.dim() else 1, -1)
                formed = visit.form(slot, slice(0, flat.shape[0]), flat, own=True)[p].view(base.shape)
                module._parameters[name] = formed  # type: ignore[assignment]
        yield
    finally:
        module._parameters.update(own)

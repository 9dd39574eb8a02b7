"""Layers without a kernel of their own at several points: convolutions, other embeddings, whatever remains.

    Conv1d, 2d, 3d    one convolution a point with its formed weight, noise made once a pair of points
    embeddings        with a forward of their own (scaled, offset): it runs once, only its lookup is replaced
    anything else     once per point on that point's rows, with perturbed parameters swapped in

Measured on one AVX-512 core, 8 x 64 x 32 x 32, 3 x 3 kernels: a convolution a point beats one grouped over
points, whose input has to be interleaved first (LOG.md).  Not here: linear layers and norms (`layers`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..protocols import Slot
from .watch import Lookups, ReadDirectly

if TYPE_CHECKING:
    from .layers import Visit

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


def lookups(
    visit: Visit, module: nn.Embedding, slots: dict[str, Slot], call: Callable[..., Any], args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:  # fmt: skip
    """An embedding's own forward, its lookups made at the points: only the rows looked up are formed."""
    from .layers import _embedding

    def lookup(ids: Tensor) -> Tensor:
        return _embedding(visit, module, slots, *visit.unshare((ids,)))

    try:
        with Lookups(module.weight, lookup):
            return call(*args, **kwargs)
    except ReadDirectly:
        return per_point(visit, module, slots, call, visit.unshare(args), kwargs)


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
    lead = next((x.shape[0] for x in _tensors((args, kwargs)) if x.dim()), 0)
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


def _tensors(x: Any) -> Iterator[Tensor]:
    if isinstance(x, Tensor):
        yield x
    elif isinstance(x, tuple | list | dict):
        for value in x.values() if isinstance(x, dict) else x:
            yield from _tensors(value)


def _each(x: Any, change: Callable[[Any], Any]) -> Any:
    """`change` of every entry of a tuple, list or mapping, in a container of the same kind."""
    if isinstance(x, Mapping):
        values = {key: change(value) for key, value in x.items()}
        return values if type(x) is dict else type(x)(**values)
    return type(x)(*map(change, x)) if hasattr(x, "_fields") else type(x)(map(change, x))


def each_tensor(x: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """`change` of every tensor in tuples, lists and dicts; whatever else as it is."""
    if isinstance(x, Tensor):
        return change(x)
    return _each(x, lambda value: each_tensor(value, change)) if isinstance(x, tuple | list | dict) else x


def _rows_of(x: Any, p: int, m: int, lead: int) -> Any:
    """Point p's rows of whatever holds `lead` rows, the rest as it is."""
    if isinstance(x, Tensor):
        return x.chunk(m)[p] if x.dim() and x.shape[0] == lead else x
    if isinstance(x, tuple | list | dict):
        return _each(x, lambda value: _rows_of(value, p, m, lead))
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
        return _each(x, lambda value: _own(value, p, visit, rows, apart))
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

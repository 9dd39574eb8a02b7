"""How a layer computes at several points at once, never writing a weight.

    Linear, Conv1D    x (W + s Z)^T in row chunks: each is formed in a scratch that fits the cache and multiplied
    with low-rank directions   x W^T at once for all points, plus (x V) U^T at each: nothing is formed
    Embedding         only the rows looked up are formed
    norms             normalized once, then one formed weight a point
    anything else     once per point on that point's rows, with perturbed parameters swapped in

Inputs and outputs are point-major: (m * B, ...) for m points in flight.  Not here: which modules are visited,
and whether their answers can be trusted (`module`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..protocols import Directions, Mix, Point, Rows, Slot, State, chunks

# Elements of scratch: 8 MB of float32, inside a shared cache, whatever the number of points.  Wider products pay.
SCRATCH = 1 << 21
PAIR = 2  # points formed at once: a two-sided pair shares its noise; more would make the products too thin


class Visit:
    """m points being visited: what objectives see, and what layers ask for their perturbed weights."""

    def __init__(self, points: Sequence[Point], directions: Directions, state: State) -> None:
        self.m = len(points)
        self.mix = Mix.of(*(point.terms for point in points))
        self.rows = 1  # B, known once the objective has called `expand`
        self.active = slice(0, self.m)  # narrowed while a module runs once per point
        self.called: set[nn.Module] = set()
        self._directions, self._state = directions, state
        self._scratch: dict[torch.dtype, Tensor] = {}

    @property
    def width(self) -> int:
        """Points in flight at this moment."""
        return self.active.stop - self.active.start

    def expand(self, x: Tensor) -> Tensor:
        """(B, ...) -> (m * B, ...), point-major: the model input of a visit."""
        self.rows = x.shape[0]
        return x if self.m == 1 else x.repeat(self.m, *[1] * (x.dim() - 1))

    def split(self, x: Tensor) -> Tensor:
        """(m * B, ...) -> (m, B, ...)."""
        return x.reshape(self.m, -1, *x.shape[1:])

    def unshare(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """A first argument of one row (position numbers) stands for all rows of all points: give each its own."""
        if self.width == 1 or not args or not isinstance(args[0], Tensor) or not args[0].dim():
            return args
        x = args[0]
        if x.shape[0] == 1:
            x = x.expand(self.width * self.rows, *x.shape[1:])
        elif x.shape[0] % self.width:
            raise RuntimeError(f"{x.shape[0]} rows cannot be those of {self.width} points")
        return (x, *args[1:])

    def form(self, slot: Slot, rows: Rows, base: Tensor, own: bool = False) -> Tensor:
        """base (rows, cols) at every point in flight: (width, rows, cols).

        Valid until the next call, unless `own` asks for memory of its own.
        """
        size = self.width * base.numel()
        if own:
            out = base.new_empty(size)
        else:
            out = self._scratch.get(base.dtype, base.new_empty(0))
            if out.numel() < size:
                out = self._scratch[base.dtype] = base.new_empty(size)
        out = out[:size].view(self.width, *base.shape)
        mix = Mix(self.mix.draws, self.mix.coefs[self.active])
        self._directions.form(out, slot, rows, mix, base, self._state)
        return out

    def factors(self, slot: Slot, weight: Tensor) -> tuple[list[int], Tensor, Tensor] | None:
        """Low-rank directions: (perturbed points in flight, their U (n, rows, R), V^T (R, cols)), else None.

        In the weight's dtype: half precision rounds the factors, not base + Z.
        """
        make = getattr(self._directions, "factors", None)
        coefs = self.mix.coefs[self.active]
        points = np.flatnonzero(coefs.any(axis=1))
        thin = make(slot, Mix(self.mix.draws, coefs[points]), weight, self._state) if make else None
        return thin and (points.tolist(), thin[0].to(weight.dtype), thin[1].to(weight.dtype))

    @property
    def moved(self) -> bool:
        """Whether any point in flight is perturbed."""
        return bool(self.mix.coefs[self.active].any())

    def pairs(self) -> list[slice]:
        """The points in flight, two by two; an unperturbed point goes alone."""
        still = (self.mix.coefs[self.active] == 0.0).all(axis=1).tolist()
        cuts, start = [], 0
        while start < self.width:
            stop = start + 1
            while stop < min(start + PAIR, self.width) and not (still[start] or still[stop]):
                stop += 1
            cuts.append(slice(start, stop))
            start = stop
        return cuts

    @contextmanager
    def only(self, points: int | slice) -> Iterator[None]:
        """Narrow the visit to some of its points in flight."""
        if isinstance(points, int):
            points = slice(points, points + 1)
        before = self.active
        self.active = slice(before.start + points.start, before.start + points.stop)
        try:
            yield
        finally:
            self.active = before


def handler(visit: Visit, module: nn.Module, slots: dict[str, Slot]) -> Callable[..., Any]:
    kind = type(module)
    if kind.forward is nn.Linear.forward:
        compute: Callable[..., Any] = _linear
    elif kind.forward is nn.Embedding.forward and module.max_norm is None:
        compute = _embedding
    elif kind.__name__ == "Conv1D" and hasattr(module, "nf"):
        compute = _conv1d
    elif (
        isinstance(module, nn.LayerNorm)
        and kind.forward is nn.LayerNorm.forward
        and len(module.normalized_shape) == 1
    ):
        compute = _layer_norm
    elif kind.__name__.endswith("RMSNorm") and set(module._parameters) == {"weight"} and not _fused(kind):
        compute = _rms_norm
    else:
        compute = _per_point

    def forward(*args: Any, **kwargs: Any) -> Any:
        visit.called.add(module)
        if compute is not _per_point and "input" in kwargs:
            args = (kwargs.pop("input"), *args)
        return compute(visit, module, slots, *visit.unshare(args), **kwargs)

    return forward


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
        y = torch.matmul(xs, weight.T)
    elif thin := visit.factors(slots["weight"], weight):
        y = torch.matmul(xs, weight.T)
        for p, u in zip(thin[0], thin[1], strict=True):
            y[p].addmm_(xs[p] @ thin[2].T, u.T)
    else:
        y = xs.new_empty(m, xs.shape[1], weight.shape[0])
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
    elif thin := visit.factors(slots["weight"], weight):
        y += torch.matmul(xs, weight)
        for p, u in zip(thin[0], thin[1], strict=True):
            y[p].addmm_(xs[p] @ u, thin[2])
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


def _per_point(visit: Visit, module: nn.Module, slots: dict[str, Slot], *args: Any, **kwargs: Any) -> Any:
    """Any other module: once per point, on that point's rows, with perturbed parameters swapped in."""
    m = visit.width
    tensors = (a for a in (*args, *kwargs.values()) if isinstance(a, Tensor) and a.dim())
    lead = next((a.shape[0] for a in tensors), 0)
    if m > 1 and (not lead or lead % m):
        raise RuntimeError(f"{type(module).__name__}: {lead} rows cannot be those of {m} points")

    def rows_of(x: Any, p: int) -> Any:
        if m == 1:
            return x
        if isinstance(x, Tensor) and x.dim() and x.shape[0] == lead:
            return x.view(m, lead // m, *x.shape[1:])[p] if x.is_contiguous() else x.chunk(m)[p]
        if isinstance(x, tuple | list):
            return type(x)(rows_of(v, p) for v in x)
        return x

    outs = []
    for p in range(m):
        with visit.only(p), swapped(visit, module, slots, 0):
            inner = type(module).forward
            outs.append(inner(module, *rows_of(args, p), **{k: rows_of(v, p) for k, v in kwargs.items()}))
    return _join(outs)


def _join(outs: list[Any]) -> Any:
    """The answers of several points as one, point-major."""
    first = outs[0]
    if len(outs) == 1 or first is None:
        return first
    if isinstance(first, Tensor):
        return torch.cat(outs)
    if isinstance(first, Mapping):
        return type(first)(**{key: _join([out[key] for out in outs]) for key in first})
    if isinstance(first, tuple | list):
        parts = [_join(list(same)) for same in zip(*outs, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    raise RuntimeError(f"answers of type {type(first).__name__} cannot be joined over points")


@contextmanager
def swapped(visit: Visit, module: nn.Module, slots: dict[str, Slot], p: int) -> Iterator[None]:
    """Put the point's whole perturbed tensors in place of the module's own, which are not touched."""
    own = {name: module._parameters[name] for name in slots}
    try:
        for name, slot in slots.items():
            base = own[name].detach()  # type: ignore[union-attr]
            flat = base.reshape(base.shape[0] if base.dim() else 1, -1)
            formed = visit.form(slot, slice(0, flat.shape[0]), flat, own=True)[p].view(base.shape)
            module._parameters[name] = formed  # type: ignore[assignment]
        yield
    finally:
        module._parameters.update(own)


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

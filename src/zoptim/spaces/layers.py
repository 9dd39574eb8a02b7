"""How a layer computes at several points at once, never writing a weight.

    Linear            x (W + s Z)^T in one native product that forms W + s Z as it multiplies (float32)
    ... else, Conv1D  in row chunks: each is formed in a scratch that fits the cache and multiplied
    with low-rank directions   x W^T at once for all points, plus (x V) U^T at each: nothing is formed
    Embedding         only the rows looked up are formed
    norms             normalized once, then one formed weight a point
    anything else     in `others`: convolutions, other embeddings, once per point what remains

Inputs and outputs are point-major: (m * B, ...) for m points in flight.  Not here: which modules are visited,
and whether their answers can be trusted (`module`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..kernels.product import product, scratch_size
from ..protocols import Directions, Mix, Partial, Point, Rows, Slot, State, chunks
from . import others
from .watch import Reads

# Elements of scratch: 8 MB of float32, inside a shared cache, whatever the number of points.  Wider products pay.
SCRATCH = 1 << 21
KERNELS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)  # others by way of float32
PAIR = 2  # points formed at once: a two-sided pair shares its noise; more would make the products too thin


class Visit:
    """m points being visited: what objectives see, and what layers ask for their perturbed weights."""

    def __init__(self, points: Sequence[Point], directions: Directions, state: State) -> None:
        self.m = len(points)
        self.items = tuple(point.items for point in points)
        self.mix = Mix.of(*(point.terms for point in points))
        self.lone = False  # set by an objective that asks every point about examples of its own, point-major
        self.rows = 1  # B, known once the objective has called `expand`
        self.active = slice(0, self.m)  # narrowed while a module runs once per point
        self.called: set[nn.Module] = set()
        self.watch: Reads | None = None  # only while `module.check` looks for parameters read directly
        self.directions = directions
        self.shares = False  # what is in front of the first moved block is computed once for all points
        self.alike: bool | None = None  # whether the rows still are those of all points; None: not entered
        self._state = state
        self._scratch: dict[torch.dtype, Tensor] = {}
        self._packed = torch.empty(0)

    @property
    def width(self) -> int:
        """Points in flight at this moment."""
        return self.active.stop - self.active.start

    def expand(self, x: Tensor) -> Tensor:
        """(B, ...) -> (m * B, ...), point-major: the model input of a visit."""
        self.rows = x.shape[0] // (self.m if self.lone else 1)
        return x if self.m == 1 or self.lone else x.repeat(self.m, *[1] * (x.dim() - 1))

    def enter(self, x: Tensor) -> Tensor:
        """A model's input, like `expand`; (B, ...) itself where rows may become the points' on the way.

        What comes out is then made the points' by `apart`.
        """
        self.alike = self.shares
        if not self.shares:
            return self.expand(x)
        self.rows = x.shape[0]
        return x

    def apart(self, x: Tensor) -> Tensor:
        """(m * B, ...) of what came through the model: repeated if no moved block was on the way."""
        alike, self.alike = self.alike, None
        return self.expand(x) if alike else x

    def arrive(self, moved: bool, module: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        """Before a block: from the first moved one on, whatever has B rows gets those of every point."""
        if self.alike is None or (self.alike and not moved):
            return None
        self.alike = False
        return others.each_tensor(args, self._spread), others.each_tensor(kwargs, self._spread)

    def _spread(self, x: Tensor) -> Tensor:
        rows = x.dim() > 1 and x.shape[0] == self.rows
        return x.repeat(self.m, *[1] * (x.dim() - 1)) if rows else x

    def touches(self, slot: Slot) -> bool:
        """Whether a point of the visit moves this slot."""
        if not isinstance(self.directions, Partial):
            return True
        return bool(self.directions.touches(slot, self.mix.draws, self._state).any())

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
        base = base.contiguous()  # parameters may be views in any layout
        if base.dtype not in KERNELS:
            return self.form(slot, rows, base.float(), own).to(base.dtype)
        size = self.width * base.numel()
        if own:
            out = base.new_empty(size)
        else:
            out = self._scratch.get(base.dtype, base.new_empty(0))
            if out.numel() < size:
                out = self._scratch[base.dtype] = base.new_empty(size)
        out = out[:size].view(self.width, *base.shape)
        mix = Mix(self.mix.draws, self.mix.coefs[self.active])
        self.directions.form(out, slot, rows, mix, base, self._state)
        return out

    def multiply(self, y: Tensor, x: Tensor, slot: Slot, weight: Tensor) -> bool:
        """y[p] = x[p] weight_p^T for the points in flight, where directions and kernels know how."""
        multiply = getattr(self.directions, "multiply", None)
        if not multiply or not self._room(x, weight):
            return False
        mix = Mix(self.mix.draws, self.mix.coefs[self.active])
        return bool(multiply(y, x.contiguous(), slot, mix, weight, self._state, self._packed))

    def plain(self, x: Tensor, weight: Tensor) -> Tensor:
        """x[p] weight^T for the points in flight: the same unperturbed weight for all."""
        if not self._room(x, weight):
            return torch.matmul(x, weight.T)
        y = x.new_empty(*x.shape[:2], weight.shape[0])
        none = np.zeros((self.width, 0))
        product(y, x.contiguous(), weight, self._packed, law="signs", key=0, slot=0, draws=(), coefs=none)
        return y

    def _room(self, x: Tensor, weight: Tensor) -> bool:
        """Make room for the kernels' product of these; False where they have none."""
        need = scratch_size(x, weight) if weight.is_contiguous() else 0
        if self._packed.numel() < need:
            self._packed = x.new_empty(need)
        return need > 0

    def unwatched(self) -> AbstractContextManager[None]:
        """What is read inside the block is read at the points, so it needs no noting."""
        return nullcontext() if self.watch is None else self.watch.paused()

    def factors(self, slot: Slot, weight: Tensor) -> list[tuple[int, Tensor, Tensor]] | None:
        """Low-rank directions: (point in flight, its U (rows, R), V^T (R, cols)) of each perturbed point, else None.

        Each of its own draws alone, so that a population's members do not carry each other.  In the weight's dtype:
        half precision rounds the factors, not base + Z.
        """
        make = getattr(self.directions, "factors", None)
        thin: list[tuple[int, Tensor, Tensor]] = []
        for p, coefs in enumerate(self.mix.coefs[self.active]) if make else ():
            own = np.flatnonzero(coefs)
            if own.size:
                mix = Mix(tuple(self.mix.draws[k] for k in own), coefs[None, own])
                made = make(slot, mix, weight, self._state)  # type: ignore[misc]
                if made is None:
                    return None
                thin.append((p, made[0][0].to(weight.dtype), made[1].to(weight.dtype)))
        return thin if make else None

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
    """The forward of an owner of trained parameters while it is visited."""
    compute = _kind(module)
    original = functools.partial(type(module).forward, module)
    call = module.__dict__.get("forward", original)  # someone may have given this very module another one

    def forward(*args: Any, **kwargs: Any) -> Any:
        visit.called.add(module)
        if compute is others.lookups:
            with visit.unwatched():
                return others.lookups(visit, module, slots, call, args, kwargs)
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
    if "forward" in module.__dict__ or not set(module._parameters) <= {"weight", "bias"}:
        return None
    if kind.forward is nn.Linear.forward:
        return _linear
    if isinstance(module, nn.Embedding) and module.max_norm is None:
        return _embedding if kind.forward is nn.Embedding.forward else others.lookups
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

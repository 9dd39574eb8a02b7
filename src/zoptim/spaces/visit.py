"""Points while they are visited: what objectives see of them, and what layers ask for their perturbed weights.

Rows are point-major: (m * B, ...) for m points of B rows each.  Not here: how a layer computes with what it is given
(`layers`), which modules are visited (`module`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..kernels.product import product, scratch_size
from ..protocols import Directions, Mix, Partial, Point, Rows, Slot, State
from .nested import each_tensor
from .watch import Reads

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
        self.alike = self.shares and not self.lone
        if not self.alike:
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
        return each_tensor(args, self._spread), each_tensor(kwargs, self._spread)

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

"""A streamed model, laid out: where its tensors lie in a checkpoint, and which of them come and go together.

    unit    each block is one, and so is each other module that owns parameters (embeddings, last norm, head); a
            tensor with several owners belongs to the first, and every owner asks for that unit
    piece   one tensor of a unit: its place in the unit's bytes, and in the model

Not here: when a unit comes and goes (`streamed`, `window`), files (`store`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from ..protocols import Slot
from .store import Checkpoint
from .window import ALIGN

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "I64": torch.int64, "I32": torch.int32,
    "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
CONVERTED = 1 << 20  # bytes converted at a time


@dataclass(frozen=True)
class Source:
    """Where a model's parameters (on the meta device) lie in a checkpoint."""

    checkpoint: Checkpoint
    names: dict[nn.Parameter, str]

    def fill(self, parameter: nn.Parameter, out: Tensor) -> None:
        """The stored tensor in the parameter's dtype, into `out` (contiguous, same shape and dtype)."""
        name = self.names[parameter]
        entry = self.checkpoint.tensors[name]
        stored = DTYPES[entry.dtype]
        flat = out.view(-1)
        if stored == out.dtype:
            self.checkpoint.read(name, flat.view(torch.uint8).numpy())
            return
        step = CONVERTED // stored.itemsize
        raw = np.empty(min(step, flat.numel()) * stored.itemsize, np.uint8)
        for start in range(0, flat.numel(), step):
            part = flat[start : start + step]
            used = raw[: part.numel() * stored.itemsize]
            self.checkpoint.read(name, used, start * stored.itemsize)
            part.copy_(torch.from_numpy(used).view(stored))


@dataclass(eq=False)
class Piece:
    """One tensor of a unit."""

    parameter: nn.Parameter  # on the meta device
    start: int
    nbytes: int
    places: list[tuple[nn.Module, str]]
    slot: Slot | None = None

    def view(self, memory: Tensor) -> Tensor:
        raw = memory[self.start : self.start + self.nbytes]
        return raw.view(self.parameter.dtype).view(self.parameter.shape)


@dataclass(eq=False)
class Unit:
    name: str
    pieces: list[Piece] = field(default_factory=list)
    nbytes: int = 0

    @property
    def trained(self) -> list[Piece]:
        return [piece for piece in self.pieces if piece.slot is not None]


@dataclass(frozen=True, eq=False)
class Layout:
    """Which tensors form which unit, and which units a module needs at once."""

    units: list[Unit]
    pieces: dict[nn.Parameter, tuple[int, Piece]]  # with the number of its unit
    needs: dict[nn.Module, tuple[int, ...]]  # its own first
    homes: dict[nn.Module, nn.Module]  # the block a module lies in
    parents: set[int]  # of modules outside the blocks that compute with their own tensors around others' work


def lay(model: nn.Module, blocks: Sequence[nn.Module], source: Source) -> Layout:
    """The layout of a model whose parameters lie in `source`."""
    home = {inner: block for block in blocks for inner in block.modules()}
    units: list[Unit] = []
    pieces: dict[nn.Parameter, tuple[int, Piece]] = {}
    needs: dict[nn.Module, tuple[int, ...]] = {}
    own: dict[nn.Module, int] = {}
    wanted: dict[nn.Module, dict[int, None]] = {}
    called = {module: name for name, module in model.named_modules()}
    for module in called:
        place = home.get(module, module)
        for attr, p in module._parameters.items():
            if p is None or p not in source.names:
                continue
            if p not in pieces:
                if place not in own:
                    own[place] = len(units)
                    units.append(Unit(called[place]))
                unit = units[own[place]]
                pieces[p] = own[place], Piece(p, unit.nbytes, size_of(p), [])
                unit.pieces.append(pieces[p][1])
                unit.nbytes += -(-size_of(p) // ALIGN) * ALIGN
            number, piece = pieces[p]
            piece.places.append((module, attr))
            wanted.setdefault(place, {})[number] = None
    for module in model.modules():
        found = wanted.get(home.get(module, module))
        if found:
            place = home.get(module, module)
            mine = [own[place]] if place in own else []
            needs[module] = tuple(dict.fromkeys([*mine, *found]))
    parents = {
        u for m, asked in needs.items() if m not in home
        for u in asked if any(inner in needs for inner in m.modules() if inner is not m)
    }  # fmt: skip
    return Layout(units, pieces, needs, home, parents)


def size_of(p: Tensor) -> int:
    """Bytes of a tensor."""
    return p.numel() * p.element_size()

"""Spaces the laws are tried on: a numpy vector and a tiny torch module, each with a way to read a visit.

`read` gives the parameters a visit computes with, by asking each layer a question whose answer is its
weights (the identity, ones, zeros, every row), so that "what was probed" is measured and not believed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from .. import noise
from ..protocols import Directions, Point, Space, State
from ..spaces.flat import Flat
from .functions import objective as asked

Values = dict[int, np.ndarray]  # slot id -> (rows, cols), or (m, rows, cols) where read in a visit

KEY = noise.key_from_seed(99)  # of the subjects' initial values and data, never of a run


def made_up(what: str, *shape: int) -> np.ndarray:
    """Normals of a name: float64 of the given shape."""
    z = noise.normals(KEY, 0, 0, noise.slot_id(what), 0, int(np.prod(shape)), noise.INITIAL)
    return z.astype(np.float64).reshape(shape)


class Subject(Protocol):
    """Something to try a law on; every `make` has the same initial parameters."""

    name: str

    def make(self, one_by_one: bool = False) -> Any: ...

    def ask(self, space: Any) -> Callable[[Any], np.ndarray]: ...

    def bits(self, space: Any) -> bytes: ...

    def values(self, space: Any) -> Values: ...

    def displaced(self, space: Any, base: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Where v leads from base, (rows, cols) all."""
        ...

    def read(self, space: Any, view: Any) -> Values: ...


class FlatSubject:
    """Nine numbers and a non-quadratic bowl, in float32 or float64; `over` is a space of one vector x."""

    def __init__(self, dtype: type, over: Callable[[np.ndarray], Any] = Flat) -> None:
        self.dtype, self.over, self.name = dtype, over, f"{over.__name__.lower()} {np.dtype(dtype).name}"

    def make(self, one_by_one: bool = False) -> Any:
        return self.over(made_up("flat", 9).astype(self.dtype))

    def ask(self, space: Any) -> Callable[[Any], np.ndarray]:
        a = made_up("flat minimum", 9)
        return asked(lambda x: np.log1p(((x.astype(np.float64) - a) ** 2).sum(axis=1)))

    def bits(self, space: Any) -> bytes:
        return bytes(space.x.tobytes())

    def values(self, space: Any) -> Values:
        return {name: x[0] for name, x in self._parted(space, space.x[None]).items()}

    def displaced(self, space: Any, base: np.ndarray, v: np.ndarray) -> np.ndarray:
        manifold = getattr(space, "manifold", None)
        if manifold is None:
            return np.asarray(base + v)
        return np.asarray(manifold.retract(base.ravel(), v.ravel())).reshape(base.shape)

    def read(self, space: Any, view: Any) -> Values:
        return self._parted(space, view.x)

    def _parted(self, space: Any, x: np.ndarray) -> Values:
        """Points (m, d) slot by slot, copies."""
        slots = space.slots()
        ends = np.cumsum([slot.shape[0] for slot in slots])
        parts = np.split(x, ends[:-1], axis=1)
        return {slot.id: part[:, :, None].copy() for slot, part in zip(slots, parts, strict=True)}


class ModuleSubject:
    """An embedding, a linear layer, a bias, an odd leaf and a buffer, in torch."""

    def __init__(self, dtype: str) -> None:
        self.dtype, self.name = dtype, f"module {dtype}"

    def make(self, one_by_one: bool = False) -> Any:
        import torch

        from ..spaces.module import Module

        model = _tiny()
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(torch.from_numpy(made_up(name, *p.shape)))
        names = ["embed.weight", "up.weight", "down.bias", "gain.weight"]
        return Module(model.to(getattr(torch, self.dtype)), names, points_per_pass=1 if one_by_one else None)

    def ask(self, space: Any) -> Callable[[Any], Any]:
        import torch

        ids = torch.arange(12).view(6, 2) % 7

        def objective(view: Any) -> Any:
            return view.split(space.model(view.expand(ids))).double().mean(1)

        return objective

    def bits(self, space: Any) -> bytes:
        return b"".join(x.numpy().tobytes() for x in space.model.state_dict().values())

    def values(self, space: Any) -> Values:
        found = {}
        for slot in space.slots():
            with space.tensor(slot) as p:
                found[slot.id] = p.numpy().copy()
        return found

    def displaced(self, space: Any, base: np.ndarray, v: np.ndarray) -> np.ndarray:
        return np.asarray(base + v)

    def read(self, space: Any, view: Any) -> Values:
        import torch

        model, dtype = space.model, getattr(torch, self.dtype)
        answers = {
            "embed.weight": model.embed(view.expand(torch.arange(7)[:, None])).view(view.m, 7, 4),
            "up.weight": view.split(model.up(view.expand(torch.eye(4, dtype=dtype)))).transpose(1, 2),
            "down.bias": view.split(model.down(view.expand(torch.zeros(1, 3, dtype=dtype)))).transpose(1, 2),
            "gain.weight": view.split(model.gain(view.expand(torch.ones(1, 3, dtype=dtype)))).transpose(1, 2),
        }
        return {s.id: answers[s.name].contiguous().numpy().copy() for s in space.slots()}


def _tiny() -> Any:
    import torch
    from torch import nn

    class Gain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, x: Any) -> Any:
            return x * self.weight

    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.up = nn.Embedding(7, 4), nn.Linear(4, 3, bias=False)
            self.gain, self.norm, self.down = Gain(), nn.BatchNorm1d(3, affine=False), nn.Linear(3, 2)

        def forward(self, ids: Any) -> Any:
            x = self.gain(torch.tanh(self.up(self.embed(ids).mean(1))))
            return (self.down(self.norm(x)) ** 2).sum(-1)

    return Tiny()


def subjects() -> tuple[Subject, ...]:
    """Everything this installation can try: torch is optional."""
    found: list[Subject] = [FlatSubject(np.float32), FlatSubject(np.float64)]
    if find_spec("torch"):
        found += [ModuleSubject("float32"), ModuleSubject("float64")]
    return tuple(found)


class Spy:
    """A space that notes, for every visit, the points and the parameters they were computed with."""

    def __init__(self, subject: Subject) -> None:
        self.subject: Subject = subject
        self.space: Space = subject.make()
        self.seen: list[tuple[Sequence[Point], Values]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.space, name)

    @contextmanager
    def visit(self, points: Sequence[Point], directions: Directions, state: State) -> Iterator[Any]:
        with self.space.visit(points, directions, state) as view:
            self.seen.append((tuple(points), self.subject.read(self.space, view)))
            yield view

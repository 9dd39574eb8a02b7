"""A torch module as a space: points are visited in the layer, never in the weight.

A linear layer computes x (W + s Z)^T in row chunks: each chunk is formed in a scratch that fits the cache
and multiplied at once, so Z is never stored and W never written.  All m points of a round go through the
model together (lockstep): each weight is read and each noise chunk made once for all of them.

    model input of a visit: (m * B, ...), point-major; every layer splits it into m groups

Kinds handled in chunks: Linear, GPT-2's Conv1D, Embedding (only the rows looked up).  Any other module that
owns trained parameters runs once per point on its rows with swapped parameters.  `check` compares lockstep
with one-by-one on a real question before the first step and falls back, saying so.

Not here: what is asked of the model (objectives), and which positions are read (`lm.forward`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import kernels
from ..noise import slot_id
from ..protocols import Directions, Mix, Objective, Point, Rows, Slot, State, chunks

SCRATCH = 1 << 19  # elements of scratch over all points of a chunk: 2 MB of float32
HALF = (torch.bfloat16, torch.float16)


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

    @contextmanager
    def only(self, p: int) -> Iterator[None]:
        """Narrow the visit to its p-th point in flight."""
        before = self.active
        self.active = slice(before.start + p, before.start + p + 1)
        try:
            yield
        finally:
            self.active = before


class Module:
    """The chosen parameters of a torch module.

    Args:
        model: put into eval mode; its other parameters are left alone.
        names: parameter names to train (any alias of a tied one); None: all floating-point parameters.
        points_per_pass: how many points go through the model together; None: a whole round.

    Raises:
        ValueError: an unknown name, no parameters, or two names with one 32-bit address.

    Memory: a scratch of about 2 MB, and the activations of m * B rows.
    """

    def __init__(
        self, model: nn.Module, names: Iterable[str] | None = None, *, points_per_pass: int | None = None
    ) -> None:
        self.model = model.eval()
        self.points_per_pass = points_per_pass
        self.lockstep = True
        self.swapped: set[nn.Module] = set()  # owners whose forward is not called: see `check`
        aliases: dict[int, list[str]] = {}
        tensors: dict[int, Tensor] = {}
        for name, p in model.named_parameters(remove_duplicate=False):
            aliases.setdefault(id(p), []).append(name)
            tensors[id(p)] = p
        chosen = self._chosen(aliases, tensors, names)
        self._slots: list[Slot] = []
        self._tensor: dict[int, Tensor] = {}
        for name, key in sorted((min(aliases[key]), key) for key in chosen):
            slot = Slot(slot_id(name), name, tuple(tensors[key].shape))
            if slot.id in self._tensor:
                raise ValueError(
                    f"parameters {name!r} and another share the noise address {slot.id}: rename one"
                )
            self._slots.append(slot)
            self._tensor[slot.id] = tensors[key]
        by_tensor = {id(self._tensor[s.id]): s for s in self._slots}
        self.owners: dict[nn.Module, dict[str, Slot]] = {}
        for module in model.modules():
            mine = {a: by_tensor[id(p)] for a, p in module._parameters.items() if id(p) in by_tensor}
            if mine:
                self.owners[module] = mine

    @staticmethod
    def _chosen(
        aliases: dict[int, list[str]], tensors: dict[int, Tensor], names: Iterable[str] | None
    ) -> set[int]:
        if names is None:
            chosen = {k for k, p in tensors.items() if p.is_floating_point()}
        else:
            names = list(names)
            by_name = {alias: key for key, group in aliases.items() for alias in group}
            unknown = [n for n in names if n not in by_name]
            if unknown:
                raise ValueError(f"names: the model has no parameter {unknown[0]!r}")
            chosen = {by_name[n] for n in names}
        if not chosen:
            raise ValueError("names: no parameters chosen, nothing to train")
        return chosen

    # -- the space -----------------------------------------------------------------------------------

    def slots(self) -> Sequence[Slot]:
        return self._slots

    def parameter(self, slot: Slot) -> Tensor:
        """The slot's tensor itself."""
        return self._tensor[slot.id]

    def groups(self, points: Sequence[Point]) -> Sequence[Sequence[Point]]:
        size = 1 if not self.lockstep else self.points_per_pass or len(points)
        return [points[i : i + size] for i in range(0, len(points), size)]

    @contextmanager
    def visit(self, points: Sequence[Point], directions: Directions, state: State) -> Iterator[Visit]:
        """Layers compute at `points` inside the block; weights and buffers keep their bits."""
        visit = Visit(points, directions, state)
        if self.model.training:  # a forward would then change buffers and draw noise that no record holds
            self.model.eval()
        with ExitStack() as undo, torch.no_grad():
            if visit.mix.draws:
                for module, slots in self.owners.items():
                    if module in self.swapped:
                        undo.enter_context(_swap(visit, module, slots, 0))
                    else:
                        undo.enter_context(override(module, _handler(visit, module, slots)))
            yield visit

    @contextmanager
    def tensor(self, slot: Slot) -> Iterator[Tensor]:
        p = self._tensor[slot.id].detach()
        flat = p if p.is_contiguous() else p.contiguous()
        yield flat.view(p.shape[0] if p.dim() else 1, -1)
        if flat is not p:
            p.copy_(flat)

    def widen(self, p: Tensor) -> Tensor:
        return p.float() if p.dtype in HALF else p

    def narrow(self, p: Tensor, wide: Tensor, slot: Slot, rows: slice, key: int, t: int) -> None:
        kernels.round_stochastic_(p, wide, key=key, slot=slot.id, offset=rows.start * p.shape[1], t=t)

    def empty_like(self, p: Tensor) -> Tensor:
        return torch.empty_like(p)

    # -- trust, but check ------------------------------------------------------------------------------

    def check(
        self, objective: Objective, points: Sequence[Point], directions: Directions, state: State,
        tolerance: float = 1e-4,
    ) -> str | None:  # fmt: skip
        """Compare lockstep with one-by-one at `points`; on mismatch fall back and say so.

        Modules whose parameters are read without their forward being called are found here, and visited by
        swapping whole perturbed tensors in, one point at a time.

        Cost: 2 * len(points) forwards; at most three more where a module was not called.
        """
        self.lockstep, self.swapped = True, set()
        probe = next((p for p in points if p.terms), None)
        if probe is None:
            return None  # nothing is perturbed
        together = np.array([np.nan])
        try:
            with self.visit(points, directions, state) as view:
                together = _values(objective(view))
        except Exception:  # rows of points got mixed; what is wrong with the question itself is raised below
            with self.visit([probe], directions, state) as view:
                objective(view)
        silent = set(self.owners) - view.called
        if silent and self._reaches(silent, objective, probe, directions, state):
            self.swapped, self.lockstep = silent, False
            return "some parameters are read directly: visiting one point at a time"
        lone = []
        for point in points:
            with self.visit([point], directions, state) as view:
                lone.append(_values(objective(view)))
        alone = np.concatenate(lone)
        scale = max(1e-12, float(np.abs(alone).max()))
        if together.shape == alone.shape and float(np.abs(together - alone).max()) <= tolerance * scale:
            return None
        self.lockstep = False
        return "the model does not treat the rows of a batch apart: visiting one point at a time"

    def _reaches(
        self,
        modules: set[nn.Module],
        objective: Objective,
        probe: Point,
        directions: Directions,
        state: State,
    ) -> bool:
        """Whether parameters of these modules, none of which was called, change the answer all the same."""
        far = Point(tuple((z, 1.0) for z, _ in probe.terms))
        answers = []
        owners = self.owners
        try:
            self.owners, self.swapped = {m: owners[m] for m in modules}, modules
            for point in (far, Point(())):
                with self.visit([point], directions, state) as view:
                    answers.append(_values(objective(view)))
        finally:
            self.owners, self.swapped = owners, set()
        return not np.array_equal(answers[0], answers[1])


def _values(answer: Any) -> np.ndarray:
    return np.asarray(answer[0] if isinstance(answer, tuple) else answer, dtype=np.float64)


# -- how a layer computes at several points -----------------------------------------------------------


def _handler(visit: Visit, module: nn.Module, slots: dict[str, Slot]) -> Callable[..., Any]:
    kind = type(module)
    if kind.forward is nn.Linear.forward:
        compute: Callable[..., Any] = _linear
    elif kind.forward is nn.Embedding.forward and module.max_norm is None:
        compute = _embedding
    elif kind.__name__ == "Conv1D" and hasattr(module, "nf"):
        compute = _conv1d
    else:
        compute = _per_point

    def forward(*args: Any, **kwargs: Any) -> Any:
        visit.called.add(module)
        if compute is not _per_point and "input" in kwargs:
            args = (kwargs.pop("input"), *args)
        return compute(visit, module, slots, *visit.unshare(args), **kwargs)

    return forward


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
    else:
        n_out, n_in = weight.shape
        y = xs.new_empty(m, xs.shape[1], n_out)
        for part in chunks(n_out, n_in * m, SCRATCH):
            w = visit.form(slots["weight"], part, weight[part])
            for p in range(m):
                torch.mm(xs[p], w[p].T, out=y[p, :, part])
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
    n_in, n_out = weight.shape
    if "bias" in slots:
        b = visit.form(slots["bias"], slice(0, n_out), bias[:, None], own=True)[:, :, 0]
    else:
        b = bias.expand(m, -1)
    y = b[:, None, :].repeat(1, xs.shape[1], 1)
    if "weight" not in slots:
        y += torch.matmul(xs, weight)
    else:
        for part in chunks(n_in, n_out * m, SCRATCH):
            w = visit.form(slots["weight"], part, weight[part])
            for p in range(m):
                y[p].addmm_(xs[p][:, part], w[p])
    return y.view(*x.shape[:-1], n_out)


def _embedding(visit: Visit, module: nn.Embedding, slots: dict[str, Slot], ids: Tensor) -> Tensor:
    """Noise only for the rows looked up, each made once."""
    m = visit.width
    rows, where = torch.unique(ids, return_inverse=True)
    table = visit.form(slots["weight"], rows.numpy(), module.weight[rows])
    where = where.view(m, -1)
    out = torch.stack([table[p][where[p]] for p in range(m)])
    return out.view(*ids.shape, -1)


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
        with visit.only(p), _swap(visit, module, slots, 0):
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
def _swap(visit: Visit, module: nn.Module, slots: dict[str, Slot], p: int) -> Iterator[None]:
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

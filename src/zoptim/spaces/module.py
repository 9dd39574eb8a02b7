"""A torch module as a space: points are visited in the layer, never in the weight.

All m points of a round go through the model together (lockstep): model input is (m * B, ...), point-major, and
every layer that owns trained parameters splits it into m groups and computes each at its own point.  `check`
compares lockstep with one-by-one on a real question before the first step and falls back, saying so.

Where directions move some blocks only (`protocols.Partial`), the layers in front of them see the same rows at every
point: an objective that gives its input by `Visit.enter` has them computed once, (B, ...), and the rows become
(m * B, ...) where the first moved block is called.  That, too, is compared first, block by block.

Not here: how a layer computes at several points (`layers`), what is asked of the model (objectives), which
positions are read (`lm.forward`).
"""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from .. import kernels
from ..noise import slot_id
from ..protocols import Directions, Draw, Objective, Partial, Point, Slot, State, Term
from .layers import handler, override
from .others import swapped
from .tangent import Sloped
from .visit import KERNELS, Visit
from .watch import Reads

HALF = (torch.bfloat16, torch.float16)
NEAR = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 8e-3}  # halves: 2 ulp
Place: TypeAlias = tuple[Any, ...]


class Module:
    """The chosen parameters of a torch module.

    Args:
        model: put into eval mode; its other parameters are left alone.
        names: parameter names to train (any alias of a tied one); None: all floating-point parameters.
        points_per_pass: how many points go through the model together; None: a whole round.
        master: torch.float32 keeps a float32 copy of what is trained in half precision: updates are added to the
            copy, and the parameter is its image, rounded to the nearest.  None: updates round stochastically.

    Raises:
        ValueError: an unknown name, no parameters, two names with one 32-bit address, parameters that overlap in
            memory without being one tensor; a master where nothing trained is of half precision, or in another dtype.

    Memory: a scratch of about 8 MB, the activations of m * B rows, and of the widest layer's inputs a copy; with a master 4 bytes a trained number.
    """

    def __init__(
        self, model: nn.Module, names: Iterable[str] | None = None, *, points_per_pass: int | None = None,
        master: torch.dtype | None = None,
    ) -> None:  # fmt: skip
        self.model = model.eval()
        self.points_per_pass = points_per_pass
        self.lockstep = True
        self.swapped: set[nn.Module] = set()  # owners whose forward is not called: see `check`
        self.sharing: frozenset[str] = (
            frozenset()
        )  # groups in front of which all is computed once: see `check`
        self._reads: Reads | None = None  # while `check` looks for them
        aliases: dict[Place, list[str]] = {}
        tensors: dict[Place, Tensor] = {}
        for name, p in model.named_parameters(remove_duplicate=False):
            aliases.setdefault(_place(p), []).append(name)
            tensors.setdefault(_place(p), p)
        chosen = self._chosen(aliases, tensors, names)
        self._slots: list[Slot] = []
        self._tensor: dict[int, Tensor] = {}
        for name, key in sorted((min(aliases[key]), key) for key in chosen):
            slot = Slot(slot_id(name), name, tuple(tensors[key].shape), group_of(name))
            if slot.id in self._tensor:
                raise ValueError(
                    f"parameters {name!r} and another share the noise address {slot.id}: rename one"
                )
            self._slots.append(slot)
            self._tensor[slot.id] = tensors[key]
        _refuse_overlaps(aliases, tensors, chosen)
        by_tensor = {_place(self._tensor[s.id]): s for s in self._slots}
        self.owners: dict[nn.Module, dict[str, Slot]] = {}
        for module in model.modules():
            held = {a: p for a, p in module._parameters.items() if p is not None}
            mine = {a: by_tensor[_place(p)] for a, p in held.items() if _place(p) in by_tensor}
            if mine:
                self.owners[module] = mine
        self._stages = _stages(model)
        odd = sorted({str(p.dtype) for p in self._tensor.values() if p.dtype not in KERNELS})
        if odd:
            warnings.warn(
                f"no kernel for {', '.join(odd)}: formed in float32, updates are rounded to the nearest",
                stacklevel=2,
            )
        self._master = {} if master is None else self._masters(master)

    def _masters(self, dtype: torch.dtype) -> dict[int, Tensor]:
        """Slot id -> the (rows, cols) copy that updates are added to."""
        if dtype is not torch.float32:
            raise ValueError(f"master={dtype}: must be torch.float32 or None")
        half = {k: p.detach() for k, p in self._tensor.items() if p.dtype in HALF}
        if not half:
            raise ValueError(f"master={dtype}: no trained parameter is bfloat16 or float16; leave it out")
        return {k: p.float().contiguous().view(p.shape[0] if p.dim() else 1, -1) for k, p in half.items()}

    @staticmethod
    def _chosen(
        aliases: dict[Place, list[str]], tensors: dict[Place, Tensor], names: Iterable[str] | None
    ) -> set[Place]:
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
        """The slot's tensor itself: what visits read and what is exported (with a master: its image)."""
        return self._tensor[slot.id]

    @property
    def master_bytes(self) -> int:
        """Memory of the float32 master; 0 without one."""
        return sum(4 * copy.numel() for copy in self._master.values())

    def groups(
        self, points: Sequence[Point], directions: Directions | None = None, state: State = None
    ) -> Sequence[Sequence[Point]]:
        """Neighbors up to `points_per_pass`; where what is in front is shared, only those that move the same blocks."""
        size = 1 if not self.lockstep else self.points_per_pass or len(points)
        if self.lockstep:
            size *= 1 + max(0, *(point.items.own for point in points))  # of one example each
        blocks: list[frozenset[str]] = [frozenset()] * len(points)
        if self.sharing and isinstance(directions, Partial):
            blocks = self._blocks(points, directions, state)
        runs = [[i for i, _ in some] for _, some in itertools.groupby(enumerate(blocks), key=lambda e: e[1])]
        return [points[i : min(i + size, run[-1] + 1)] for run in runs for i in run[::size]]

    def _blocks(self, points: Sequence[Point], directions: Partial, state: State) -> list[frozenset[str]]:
        """The groups each point moves."""
        draws = tuple(z for p in points for z, _ in p.terms if isinstance(z, Draw))
        owner = np.repeat(np.arange(len(points)), [len(p.terms) for p in points])
        moved: list[set[str]] = [set() for _ in points]
        for slot in self._slots:
            for p in np.unique(owner[directions.touches(slot, draws, state)]):
                moved[p].add(slot.group)
        return [frozenset(groups) for groups in moved]

    @contextmanager
    def visit(self, points: Sequence[Point], directions: Directions, state: State) -> Iterator[Visit]:
        """Layers compute at `points` inside the block; weights and buffers keep their bits."""
        sloped = len(points) == 1 and points[0].order
        visit = Sloped(self, points[0], directions, state) if sloped else Visit(points, directions, state)
        owners = self._moving(visit)
        if any(
            m.training for m in self.model.modules()
        ):  # a forward would then change buffers and draw noise
            self.model.eval()
        with ExitStack() as undo, torch.no_grad():
            if visit.mix.draws and not sloped:
                for module, slots in owners.items():
                    if module in self.swapped:
                        undo.enter_context(swapped(visit, module, slots, 0))
                    else:
                        undo.enter_context(override(module, handler(visit, module, slots)))
            groups = {s.group for slots in owners.values() for s in slots.values()}
            if visit.m > 1 and groups <= self.sharing and self.sharing:
                visit.shares = True
                moved = {stage for owner in owners for stage in self._stages[owner]}
                for stage in {stage for stages in self._stages.values() for stage in stages}:
                    hook = functools.partial(visit.arrive, stage in moved)
                    undo.callback(stage.register_forward_pre_hook(hook, with_kwargs=True).remove)
            yield visit

    def _moving(self, visit: Visit) -> dict[nn.Module, dict[str, Slot]]:
        """Owners that any point of the visit moves, with those of their slots."""
        if not isinstance(visit.directions, Partial):
            return self.owners
        moved = {s.id for s in self._slots if visit.touches(s)}
        found = {m: {a: s for a, s in slots.items() if s.id in moved} for m, slots in self.owners.items()}
        return {m: slots for m, slots in found.items() if slots}

    @contextmanager
    def tensor(self, slot: Slot) -> Iterator[Tensor]:
        p = self._tensor[slot.id].detach()
        if slot.id in self._master:
            yield self._master[slot.id]
            p.copy_(self._master[slot.id].view(p.shape))  # to the nearest, ties to even
            return
        flat = p.contiguous() if p.dtype in KERNELS else p.float().contiguous()
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
        tolerance: float | None = None,
    ) -> str | None:  # fmt: skip
        """Compare lockstep with one-by-one at `points`; on mismatch fall back and say so.

        Modules whose parameters are read without their forward being called are found here, and visited by
        swapping whole perturbed tensors in, one point at a time.  `tolerance` is relative to the largest
        loss; None: `NEAR`, what rounding explains in the narrowest dtype of the model.  Partial directions are
        looked at in all their groups together, and then, for what is shared in front, one by one.

        Cost: 2 * len(points) forwards; two more where parameters seem to be read directly; 4 a group of partial
        directions.
        """
        self.lockstep, self.swapped, self.sharing = True, set(), frozenset()
        groups = tuple(dict.fromkeys(slot.group for slot in self._slots))
        if isinstance(directions, Partial):
            directions, state = directions.grouped(state)
            points = [Point(_everywhere(p, groups)) for p in points]
        probe = next((p for p in points if p.terms), None)
        if probe is None:
            return None  # nothing is perturbed
        if tolerance is None:
            tolerance = max(NEAR.get(p.dtype, 0.0) for p in self.model.parameters())
        together = np.array([np.nan])
        try:
            with self.visit(points, directions, state) as view:
                together = _values(objective(view))
        except Exception:  # rows of points got mixed; what is wrong with the question itself is raised below
            pass
        suspects, probed = self._suspects(objective, probe, directions, state)
        if suspects and self._misread(suspects, objective, probe, directions, state):
            self.swapped, self.lockstep = suspects, False
            return "some parameters are read directly: visiting one point at a time"
        lone = []
        for point in points:
            with self.visit([point], directions, state) as view:
                lone.append(probed if point is probe else _values(objective(view)))
        if _near(together, np.concatenate(lone), tolerance):
            if isinstance(directions, Partial) and len(groups) > 1:
                self.sharing = self._shared(objective, probe, directions, state, tolerance)
            return None
        self.lockstep = False
        return "the model does not treat the rows of a batch apart: visiting one point at a time"

    def _shared(
        self, objective: Objective, probe: Point, directions: Directions, state: State, tolerance: float
    ) -> frozenset[str]:
        """The groups in front of which sharing gives the answers of the whole input."""
        good: set[str] = set()
        for z, s in probe.terms:
            assert isinstance(z, Draw)
            answers = []
            for self.sharing in (frozenset[str](), frozenset((z.group,))):
                try:
                    with self.visit([Point(((z, s),)), Point(((z, -s),))], directions, state) as view:
                        answers.append(_values(objective(view)))
                except Exception:  # a path around the blocks met rows of another number
                    answers.append(np.array([np.nan]))
            if _near(answers[1], answers[0], tolerance):
                good.add(z.group)
        return frozenset(good)

    def _suspects(
        self, objective: Objective, point: Point, directions: Directions, state: State
    ) -> tuple[set[nn.Module], np.ndarray]:
        """Owners that are not called, or of which a tensor is seen elsewhere; and the losses at the point."""
        self._reads = reads = Reads()
        for m, slots in self.owners.items():
            for name in slots:
                reads.watch(m._parameters[name], m)  # type: ignore[arg-type]
        try:
            with self.visit([point], directions, state) as view:
                view.watch = reads
                with reads:
                    values = _values(objective(view))
        finally:
            self._reads = None
        return reads.found | (set(self.owners) - view.called), values

    def _misread(
        self, suspects: set[nn.Module], objective: Objective, probe: Point, directions: Directions, state: State
    ) -> bool:  # fmt: skip
        """Whether handlers see less of these modules' parameters than the model does: far out, alone."""
        far = Point(tuple((z, 1.0) for z, _ in probe.terms))
        owners, answers = self.owners, []
        try:
            self.owners = {m: owners[m] for m in suspects}
            for swap in (set(), suspects):
                self.swapped = swap
                with self.visit([far], directions, state) as view:
                    answers.append(_values(objective(view)))
        finally:
            self.owners, self.swapped = owners, set()
        return not np.array_equal(answers[0], answers[1], equal_nan=True)


def _everywhere(point: Point, groups: Sequence[str]) -> tuple[Term, ...]:
    """The point's draws, each in every group."""
    return tuple((Draw(z.t, z.i, g), s) for z, s in point.terms if isinstance(z, Draw) for g in groups)


def group_of(name: str) -> str:
    """The block a parameter belongs to: its name up to the first number, else the module that holds it.

    Example:
        >>> [group_of(n) for n in ("model.layers.3.mlp.up_proj.weight", "model.norm.weight", "0.bias")]
        ['model.layers.3', 'model.norm', '0']
    """
    parts = name.split(".")[:-1]
    numbers = [i for i, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[: numbers[0] + 1] if numbers else parts) or "."


def _stages(model: nn.Module) -> dict[nn.Module, set[nn.Module]]:
    """Of every module that holds parameters, the blocks it belongs to: as many as it has names."""
    found: dict[nn.Module, set[nn.Module]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        if any(p is not None for p in module._parameters.values()):
            block = group_of(f"{path}.")
            found.setdefault(module, set()).add(model.get_submodule("" if block == "." else block))
    return found


def _values(answer: Any) -> np.ndarray:
    return np.asarray(answer[0] if isinstance(answer, tuple) else answer, dtype=np.float64)


def _near(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    """Equal to `tolerance` times the largest finite loss; what is not finite must be the same."""
    within = tolerance * max(1e-12, float(np.abs(b[np.isfinite(b)]).max(initial=0.0)))
    return a.shape == b.shape and np.allclose(a, b, rtol=0.0, atol=within, equal_nan=True)


def _place(p: Tensor) -> Place:
    """What makes two parameters one: the same numbers in memory (`a.weight.data = b.weight.data` ties, too)."""
    if p.numel() == 0 or p.device.type == "meta" or not p.data_ptr():
        return (id(p),)
    return (p.device, p.data_ptr(), p.dtype, p.shape, p.stride())


def _refuse_overlaps(
    aliases: dict[Place, list[str]], tensors: dict[Place, Tensor], chosen: set[Place]
) -> None:
    """A visit would move one of two overlapping tensors, an update both."""
    spans = []
    for place, p in tensors.items():
        dense = p.numel() == 1 + sum((n - 1) * s for n, s in zip(p.shape, p.stride(), strict=True))
        if len(place) > 1 and dense:
            spans.append((str(p.device), p.data_ptr(), p.data_ptr() + p.numel() * p.element_size(), place))
    spans.sort(key=lambda span: span[:3])
    for (device, _, end, one), (other_device, start, _, other) in itertools.pairwise(spans):
        if device == other_device and start < end and (one in chosen or other in chosen):
            first, second = sorted((min(aliases[one]), min(aliases[other])))
            raise ValueError(
                f"parameters {first!r} and {second!r} overlap in memory: give one of them a copy of its own"
            )

"""Methods that also take gradients: a run whose steps are probes, a backward pass, or both, replayed by re-execution.

How a gradient fits without the engine knowing of it:

    record   a step is still sealed and written before any weight moves.  Its terms are (draw, coefficient) pairs
             as ever, and (GRADIENT, weight) where the step also goes down the gradient; `losses` end with the
             gradient's own loss; `extra` holds the scales of an ascent (SAM)
    apply    `Hybrid` is a Run that extends the one place where weights move: the backward first, each tensor's
             gradient applied and dropped as soon as it is whole, then the engine's own regenerated sum
    replay   a gradient cannot be regenerated from a record, so it is taken again: opening a journal re-executes
             its steps in order, on batches that are functions of t (`losses(t)`).  The pairs come from the records
             and are not asked again.  Every gradient's loss is compared with the recorded one, bit for bit: other
             data, weights, threads or libraries are noticed at once.  `kept` (see `lm.reexecute`) shortens it

Everything else is inherited: the journal comes first, an undo is a record, an interrupt waits, law 2 holds of the
pairs.  With an order of events that Addax needs: both terms see the same weights, since probes are asked, and the
gradient's forward is run, before anything moves.

    theta <- rule_1(theta, w_1 grad L_1(theta + ascent));   theta <- rule(theta, w_0 sum_i c_i z_i)

Not here: which batches (`lm.reexecute`, `doors.optimizer`), how a backward is run (`spaces.gradient`), the weights
w of a method (`methods.hybrid`).  It does not stream: a backward needs all weights at once.

Papers: Addax arXiv 2410.06441; hybrid ZO-FO, 2402.11592; FO-ZO alternation, 2510.00761; LORENZA's SAM, 2502.19571.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from ..engine import PoisonedRun, Run
from ..journal import Journal
from ..method import Method
from ..protocols import GRADIENT, TIES, Draw, Mix, Objective, Record, Slot, Stride, Term
from ..spaces.gradient import Graph, Loss, graph
from ..spaces.module import Module

OTHER = 0x9E3779B97F4A7C15  # turns a run's key into that of the gradient's rounding and batches


class ReexecutionError(RuntimeError):
    """A step taken again does not give the recorded loss: what it is taken on is not what it was."""


class Kept(Protocol):
    """Weights of some steps, so that not everything has to be taken again."""

    def restore(self, run: Hybrid, records: Sequence[Record]) -> Sequence[Record]:
        """Put the latest kept weights before the records' end in place; the records still to be taken."""
        ...


class Hybrid(Run):
    """A method with a first-order part at work on a torch module.

    Args:
        space: where the parameters live, at their initial values.
        method: one with `first`.
        journal: as of a Run; records already there are taken again, gradients included.
        losses: t -> the differentiable loss of step t.
        horizon: T, the number of steps the schedules are laid over.
        until: take only records with t < until again; such a run takes no steps.
        kept: snapshots to start from.

    Raises:
        ValueError: a method without gradients, weights that are streamed, a split that leaves probes nothing.
        ReexecutionError: a recorded step gives another loss now.

    Cost: a step's forwards are the method's probes, one forward that keeps its activations, and one backward;
    memory: those activations, one tensor's gradient, the rule's vectors.
    """

    def __init__(
        self, space: Any, method: Method, journal: Journal, *, losses: Callable[[int], Loss], horizon: int = 1,
        until: int | None = None, kept: Kept | None = None,
    ) -> None:  # fmt: skip
        if method.first is None:
            raise ValueError(f"method={method.name}: takes no gradients; open it with zoptim.engine.Run")
        if getattr(space, "defers", False) or not isinstance(space, Module):
            raise ValueError(
                f"method={method.name}: a backward pass needs all weights of a torch model in memory; leave --stream "
                "out, or use a method of forward passes alone"
            )
        self.first, self.losses, self.kept, self.until = method.first, losses, kept, until
        self.deep, shallow = parts(space, self.first.blocks, method.name)
        key = int(journal.header["key"])
        self.turned = key ^ OTHER
        self.gradient_vectors = {s.id: self._blank(s) for s in self.deep.slots()}
        self.descents = 0  # gradients applied
        self._graph: Graph | None = None  # of the step being committed
        super().__init__(shallow, method, journal, horizon=horizon, until=until)

    def _refuse(self) -> None:
        """What a plain run refuses is what this is for."""

    def _blank(self, slot: Slot) -> list[Any]:
        with self.deep.tensor(slot) as p:
            wide = self.deep.widen(p)
            made = [self.deep.empty_like(wide) for _ in range(self.first.rule.vectors)]
        for v in made:
            v[:] = 0
        return made

    # -- stepping ------------------------------------------------------------------------------------

    def step(self, objective: Objective) -> Record:
        """Probe where the step has probes, run the gradient's forward where it has one, then write and move."""
        if self._halted:
            raise PoisonedRun(self._halted)
        k, w_first, w_probes = self.done, *self.first.share(self.done, self.horizon)
        probing = bool(w_probes or self.first.rho)
        lr = self.method.lr * self.method.schedule(k, self.horizon)
        record = self.propose(objective) if probing else Record("move", self.t, lr)
        if not w_first:
            record = record._replace(terms=_times(record.terms, w_probes))
            self.commit(record)
            return record
        if record.kind == "skip" and record.reason != TIES:
            self.commit(record)
            return record
        pairs = record.terms if record.kind == "move" else ()
        record = Record(
            "move", record.t, lr, ((GRADIENT, w_first), *_times(pairs, w_probes)), record.losses,
            self._ascent(pairs) if self.first.rho else record.extra,
        )  # fmt: skip
        with self._forward(record) as g:
            told = (*record.losses, g.value)
            if np.isfinite(g.value):
                record, self._graph = record._replace(losses=told), g
            else:
                record = Record("skip", record.t, lr, losses=told, reason="non-finite loss")
            try:
                self.commit(record)
            finally:
                self._graph = None
        return record

    def _ascent(self, pairs: Sequence[Term]) -> tuple[float, ...]:
        """Scales of the draws at distance rho along their sum: rho c_i / |sum_i c_i z_i|; () where it is 0."""
        length = self._length(pairs)
        return tuple(self.first.rho * c / length for _, c in pairs) if length else ()

    def _length(self, pairs: Sequence[Term]) -> float:
        total = 0.0
        for slot in self.slots:
            with self.space.tensor(slot) as p:
                total += float((self._formed(slot, p, Mix.of(pairs)).double() ** 2).sum())
        return float(total**0.5)

    def _formed(self, slot: Slot, p: Any, mix: Mix, base: Any = None) -> Any:
        """A slot's sum, on top of `base` if given."""
        out = self.space.empty_like(self.space.widen(p))
        self.method.directions.form(
            out[None], slot, slice(0, len(p)), mix, base, self.state, at=self.space.widen(p)
        )
        return out

    @contextmanager
    def _forward(self, record: Record) -> Iterator[Graph]:
        """The forward of a record's gradient, at its ascent point if it has one."""
        at = None
        if self.first.rho and record.extra:
            mix = Mix.of([(Draw(record.t, i), s) for i, s in enumerate(record.extra)])
            at = {}
            for slot in self.slots:
                weight = self.deep.parameter(slot)
                with self.space.tensor(slot) as p:
                    moved = self._formed(slot, p, mix, self.space.widen(p))
                at[slot.id] = moved.view(weight.shape).to(weight.dtype)
        with graph(self.deep, self.losses(record.t), at) as g:
            yield g

    # -- applying ------------------------------------------------------------------------------------

    def _rebuild(self, records: Sequence[Record]) -> None:
        records = records if self.kept is None else self.kept.restore(self, records)
        self.again = len(records)  # steps taken again
        super()._rebuild(records)

    def _apply(self, records: Sequence[Record]) -> None:
        for record in records:
            pairs = tuple(term for term in record.terms if term[0] != GRADIENT)
            weight = sum(w for z, w in record.terms if z == GRADIENT)
            if weight:
                self._descend(record, weight)
            if pairs:
                super()._apply([record._replace(terms=pairs)])

    def _descend(self, record: Record, weight: float) -> None:
        """The gradient's share of a step: of a step just asked, or of a recorded one taken again."""
        if self._graph is not None:
            return self._back(self._graph, record, weight)
        with self._forward(record) as g:
            if g.value != record.losses[-1]:
                raise ReexecutionError(
                    f"step {record.t} taken again gives loss {g.value!r}, the record says {record.losses[-1]!r}: the "
                    "weights, the data, the number of threads, the processor or a library are not what they were"
                )
            self._back(g, record, weight)

    def _back(self, g: Graph, record: Record, weight: float) -> None:
        stride, space, rule = Stride(record.lr * self.first.ratio, self.descents), self.deep, self.first.rule

        def write(slot: Slot, gradient: Any) -> None:
            with space.tensor(slot) as p:
                wide = space.widen(p)
                share = gradient.to(wide.dtype)
                share = share * weight if weight != 1.0 else share
                rule.apply(wide, share, stride, self.gradient_vectors[slot.id])
                if wide is not p:
                    space.narrow(p, wide, slot, slice(0, len(p)), self.turned, record.t)

        g.back(write)
        self.descents += 1


def _times(terms: Sequence[Term], weight: float) -> tuple[Term, ...]:
    """The pairs in their share of the step; none where that is 0."""
    return tuple((z, weight * c) for z, c in terms) if weight else ()


def parts(space: Module, blocks: int, name: str = "split") -> tuple[Module, Module]:
    """The gradient's slots and the probes': all for both at blocks = 0, else split before the last blocks.

    The order is the module's own; a block is a numbered member (`layers.11`), and what comes after the last one
    belongs to it.

    Raises:
        ValueError: nothing is left for probes, or the space keeps a float32 master, which two parts cannot share.
    """
    if not blocks:
        return space, space
    if space.master_bytes:
        raise ValueError(f"method={name}: a float32 master cannot be split; leave --master out")
    place: dict[int, int] = {}
    at = -1
    numbers: list[str] = []
    for full, p in space.model.named_parameters(remove_duplicate=False):
        found = re.match(r"(.*?\.)?(\d+)\.", full)
        if found and found.group(0) not in numbers:
            numbers.append(found.group(0))
        at = numbers.index(found.group(0)) if found else len(numbers) - 1
        place.setdefault(id(p), at)
    first_deep = len(numbers) - blocks
    named = {slot.name: place[id(space.parameter(slot))] for slot in space.slots()}
    deep = [n for n, where in named.items() if where >= first_deep]
    shallow = [n for n, where in named.items() if where < first_deep]
    if not shallow or not deep:
        raise ValueError(
            f"method={name}: blocks={blocks} leaves {'probes' if not shallow else 'the gradient'} nothing of what is "
            "trained; train more (--train all), or change blocks"
        )
    made = Module(space.model, deep), Module(space.model, shallow)
    made[1].points_per_pass, made[1].lockstep, made[1].swapped = (
        space.points_per_pass, space.lockstep, space.swapped & set(made[1].owners),
    )  # fmt: skip
    return made

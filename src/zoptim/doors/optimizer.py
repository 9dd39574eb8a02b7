"""`zoptim.Optimizer`: zeroth-order steps inside your own training loop, shaped like torch.optim.

    optimizer = zoptim.Optimizer(model, zoptim.mezo(lr=1e-6, eps=1e-3))
    loss = optimizer.step(closure)        # closure() runs the model on its batch and returns the loss

A door, not a room: it turns a closure into an objective and a checkpoint into a journal; steps are those
of `engine.Run`, weights change in `engine` only.  It is a torch.optim.Optimizer so that
torch.optim.lr_scheduler drives it; never call `backward`.

A checkpoint is a journal.  `state_dict` holds the journal and two digests of the trained weights, at the
start and now; `load_state_dict` looks at the model it is given and does the one right thing:

    weights are as they are now      the steps are in them: go on, nothing is applied twice
    weights are as at the start      replay the journal (no forwards); the result is checked against "now"
    anything else                    ValueError, nothing is touched

So a model's own state dict may be loaded before or after the optimizer's, or not at all.

A method that also takes gradients (`zoptim.methods.hybrid`) runs here, too: its backward is inside `step`.  Its
steps cannot be replayed, since past batches are not known here: only the first of the three goes on.
"""

from __future__ import annotations

import copy
import hashlib
import math
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from ..drivers.hybrid import Hybrid
from ..engine import Run
from ..journal import Journal, canonical_json, effective, next_t
from ..method import Method, begins
from ..noise import VERSION, key_from_seed
from ..protocols import Now, Objective, Point
from ..spaces.module import Module
from ..spaces.visit import Visit
from .closures import lockstep, one_by_one, refuse_items, takes_view

FORMAT = 1


class Optimizer(torch.optim.Optimizer):
    """Steps of a zeroth-order method on a torch module.

    Args:
        model: used in eval mode (dropout and batch statistics would blur loss differences).
        method: from the shelf, e.g. `zoptim.mezo(lr=1e-6, eps=1e-3)`.
        params: names or fnmatch patterns of what to train, e.g. "*.layers.29.*"; None: the parameters that
            require a gradient if any do (an adapter's, say), else all of floating point.
        seed: of the directions.
        journal: a file to keep the steps in; one that already holds steps is resumed, on a model at its
            initial weights.  None: in memory.
        horizon: T, the steps the method's own schedule is laid over; needed unless it is constant.

    Raises:
        ValueError: a pattern that matches nothing, a missing horizon, a journal of other weights or method.

    Cost: the method's forwards a step (one more in the first, which looks at how the model reads its
    weights), memory of inference; a sha256 over the trained weights at construction and a checkpoint.

    Example:
        >>> import zoptim.methods
        >>> model = nn.Linear(2, 1)
        >>> optimizer = Optimizer(model, zoptim.methods.mezo(lr=1e-2))
        >>> loss = optimizer.step(lambda: (model(torch.ones(4, 2)) - 1).square().mean())
        >>> optimizer.t
        1
    """

    def __init__(
        self, model: nn.Module, method: Method, *, params: str | Iterable[str] | None = None, seed: int = 0,
        journal: str | Path | None = None, horizon: int | None = None,
    ) -> None:  # fmt: skip
        if not isinstance(method, Method):
            raise TypeError(f"method={method!r}: give a method of the shelf, e.g. zoptim.mezo(lr=1e-6)")
        scheduled = method.arguments.get("schedule", "constant")
        if horizon is None and scheduled != "constant":
            raise ValueError(
                f"horizon: {method.name}'s {scheduled!r} schedule is laid over the run's steps; give "
                "horizon=STEPS, or schedule='constant'"
            )
        self.space = Module(model, _matching(model, params))
        self.model, self.horizon = model, horizon or 1
        self._pristine = copy.deepcopy(
            method
        )  # coefficient state is a fold over records: begun afresh on load
        refuse_items(method)
        self._looked = False
        self._start = self.digest()
        header = {
            "by": "zoptim.Optimizer",
            "key": key_from_seed(seed),
            "noise": VERSION,
            "method": {"name": method.name, "arguments": dict(method.arguments)},
            "horizon": self.horizon,
            "slots": [[s.name, list(s.shape)] for s in self.space.slots()],
            "base": {"sha256": self._start},
        }
        log = self._open(None if journal is None else Path(journal), header)
        self._loss: Callable[[], Tensor] | None = None  # of the step being taken, where gradients are
        self.run = self._opened(copy.deepcopy(method), log)
        tensors = [self.space.parameter(s) for s in self.space.slots()]
        super().__init__(tensors, {"lr": method.lr})

    def _open(self, path: Path | None, header: dict[str, Any]) -> Journal:
        if path is None or not path.exists() or not path.stat().st_size:
            return Journal.create(path, header)
        journal = Journal.open(path)
        try:
            self._check_header(journal.header, str(path))
            if journal.header["base"]["sha256"] != self._start:
                raise ValueError(
                    f"{path}: began with other weights than the model's; give the model as it was before the "
                    "first step, and the journal rebuilds the rest"
                )
        except BaseException:
            journal.close()
            raise
        return journal

    def _opened(self, method: Method, journal: Journal) -> Run:
        """A run on the weights as they are, brought to where its journal ends."""
        if method.first is None:
            return Run(self.space, method, journal, horizon=self.horizon)
        return Hybrid(self.space, method, journal, losses=self._losses, horizon=self.horizon)

    def _losses(self, t: int) -> Callable[[], Tensor]:
        if self._loss is None:
            raise ValueError(
                f"{self._pristine.name} also takes gradients, of batches that are not known here: its steps cannot be "
                "replayed; load the model's own checkpoint of the same step, then the optimizer's state_dict"
            )
        return self._loss

    # -- stepping ------------------------------------------------------------------------------------

    def step(self, closure: Callable[..., Any] | None = None) -> Tensor:  # type: ignore[override]
        """One step of the method.

        Args:
            closure: runs the model on its batch, the same batch at every call, and returns the loss: a
                scalar, or one loss an item (B,).  Called once a point, without gradients.  If it takes an
                argument, `closure(view)`, it is called once for all m points in lockstep, which is faster: it
                feeds `view.expand(x)`, (m * B, ...), for every batched input and returns (m,) or
                (m, items) losses, e.g. by `view.split(losses)`.

        Returns:
            The mean loss of the points asked, a scalar tensor; not finite: the step was recorded as skipped.

        Raises:
            TypeError, ValueError: no closure, or one that returns something else.
            Exception: whatever the closure raises; weights are then as before and the step may be repeated.
        """
        if not callable(closure):
            raise TypeError("step(closure): give a function that runs the model and returns its loss")
        lr = float(self.param_groups[0]["lr"])
        if not (math.isfinite(lr) and lr >= 0):
            raise ValueError(f"param_groups[0]['lr']={lr!r} must be a finite number from 0")
        self.model.eval()
        together = takes_view(closure)
        ask = lockstep(closure) if together else one_by_one(closure)
        if not self._looked:
            self._look(ask, together)
            self._looked = True
        self.run.space.points_per_pass = None if together else 1  # type: ignore[attr-defined]
        self.run.method = replace(self.run.method, lr=lr)
        self._loss = self._differentiable(closure, together)
        try:
            record = self.run.step(ask)
        finally:
            self._loss = None
        return torch.tensor(float(np.mean(record.losses)), dtype=torch.float64)

    def _differentiable(self, closure: Callable[..., Any], together: bool) -> Callable[[], Tensor]:
        """The closure's loss where the weights stand, with its graph."""
        if not together:
            return closure
        method, state = self.run.method, self.run.state
        return lambda: closure(Visit([Point(())], method.directions, state))

    def _look(self, ask: Objective, together: bool) -> None:
        """Find parameters that are read without their module's forward, and whether lockstep is right."""
        method, state = self.run.method, self.run.state
        space: Module = self.run.space  # type: ignore[assignment]  # of the probes: a split has another
        points = [p._replace(order=0) for p in next(method.probe.rounds(self.t, Now(method.lr, method.eps)))]
        if together:
            said = space.check(ask, points, method.directions, state)
            if said:
                warnings.warn(f"zoptim.Optimizer: {said}", stacklevel=3)
            return
        moved = next(p for p in points if p.terms)
        with space.visit([moved], method.directions, state) as view:
            ask(view)
        space.swapped = set(space.owners) - view.called

    @property
    def t(self) -> int:
        """Steps taken so far, skipped ones included."""
        return self.run.t

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Nothing to do: there are no gradients."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refused once built: what is trained is fixed by the journal."""
        if self.__dict__.get("param_groups"):
            raise ValueError(
                "add_param_group: name all parameters at once, zoptim.Optimizer(..., params=[...])"
            )
        super().add_param_group(param_group)

    def close(self) -> None:
        """Sync and release the journal's file."""
        self.run.journal.close()

    def digest(self) -> str:
        """sha256 of the trained weights: names, shapes, dtypes and bits."""
        seal = hashlib.sha256()
        for slot in self.space.slots():
            p = self.space.parameter(slot).detach()
            seal.update(canonical_json([slot.name, list(slot.shape), str(p.dtype)]))
            seal.update(p.reshape(-1).contiguous().cpu().view(torch.uint8).numpy().data)
        return seal.hexdigest()

    # -- checkpoints -----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Plain data, for torch.save; torch.load(weights_only=True) reads it.

        Cost: the journal's bytes, and a sha256 over the trained weights (0.5 s a GB).
        """
        header = self.run.journal.header
        groups = [{k: v for k, v in g.items() if k != "params"} for g in self.param_groups]
        return {
            "format": FORMAT,
            "journal": torch.frombuffer(bytearray(self.run.journal.dump()), dtype=torch.uint8),
            "key": header["key"],
            "method": copy.deepcopy(header["method"]),
            "t": self.t,
            "weights": {"start": header["base"]["sha256"], "now": self.digest()},
            "param_groups": groups,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a checkpoint; the header of this file says what happens to the weights.

        Raises:
            ValueError: the state is of another method, other parameters or other weights, or damaged; or this
                optimizer's journal file holds steps the state does not.
        """
        journal = _journal_in(state_dict)
        self._check_header(journal.header, "state_dict")
        now = self.digest()
        saved, start = state_dict["weights"]["now"], journal.header["base"]["sha256"]
        if now not in (saved, start):
            raise ValueError(
                f"state_dict: the model's trained weights are neither those after step {state_dict['t']} nor "
                "those before the first; load the model's own checkpoint first, or the model it began with"
            )
        kept = self._keep(journal)
        self._looked = False
        method = copy.deepcopy(self._pristine)
        if now == saved:
            self.run = self._continued(method, kept)
        else:
            self.run = self._opened(method, kept)
            if self.digest() != saved:
                raise ValueError(
                    "state_dict: the replayed weights are not those that were saved; reload the model's own "
                    "checkpoint before using it"
                )
        for mine, told in zip(self.param_groups, state_dict["param_groups"], strict=True):
            mine.update(told)

    def _continued(self, method: Method, journal: Journal) -> Run:
        """A run whose weights already include the journal's steps: state is folded, nothing is applied."""
        first = method.first
        kept = method.rule.vectors or not method.directions.memoryless or (first and first.rule.vectors)
        if kept or begins(method.directions):
            raise ValueError(
                f"state_dict: {method.name} keeps state beside the weights or takes it from the initial ones, which only "
                "a replay rebuilds; "
                + ("it cannot be continued here" if first else "load it onto the model's initial weights")
            )
        run = self._opened(method, Journal.create(None, journal.header))
        records: Sequence[Any] = effective(list(journal.records))
        for record in records:
            method.coefficients.observe(record)
            method.probe.observe(record)
        run.journal, run.t, run.done = journal, next_t(journal.records), len(records)
        return run

    def _check_header(self, header: dict[str, Any], where: str) -> None:
        name, arguments = self._pristine.name, self._pristine.arguments
        theirs = header["method"]
        if theirs["name"] != name:
            raise ValueError(f"{where}: steps of {theirs['name']!r}, but the method here is {name!r}")
        for key in sorted({*theirs["arguments"], *arguments} - {"lr"}):
            a, b = theirs["arguments"].get(key), arguments.get(key)
            if a != b:
                raise ValueError(f"{where}: {name} was run with {key}={a!r}, here it has {key}={b!r}")
        for key, here in (("horizon", self.horizon), ("noise", VERSION)):
            if header.get(key) != here:
                raise ValueError(f"{where}: has {key}={header.get(key)!r}, here it is {here!r}")
        slots = [[s.name, list(s.shape)] for s in self.space.slots()]
        if header["slots"] != slots:
            other = next(
                (s[0] for s in [*header["slots"], *slots] if (s in slots) != (s in header["slots"])), "?"
            )
            raise ValueError(f"{where}: trains other parameters than this optimizer, e.g. {other!r}")

    def _keep(self, journal: Journal) -> Journal:
        """The state's journal in this optimizer's place for it: memory, or its file."""
        mine = self.run.journal
        if mine.path is None:
            return journal
        if mine.dump() == journal.dump():
            return mine
        if len(mine.records):
            raise ValueError(
                f"journal={str(mine.path)!r} holds {len(mine.records)} steps, the state_dict "
                f"{len(journal.records)}; give another path, or leave the state out and let the journal resume"
            )
        mine.close()
        part = mine.path.with_name(mine.path.name + ".part")
        part.write_bytes(journal.dump())
        os.replace(part, mine.path)
        return Journal.open(mine.path)

    def __repr__(self) -> str:
        slots = self.space.slots()
        count = sum(math.prod(s.shape) for s in slots)
        lr, method = self.param_groups[0]["lr"], self.run.method
        return (
            f"zoptim.Optimizer({method.name}, lr={lr:g}, eps={method.eps:g}: {len(slots)} tensors, "
            f"{count:,} weights, step {self.t})"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _matching(model: nn.Module, params: str | Iterable[str] | None) -> list[str]:
    """Names that any of the patterns matches."""
    named = dict(model.named_parameters(remove_duplicate=False))
    if params is None:
        marked = [n for n, p in named.items() if p.requires_grad and p.is_floating_point()]
        return marked or [n for n, p in named.items() if p.is_floating_point()]
    found: list[str] = []
    for pattern in [params] if isinstance(params, str) else params:
        if not isinstance(pattern, str):
            raise TypeError(f"params: names or patterns of parameters, not {type(pattern).__name__}")
        hits = [n for n in named if fnmatchcase(n, pattern)]
        if not hits:
            close = get_close_matches(pattern, named, 1, 0.3)
            raise ValueError(
                f"params: {pattern!r} matches no parameter" + (f"; there is {close[0]!r}" if close else "")
            )
        found += hits
    return list(dict.fromkeys(found))


def _journal_in(state: dict[str, Any]) -> Journal:
    """The journal inside a state dict, verified byte by byte."""
    if not isinstance(state, dict) or state.get("format") != FORMAT or "journal" not in state:
        raise ValueError("state_dict: not one of zoptim.Optimizer's, or of another format")
    raw = state["journal"]
    journal = Journal(None, raw.to("cpu", torch.uint8).numpy().tobytes())
    if journal.cut or next_t(list(journal.records)) != state["t"]:
        raise ValueError(
            f"state_dict: its journal does not end after step {state['t']}; use another checkpoint"
        )
    return journal

"""One page of shapes: everything a zeroth-order method is made of.

A step is a few (draw, coefficient) pairs.  With parameters theta, a draw z regenerated from a
counter, a radius eps and a coefficient c, every method here is

    theta_{t+1} = rule(theta_t, sum_k c_k z_k, lr_t)

and answers four questions: which noise (`Directions`), where to look (`Probe`), what the answers
weigh (`Coefficients`), how to move (`Rule`).  A `Space` says where parameters live.

This file holds shapes only: no arithmetic, no torch.  What passes between the parts is in `values` and offered
here too.  Arrays are numpy arrays or torch tensors of the space's own kind.  Symbols: theta, z, eps, c, t (step),
n draws, m points.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np

from .kernels import Steps
from .values import (
    BATCH,
    GRADIENT,
    HERE,
    STAYS,
    TIES,
    Draw,
    Items,
    Kind,
    Mix,
    Now,
    Point,
    Record,
    Slot,
    Step,
    Stride,
    Term,
    Track,
    Vec,
    Weighing,
    chunks,
    many,
    new,
    only,
    own,
)

__all__ = [
    "BATCH", "GRADIENT", "HERE", "STAYS", "TIES", "Array", "Begins", "Coefficients", "Directions", "Draw",
    "Ended", "Factored", "Items", "Kind", "Losses", "Manifold", "Mix", "Multiplies", "Now", "Objective",
    "Partial", "Point", "Probe", "Record", "Rows", "Rule", "Schedule", "Sloped", "Slot", "Space", "Starts",
    "State", "Step", "Stride", "Term", "Track", "Updates", "Vec", "View", "Weighing", "chunks", "many",
    "new", "only", "own",
]  # fmt: skip

Array: TypeAlias = Any  # numpy.ndarray or torch.Tensor, whichever the space holds
State: TypeAlias = Any  # what a part keeps between steps; None for most
Rows: TypeAlias = "slice | np.ndarray"  # rows of a slot: a range, or looked-up row numbers
Losses: TypeAlias = np.ndarray  # (m,) float64


class Directions(Protocol):
    """Which noise: what a draw stands for.  Methods are pure in `state`, which holds the run key.

    Directions may also offer `image`, other Directions over the same state: what is *applied* in place of what was
    probed (AdaMU's m/sqrt(v), d times a unit vector); and `follows`, True where z depends on the weights at hand.
    """

    @property
    def memoryless(self) -> bool:
        """z depends on (key, draw, slot) only, on neither state nor base."""
        ...

    @property
    def scope(self) -> Literal["rows", "slot"]:
        """ "slot": `form` is called with all rows at once."""
        ...

    @property
    def vectors(self) -> int:
        """Numbers a weight that the state keeps."""
        ...

    def init(self, slots: Sequence[Slot], key: int, horizon: int = 1) -> State: ...

    def form(
        self, out: Array, slot: Slot, rows: Rows, mix: Mix, base: Array | None, state: State,
        scale: float = 1.0, at: Array | None = None,
    ) -> None:  # fmt: skip
        """out[p] = base + scale * sum_k mix.coefs[p, k] z_k for these rows; base None counts as 0.

        `out` is (m, rows, cols) scratch, `base` the unperturbed (rows, cols); out may be base when m is 1.
        The sum is formed from 0 in the order of `mix`, then scaled, then added, each rounded.
        `at` is the unperturbed (rows, cols) where base is None: for directions that depend on the weights.
        """
        ...

    def learn(self, record: Record, slot: Slot, p: Array, state: State) -> None:
        """Take in a record just applied to this slot, now p (rows, cols): the only way state moves.

        Not called for memoryless directions.
        """
        ...


@runtime_checkable
class Begins(Protocol):
    """Directions that look at the weights a run begins with."""

    def begin(self, slot: Slot, p: Array, state: State) -> None:
        """Once a slot, before any record: p is its initial (rows, cols)."""
        ...


class Factored(Directions, Protocol):
    """Directions whose matrices are thin products: a layer then adds (x V) U^T and never forms them."""

    def factors(self, slot: Slot, mix: Mix, like: Array, state: State) -> tuple[Array, Array] | None:
        """U (m, rows, R) and V^T (R, cols) with `form`'s sums U V^T, of `like`'s kind; None: use `form`."""
        ...


@runtime_checkable
class Partial(Protocol):
    """Directions whose draws move some slots only, so that what lies in front of those is the same at all points."""

    def touches(self, slot: Slot, draws: Sequence[Draw], state: State) -> np.ndarray:
        """Which of the draws move this slot at all, (k,) bool."""
        ...

    def grouped(self, state: State) -> tuple[Directions, State]:
        """Directions that can be restricted to any group by `Draw.group`, for checks before the first step."""
        ...


class Multiplies(Directions, Protocol):
    """Directions that multiply by a slot's perturbed weights without a copy of them in memory."""

    def multiply(
        self, y: Array, x: Array, slot: Slot, mix: Mix, base: Array, state: State, scratch: Array
    ) -> bool:
        """y[p] = x[p] (base + sum of point p)^T, `scratch` as `kernels.product.scratch_size` says; False: use `form`."""
        ...


@runtime_checkable
class Updates(Protocol):
    """What directions may offer besides: to add whole steps to a slot themselves, in one sweep of memory."""

    def update(
        self, p: Array, slot: Slot, rows: slice, steps: Steps, state: State, units: Array | None = None
    ) -> bool:
        """p += each step in turn, in place, by the bits of `form`, half precision rounded stochastically.

        `units` multiply the sums (see directions.scaled).  False: not for this slot; nothing was written.
        """
        ...


class Probe(Protocol):
    """Where to look: yields rounds of points, is sent their losses, returns the draws to weigh."""

    def rounds(self, t: int, now: Now) -> Generator[list[Point], Losses, tuple[Draw | Vec, ...]]: ...

    @property
    def forwards(self) -> float:
        """Points asked a step, in the mean; a point on k batches counts k."""
        ...

    def observe(self, record: Record) -> None:
        """A fold over records, like `Coefficients.observe`; most probes have nothing to keep."""
        ...


class Ended(Exception):
    """Raised by a probe that has nothing more to ask, with the reason."""


@runtime_checkable
class Starts(Protocol):
    """A probe that knows where a run is by its start and its records."""

    def start(self, x: np.ndarray, key: int) -> None:
        """Before any record: all slots' numbers (d,), its own copy, and the run's key."""
        ...


class Coefficients(Protocol):
    """What the answers weigh.  `observe` folds over records, so its state survives a reopening."""

    def weigh(self, w: Weighing) -> Weighing: ...

    def observe(self, record: Record) -> None: ...


class Rule(Protocol):
    """How to move: writes `p` in place from the regenerated sum `g` (scratch, may be spoiled).

    Rules own no memory: they name how many vectors of p's shape they keep, which the engine holds and hands over.
    """

    @property
    def linear(self) -> bool:
        """The step is a linear function of g."""
        ...

    @property
    def scope(self) -> Literal["element", "slot"]:
        """ "slot": `apply` is called with all rows at once."""
        ...

    @property
    def vectors(self) -> int:
        """Arrays like p that the rule keeps from step to step; zeros at the start."""
        ...

    def apply(self, p: Array, g: Array, stride: Stride, vectors: Sequence[Array]) -> None: ...

    def scale(self, lr: float) -> float | None:
        """s where `apply` is exactly p += s * g, so that the engine may fuse it; else None."""
        ...


class Manifold(Protocol):
    """Where parameters may have to stay: flat numpy arrays (..., d) in and out; x is one point (d,)."""

    def project(self, x: np.ndarray, v: np.ndarray) -> np.ndarray:
        """The tangent part of v at x."""
        ...

    def retract(self, x: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Where the tangent vector v leads from x."""
        ...


class View(Protocol):
    """What an objective sees during a visit: m points at once."""

    @property
    def m(self) -> int: ...

    @property
    def items(self) -> tuple[Items, ...]:
        """Which examples each point is asked on."""
        ...


Objective: TypeAlias = Callable[[Any], Array]  # view -> losses (m,) or (m, items), lower is better


class Sloped(View, Protocol):
    """What a visit to points of order 1 is."""

    def slopes(self, objective: Objective) -> np.ndarray:
        """(m,) derivatives of the objective along the points' sums."""
        ...


class Space(Protocol):
    """Where parameters live and how points are visited without writing them."""

    def slots(self) -> Sequence[Slot]: ...

    def visit(
        self, points: Sequence[Point], directions: Directions, state: State
    ) -> AbstractContextManager[View]:
        """Several points in lockstep; on exit every bit is as before."""
        ...

    def groups(
        self, points: Sequence[Point], directions: Directions | None = None, state: State = None
    ) -> Sequence[Sequence[Point]]:
        """Cuts a round into the visits it takes (all points in one where memory allows), in order.

        Directions let a space keep together the points that share most of their computation.
        """
        ...

    def tensor(self, slot: Slot) -> AbstractContextManager[Array]:
        """The slot's own storage as (rows, cols), for apply; may stream in and out."""
        ...

    def widen(self, p: Array) -> Array:
        """A chunk in the dtype rules compute in: itself, or a float32 copy of half precision."""
        ...

    def narrow(self, p: Array, wide: Array, slot: Slot, rows: slice, key: int, t: int) -> None:
        """Round a computed chunk back into half-precision storage, stochastically."""
        ...

    def empty_like(self, p: Array) -> Array: ...


Schedule: TypeAlias = Callable[[int, int], float]  # (t, horizon) -> factor of the base value

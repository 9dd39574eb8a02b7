"""What the parts hand to one another: draws, points, sums over draws, records, losses being weighed.

    Draw, Vec          a direction by name; a kept vector by name          Term    one of them and a number
    Point              where the objective is asked: terms, and on what    Mix     sums over shared draws, a row a point
    Record             the whole truth of one step                         Step    an update ready to be added
    Now, Stride        what a probe, and a rule, may know of the step
    Weighing           losses on their way to becoming coefficients

Values only, without noise and without torch.  Not here: who takes and who gives them (`protocols`, which offers these
names too, so that a part imports one page).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np


class Draw(NamedTuple):
    """One random direction, named: with the run key and a slot it is a vector, never stored."""

    t: int
    i: int
    group: str = ""  # restricts the draw to one group's slots; the noise does not depend on it


class Vec(NamedTuple):
    """A named vector of the space's size that a method keeps (its memory is counted)."""

    name: str


Term: TypeAlias = tuple["Draw | Vec", float]


class Slot(NamedTuple):
    """One parameter tensor: `id` is the noise address, 32 bits of blake2 of the canonical name."""

    id: int
    name: str
    shape: tuple[int, ...]
    group: str = ""


class Items(NamedTuple):
    """Which examples a point is asked on: see `BATCH`, `many`, `own` and `only`."""

    batches: int = 1  # examples in units of the step's batch
    own: int = -1  # from 0: only this example of the step's batch
    only: int = -1  # from 0: only this one of all components of a sum


BATCH = Items()  # the step's batch


def many(batches: int) -> Items:
    """The examples of so many batches, drawn for the step; no more than there are."""
    return Items(batches)


def own(j: int) -> Items:
    """Only the j-th example of the step's batch."""
    return Items(0, j)


def only(i: int) -> Items:
    """Only component i of a finite sum, whatever the step's batch."""
    return Items(0, -1, i)


class Point(NamedTuple):
    """Where the objective is asked: the parameters + sum of scale * z over `terms`, and on what.

    origin: a Vec that stands in for the parameters.
    order 1: the answer is not the loss there, but its slope at the parameters along that sum, by forward-mode
    derivatives (asked as `view.slopes(objective)`, one point at a time).
    """

    terms: tuple[Term, ...]
    items: Items = BATCH
    order: int = 0
    origin: str = ""


new: Any = tuple.__new__  # of a NamedTuple, whose own is a function in Python


class Mix(NamedTuple):
    """Sums over the same draws for several points at once: row p of `coefs` belongs to point p."""

    draws: tuple[Draw, ...]  # (k,)
    coefs: np.ndarray  # (m, k) float64; zero means "this point has no such term"

    @classmethod
    def of(cls, *sums: Sequence[Term]) -> Mix:
        """Several sums over the union of their draws, in order of first appearance."""
        z: Any = None
        rows = []
        for terms in sums:  # most: along one draw, the same for all, or nowhere
            if not terms:
                rows.append((0.0,))
            elif len(terms) == 1 and (z is None or terms[0][0] is z):
                (z, c) = terms[0]
                rows.append((c,))
            else:
                break
        else:
            if z is not None:
                mix: Mix = new(cls, ((z,), np.array(rows, np.float64)))
                return mix
        if len(sums) == 1:  # an update
            draws: tuple[Any, ...] = tuple([z for z, _ in sums[0]])
            if len(set(draws)) == len(draws):
                return cls(draws, np.array([[c for _, c in sums[0]]], np.float64))
        index: dict[Any, int] = {}
        for terms in sums:
            for z, _ in terms:
                if z not in index:
                    index[z] = len(index)
        coefs = np.zeros((len(sums), len(index)))
        for p, terms in enumerate(sums):
            for z, c in terms:
                coefs[p, index[z]] += c
        return cls(tuple(index), coefs)


class Step(NamedTuple):
    """An update ready to be added: scale * sum_k coefs[k] z_k; t rounds half precision."""

    draws: tuple[Draw, ...]  # (k,)
    coefs: np.ndarray  # (k,) float64
    scale: float
    t: int


GRADIENT = Vec(
    "gradient"
)  # as a term of a record: the step's gradient, taken anew when the record is applied again

HERE = Vec("here")  # as a term: the parameters themselves

Track: TypeAlias = tuple[str, tuple[Term, ...]]  # a Vec by name, and the sum it is set to
Kind: TypeAlias = Literal["move", "skip", "undo", "track"]


class Record(NamedTuple):
    """The whole truth of one step: parameters are a function of (initial parameters, records).

    `losses` are the reduced losses of the step's points in the order asked; `extra` holds what else
    a fold may need; `reason` says why a step was skipped.  An `undo` record carries in `t` the step
    to return to: parameters become what they were before step t.  `tracks` are done in order, before
    the parameters move; a record of kind "track" does nothing else.
    """

    kind: Kind
    t: int
    lr: float
    terms: tuple[Term, ...] = ()
    losses: tuple[float, ...] = ()
    extra: tuple[float, ...] = ()
    reason: str = ""
    group: str = ""
    tracks: tuple[Track, ...] = ()


class Now(NamedTuple):
    """What a probe may know when it chooses points for step t."""

    lr: float
    eps: float
    key: int = 0  # of the run, for choices made by chance: see `noise`


TIES = "all losses tie"  # reasons of a skip that are no failure
STAYS = "staying is best"


def _no_dot(a: Sequence[Term], b: Sequence[Term]) -> float:
    raise TypeError("dot: inner products are the engine's to offer")


@dataclass(frozen=True)
class Weighing:
    """Losses on their way to becoming coefficients; each `Coefficients` returns a changed copy."""

    draws: tuple[Draw | Vec, ...]  # (n,)
    points: tuple[Point, ...]  # (m,)
    losses: np.ndarray  # (m,) float64
    coefs: np.ndarray  # (n,) float64
    eps: float
    items: np.ndarray | None = None  # (m, items) float64, per-example losses where there are any
    t: int = 0
    lr: float = 0.0
    extra: tuple[float, ...] = ()  # goes into the record, for a fold that losses alone do not feed
    reason: str = ""  # why all coefficients are 0, where it is no tie
    tracks: tuple[Track, ...] = ()
    key: int = 0  # of the run, for choices made by chance
    size: int = 0  # d, numbers of the parameters
    dot: Callable[[Sequence[Term], Sequence[Term]], float] = _no_dot  # <sum, sum> over all slots, in float64

    @classmethod
    def of(cls, **fields: Any) -> Weighing:
        """The same as cls(**fields), which takes as long as the rest of a small step."""
        made = object.__new__(cls)
        made.__dict__.update(fields)
        return made

    def but(self, **fields: Any) -> Weighing:
        """A copy with these fields."""
        copy = object.__new__(Weighing)
        copy.__dict__.update(self.__dict__, **fields)
        return copy

    def weighed(self, coefs: np.ndarray) -> Weighing:
        """A copy with these coefficients (n,)."""
        return self.but(coefs=coefs)


class Stride(NamedTuple):
    """What a rule knows of the step."""

    lr: float
    k: int  # moves applied before this one
    slot: str = ""  # its name, for rules that treat slots apart


def chunks(rows: int, cols: int, limit: int) -> Iterator[slice]:
    """Row ranges of at most `limit` elements (at least one row each): how every slot is walked."""
    step = max(1, limit // max(1, cols))
    for start in range(0, rows, step):
        yield slice(start, min(rows, start + step))

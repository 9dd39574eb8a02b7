"""Coordinate directions: a draw is a unit vector, of all coordinates in order or of a rotating sparse set.

    Coordinate   draw (t, i) is e_i,        i in [0, d), counted over the slots in order
    Rotating     draw (t, i) is e_{S(i)},   S = the n coordinates of period t // every, ascending

S holds the n smallest of u_j / share_s, one uniform u_j a coordinate and period, s its slot (sequential Poisson
sampling, Ohlsson 1998): each coordinate is in with a chance proportional to its slot's share, up to 1, and every
coordinate of a share above 0 has its turn.  Arithmetic alone, no logarithm: the same set on any machine.

What finite differences, sensitivity measurements and coordinate-wise estimators (CGE; DeepZero, arXiv 2310.02025)
probe along.  Not here: where the shares come from (`methods.grasp`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ..noise import ORDER, uniform_streams
from ..protocols import Array, Directions, Draw, Mix, Record, Rows, Slot, State
from .blocks import Blocks
from .dense import Dense

AHEAD, TOGETHER = 32, 1 << 12  # periods whose sets are drawn at once, and numbers in all of those
FEW = 4  # draws that are looked up one by one
Spans = dict[int, range]  # slot id -> the numbers of its coordinates


class Coordinate:
    """Unit vectors; state is where each slot's numbers begin and end.  Memory: none.

    Cost: a sum touches the coordinates of its terms, whatever their number: O(terms) beside the copy of base.
    """

    memoryless = True
    finite = True  # d vectors are all there are: different addresses may stand for the same one
    scope: Literal["rows", "slot"] = "rows"
    vectors = 0

    def init(self, slots: Sequence[Slot], key: int, horizon: int = 1) -> State:
        return _spans(slots)

    def numbers(self, draws: Sequence[Draw], state: State) -> np.ndarray:
        """The coordinate each draw stands for, (k,); -1 where there is none."""
        return np.array([z[1] for z in draws], np.int64)

    def _listed(self, draws: Sequence[Draw], state: State) -> list[int]:
        return [z[1] for z in draws]

    def spans(self, state: State) -> Spans:
        """Each slot's coordinates."""
        return state  # type: ignore[no-any-return]

    def touches(self, slot: Slot, draws: Sequence[Draw], state: State) -> np.ndarray:
        """Which of the draws move this slot at all, (k,) bool."""
        mine = self.spans(state).get(slot.id, range(0))
        j = self.numbers(draws, state)
        return (j >= mine.start) & (j < mine.stop)

    def grouped(self, state: State) -> tuple[Directions, State]:
        blocks = Blocks(Dense("signs"))
        return blocks, blocks.init((), 0)

    def form(
        self, out: Array, slot: Slot, rows: Rows, mix: Mix, base: Array | None, state: State,
        scale: float = 1.0, at: Array | None = None,
    ) -> None:  # fmt: skip
        out[:] = 0 if base is None else base
        if (
            isinstance(out, np.ndarray)
            and isinstance(rows, slice)
            and self._added(out, slot, rows, mix, state, scale)
        ):
            return
        hit = np.flatnonzero(self.touches(slot, mix.draws, state))
        if not len(hit):
            return
        places = self.numbers(mix.draws, state)[hit] - self.spans(state)[slot.id].start
        row, col = np.divmod(places, out.shape[2])
        which, r = _looked_up(row, rows)
        p, c = np.nonzero(mix.coefs[:, hit[which]])
        flat = (p * out.shape[1] + r[c]) * out.shape[2] + col[which[c]]
        flat, same = np.unique(flat, return_inverse=True)  # a coordinate may be named twice
        wide = out.dtype if isinstance(out, np.ndarray) else _wide(out)
        sums = np.zeros(len(flat), wide)
        np.add.at(sums, same, mix.coefs[p, hit[which[c]]].astype(wide))
        sums *= wide.type(scale)
        _add(out, np.unravel_index(flat, tuple(out.shape)), sums)

    def _added(self, out: np.ndarray, slot: Slot, rows: slice, mix: Mix, state: State, scale: float) -> bool:
        """Most sums: each draw another coordinate, all of these rows.  The bits are those of the way for all others."""
        first, size = (
            self.spans(state)[slot.id].start + rows.start * out.shape[2],
            out.shape[1] * out.shape[2],
        )
        held = [j - first for j in self._listed(mix.draws, state)]
        if not (held and min(held) >= 0 and max(held) < size and out.flags.c_contiguous):
            return False
        run = held == [*range(held[0], held[0] + len(held))]
        if not run and len(set(held)) < len(held):
            return False
        sums, flat = mix.coefs.astype(out.dtype) * out.dtype.type(scale), out.reshape(len(out), -1)
        if run and len(flat) == 1 and all(mix.coefs[0].tolist()):
            flat[0, held[0] : held[0] + len(held)] += sums[0]
        else:
            p, c = np.nonzero(mix.coefs)
            flat[p, np.array(held)[c]] += sums[p, c]
        return True

    def learn(self, record: Record, slot: Slot, p: Array, state: State) -> None:
        """Nothing to learn."""


@dataclass
class Turn:
    """What a rotating set is drawn from; `sets` keeps those of the last periods asked for."""

    key: int
    slots: tuple[Slot, ...]
    spans: Spans
    sets: dict[int, np.ndarray] = field(default_factory=dict)
    told: tuple[Sequence[Draw], np.ndarray] = ((), np.zeros(0, np.int64))  # the draws asked about last


@dataclass(frozen=True)
class Rotating(Coordinate):
    """n unit vectors a step, another n every `every` steps; draws beyond the d-th stand for nothing.

    Args:
        n: |S|.
        every: steps a set is kept.
        shares: slot name -> weight of its coordinates' chance to be drawn; slots not named have 1.

    Cost: 16 bytes a coordinate for a moment and a sort, once a period.
    """

    n: int
    every: int = 1
    shares: Mapping[str, float] = field(default_factory=dict)

    def init(self, slots: Sequence[Slot], key: int, horizon: int = 1) -> State:
        return Turn(key, tuple(slots), _spans(slots))

    def spans(self, state: State) -> Spans:
        return state.spans  # type: ignore[no-any-return]

    def numbers(self, draws: Sequence[Draw], state: State) -> np.ndarray:
        if state.told[0] is not draws:  # every slot asks about the same draws
            i = np.fromiter((z.i for z in draws), np.int64, len(draws))
            period = np.fromiter((z.t // self.every for z in draws), np.int64, len(draws))
            found = np.full(len(draws), -1, np.int64)
            for one in np.unique(period).tolist():
                chosen = self.chosen(one, state)
                mine = (period == one) & (i < len(chosen))
                found[mine] = chosen[i[mine]]
            state.told = draws, found
        told: np.ndarray = state.told[1]
        return told

    def _listed(self, draws: Sequence[Draw], state: Turn) -> list[int]:
        if len(draws) > FEW:
            listed: list[int] = self.numbers(draws, state).tolist()
            return listed
        sets = [(z[1], self.chosen(z[0] // self.every, state)) for z in draws]
        return [int(chosen[i]) if i < len(chosen) else -1 for i, chosen in sets]

    def chosen(self, period: int, state: Turn) -> np.ndarray:
        """S of a period: (min(n, d),) int64, ascending."""
        if period not in state.sets:
            ahead = max(1, min(AHEAD, TOGETHER // max(1, sum(map(len, state.spans.values())))))
            periods = range(period - period % ahead, period - period % ahead + ahead)
            rank = [
                _uniform(state.key, periods, s) / max(float(self.shares.get(s.name, 1.0)), 1e-300)
                for s in state.slots
            ]
            order = np.argsort(np.concatenate(rank, axis=1), axis=1, kind="stable")[:, : self.n]
            while len(state.sets) >= 2 * ahead + 2:  # a replay goes from period to period
                del state.sets[next(iter(state.sets))]
            state.sets.update(zip(periods, np.sort(order, axis=1).astype(np.int64), strict=True))
        return state.sets[period]


def _spans(slots: Sequence[Slot]) -> Spans:
    ends = np.cumsum([0] + [int(np.prod(s.shape)) for s in slots]).tolist()
    return {s.id: range(a, b) for s, a, b in zip(slots, ends[:-1], ends[1:], strict=True)}


def _uniform(key: int, periods: range, slot: Slot) -> np.ndarray:
    """One number in [0, 1) a period and coordinate, from 53 bits of the stream of orders (i = 1: examples have i = 0)."""
    size = int(np.prod(slot.shape))
    words = uniform_streams(key, ORDER, periods, 1, slot.id, 2 * size).astype(np.uint64)
    bits = (words[:, 0::2] | words[:, 1::2] << np.uint64(32)) >> np.uint64(11)
    return bits.astype(np.float64) * 2.0**-53


def _looked_up(row: np.ndarray, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """(entry, place) for every place among `rows` where an entry's row is; a row may be looked up twice."""
    if isinstance(rows, slice):
        inside = np.flatnonzero((row >= rows.start) & (row < rows.stop))
        return inside, row[inside] - rows.start
    numbers = np.asarray(rows)
    order = np.argsort(numbers, kind="stable")
    low, high = (np.searchsorted(numbers[order], row, side) for side in ("left", "right"))
    entry = np.repeat(np.arange(len(row)), high - low)
    within = np.arange(len(entry)) - np.repeat(np.cumsum(high - low) - (high - low), high - low)
    return entry, order[low[entry] + within]


def _wide(out: Any) -> np.dtype[Any]:
    """The numpy dtype a torch tensor's sums are formed in: its own, or float32 for narrower ones."""
    return np.dtype(np.float64 if out.element_size() == 8 else np.float32)


def _add(out: Array, where: tuple[np.ndarray, ...], sums: np.ndarray) -> None:
    """out[where] += sums at places that are all different, rounded once."""
    if isinstance(out, np.ndarray):
        out[where] += sums
    else:
        held = out[where]
        wide = held.double() if sums.dtype == np.float64 else held.float()
        out[where] = (wide + wide.new_tensor(sums)).to(out.dtype)

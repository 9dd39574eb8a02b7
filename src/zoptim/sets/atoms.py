"""Sets known by their corners, with a linear minimum and no projection: the k-support ball, the Birkhoff polytope.

    k-support:  the hull of k-sparse vectors of length r;     lmo  -r times the k largest of |g|, at length 1
    Birkhoff:   doubly stochastic matrices;                   lmo  the cheapest assignment

Keeping the k largest numbers projects onto the sparse vectors themselves, which are not convex, and Sinkhorn's
scaling is not the nearest doubly stochastic matrix: neither is offered as a projection.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..protocols import Array
from .balls import Ball
from .matrices import sides
from .shape import Set, put
from .solve import length


@dataclass(frozen=True, eq=False)
class KSupportBall(Ball):
    """The convex hull of {x : at most k numbers of x - center are not 0, |x - center|_2 <= radius}.

    Cost: one partial sort.

    Example:
        >>> KSupportBall(1.0, k=2).lmo([3.0, 1.0, -4.0])
        array([-0.6,  0. ,  0.8])
    """

    k: int = field(kw_only=True)
    refuses: ClassVar[dict[str, str]] = {
        "project": "keeping the k largest numbers projects onto another, nonconvex set",
        "metric": "it has no projection",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        put(self, k=sides("k", (self.k, self.k))[0])

    def norm(self, y: np.ndarray) -> float:
        """The k-support norm (Argyriou, Foygel & Srebro 2012): the largest few as they are, the rest as one l1 block."""
        a = np.sort(np.abs(y))[::-1]
        k = min(self.k, a.size)
        tails = np.cumsum(a[::-1])[::-1]  # sum of a from i on
        at, steps = np.arange(k)[::-1], np.arange(1, k + 1)  # where the block begins, and r + 1
        mean, before = tails[at] / steps, np.concatenate([[np.inf], a])[at]
        r = int(
            np.argmin(np.maximum(mean - before, a[at] - mean))
        )  # before > mean >= a[at], but for rounding
        head = a[: k - r - 1]
        return float(np.sqrt(head @ head + tails[k - r - 1] ** 2 / (r + 1)))

    def diameter(self, d: int) -> float:
        return 2.0 * self.radius

    def inradius(self, d: int) -> float:
        return self.radius * float(np.sqrt(min(self.k, d) / d))

    def _against(self, g: np.ndarray) -> Array:
        s, largest = np.zeros_like(g), np.abs(g).max()
        if not largest > 0.0:
            return s
        k = min(self.k, g.size)
        top = np.argpartition(-np.abs(g), k - 1)[:k]
        s[top] = -g[top] / largest
        return s / length(s)


@dataclass(frozen=True, eq=False)
class Birkhoff(Set):
    """{X >= 0 : rows and columns sum to 1}, X (side, side): relaxed permutations.

    Cost: side^2 vector operations of length side.

    Example:
        >>> Birkhoff(side=2).lmo([[1.0, 0.0], [0.0, 3.0]])
        array([[0., 1.],
               [1., 0.]])
    """

    side: int = field(kw_only=True)
    refuses: ClassVar[dict[str, str]] = {
        "project": "Sinkhorn's scaling is not the nearest doubly stochastic matrix",
        "metric": "it has no projection",
        "shrunk": "it has no interior (its sums are fixed)",
        "inner": "it has no interior (its sums are fixed)",
    }

    def __post_init__(self) -> None:
        put(self, side=sides("side", (self.side, self.side))[0])

    @property
    def size(self) -> int | None:
        return self.side**2

    def diameter(self, d: int) -> float:
        return float(np.sqrt(2.0 * self.side)) if self.side > 1 else 0.0

    def _excess(self, x: np.ndarray) -> float:
        X = x.reshape(self.side, self.side)
        gap = np.maximum(np.abs(X.sum(0) - 1.0).max(), np.abs(X.sum(1) - 1.0).max())
        gap = np.maximum(gap, -X.min())
        return float(gap)

    def _lmo(self, g: np.ndarray) -> Array:
        s = np.zeros((self.side, self.side))
        s[np.arange(self.side), assignment(g.reshape(self.side, self.side))] = 1.0
        return s.reshape(-1)


def assignment(cost: np.ndarray) -> np.ndarray:
    """The columns (n,) of rows 0..n-1 in the cheapest one-to-one assignment of cost (n, n).

    Shortest augmenting paths with potentials (Kuhn, Munkres; Jonker & Volgenant's form): rows are placed one by one,
    each by the path of least reduced cost to a free column.  Costs are finite.
    """
    n = len(cost)
    of_row, of_column = np.zeros(n), np.zeros(n + 1)  # potentials; column n is where a path begins
    holder = np.full(n + 1, -1)  # the row that holds a column
    for row in range(n):
        holder[n], at = row, n
        best, via = np.full(n, np.inf), np.full(n, n)
        done = np.zeros(n + 1, bool)
        while holder[at] >= 0:
            done[at] = True
            open_ = ~done[:n]
            reduced = cost[holder[at]] - of_row[holder[at]] - of_column[:n]
            closer = open_ & (reduced < best)
            best[closer], via[closer] = reduced[closer], at
            nearest = int(np.argmin(np.where(open_, best, np.inf)))
            step = best[nearest]
            of_row[holder[done]] += step
            of_column[done] -= step
            best[open_] -= step
            at = nearest
        while at != n:  # flip the path
            holder[at] = holder[via[at]]
            at = int(via[at])
    columns = np.empty(n, np.int64)
    columns[holder[:n]] = np.arange(n)
    return columns

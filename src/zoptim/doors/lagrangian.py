"""Constraints known only by queries: an augmented Lagrangian around any search, asked at the same points.

    L(x) = f(x) + 1/(2 rho) sum_i (max(0, m_i + rho g_i(x))^2 - m_i^2) + sum_j (m_j h_j(x) + rho/2 h_j(x)^2),  g <= 0, h = 0
    m_i <- max(0, m_i + rho g_i(x)),   m_j <- m_j + rho h_j(x),   rho tenfold where the violation did not fall to a quarter

after every search on L, which begins where the last one ended (Powell; Hestenes; Rockafellar: see Birgin and Martinez 2014).
A point costs one evaluation: of f and of all constraints.  What is returned is the best feasible point asked.
Not here: sets and bounds, which searches keep to by themselves (`region`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .answers import further
from .results import INTERRUPTED, STOPPED, Result, Trace, interrupted

FEASIBLE = 1e-6  # violation that counts as none
ROUNDS = 12  # searches, at most, that a budget is shared out to
LEAST, MORE = 0.25, 10.0  # the violation is to fall to this share, or rho grows by that factor
FIRST, LARGEST = (1e-6, 10.0), 1e20  # of rho
ENDED = {2: "ended by the callback", INTERRUPTED: STOPPED}  # statuses that end it all


class Queried:
    """What SciPy's NonlinearConstraint or dict says: equations h = 0 and inequalities g <= 0 of one function.

    Raises:
        TypeError, ValueError: it is none of the two.
    """

    def __init__(self, given: Any) -> None:
        self.fun: Any
        if isinstance(given, Mapping):
            kind, self.fun, self.args = given.get("type"), given.get("fun"), further(given.get("args", ()))
            if kind not in ("ineq", "eq") or not callable(self.fun):
                raise ValueError(
                    f"constraints={given!r:.60}: give {{'type': 'ineq' (fun >= 0) or 'eq', 'fun': function of x}}"
                )
            self.low, self.high = np.zeros(1), np.full(1, np.inf if kind == "ineq" else 0.0)
        else:
            self.fun, self.args = given.fun, ()
            self.low, self.high = np.atleast_1d(np.float64(given.lb)), np.atleast_1d(np.float64(given.ub))
            if not np.all(self.low <= self.high):
                raise ValueError(
                    f"constraints: lb={given.lb} is not below ub={given.ub}: give lb <= fun(x) <= ub"
                )

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(g, h) at x."""
        answer = np.asarray(self.fun(x, *self.args))
        if answer.dtype.kind not in "fiub" or answer.ndim > 1:
            raise TypeError(
                f"constraints: the function returned {answer!r:.40}; return real numbers, one or (k,)"
            )
        c = np.atleast_1d(answer.astype(np.float64))
        try:
            low, high = np.broadcast_to(self.low, c.shape), np.broadcast_to(self.high, c.shape)
        except ValueError:
            raise ValueError(
                f"constraints: the function returned {c.size} numbers for {self.low.size} bounds"
            ) from None
        same = low == high
        above, below = np.isfinite(high) & ~same, np.isfinite(low) & ~same
        return np.concatenate([c[above] - high[above], low[below] - c[below]]), (c - low)[same]


class Lagrangian:
    """What a search is told in place of f, and what is known of the points it asked.

    Args:
        ask: f at points (m, ...), NaN where it failed.
        queried: the constraints.
        forgive: whether a constraint may raise; a point where one did, or is NaN, is one that failed.
        trace: of f where a point is feasible, NaN elsewhere.
    """

    def __init__(self, ask: Callable[..., np.ndarray], queried: list[Queried], forgive: bool = False) -> None:
        self.ask, self.queried, self.forgive, self.trace = ask, queried, forgive, Trace()
        self.rho, self.m, self.k = 0.0, np.zeros(0), np.zeros(0)  # multipliers of g, of h
        self.best: tuple[float, float, np.ndarray] | None = None  # violation beyond FEASIBLE, f, x
        self._low: tuple[float, Any, Any] = (np.inf, None, None)  # the least L of this search, x, (g, h)

    def __call__(self, x: np.ndarray, components: Any) -> np.ndarray:
        values = self.ask(x.copy(), components)  # who may change it
        out = np.empty(len(x))
        for p, (point, f) in enumerate(zip(x, values.tolist(), strict=True)):
            g, h = self.constraints(point)
            if np.isnan(g).any() or np.isnan(h).any():
                self.trace.add(len(self.trace) + 1, np.nan)
                out[p] = np.nan
                continue
            if self.rho == 0.0:
                self._begin(f, g, h)
            worst = violation(g, h)
            feasible = worst <= FEASIBLE and np.isfinite(f)
            self.trace.add(len(self.trace) + 1, f if feasible else np.nan)
            key = (0.0 if worst <= FEASIBLE else worst, f if np.isfinite(f) else np.inf)
            if self.best is None or key < self.best[:2]:
                self.best = (*key, point.copy())
            rho = self.rho
            out[p] = f + (np.maximum(0.0, self.m + rho * g) ** 2 - self.m**2).sum() / (2 * rho)
            out[p] += self.k @ h + rho / 2 * (h @ h)
            if out[p] < self._low[0]:
                self._low = float(out[p]), point.copy(), (g, h)
        return out

    def constraints(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        try:
            both = [one(x.copy()) for one in self.queried]
        except Exception:
            if not self.forgive:
                raise
            return np.array([np.nan]), np.zeros(0)
        return np.concatenate([g for g, _ in both]), np.concatenate([h for _, h in both])

    def update(self, x: np.ndarray, before: float) -> float:
        """New multipliers, by the constraints at x; its violation.  For the next search."""
        low, self._low = self._low, (np.inf, None, None)
        if low[1] is None:  # every evaluation failed
            return before
        g, h = (
            low[2] if np.array_equal(x, low[1]) else self.constraints(x)
        )  # not again, where the best was asked
        if np.isnan(g).any() or np.isnan(h).any():
            return before
        self.m, self.k = np.maximum(0.0, self.m + self.rho * g), self.k + self.rho * h
        worst = max(
            float(np.abs(np.maximum(g, -self.m / self.rho)).max(initial=0.0)),
            float(np.abs(h).max(initial=0.0)),
        )
        if worst > LEAST * before:
            self.rho = min(self.rho * MORE, LARGEST)
        return worst

    def _begin(self, f: float, g: np.ndarray, h: np.ndarray) -> None:
        """rho from the first point: the penalty is to weigh about as much as f."""
        off = 0.5 * float((np.maximum(0.0, g) ** 2).sum() + (h**2).sum())
        size = abs(f) if np.isfinite(f) else 1.0
        self.rho = float(np.clip(10.0 * max(1.0, size) / max(1.0, off), *FIRST))
        self.m, self.k = np.zeros(g.size), np.zeros(h.size)


def parted(constraints: Any) -> tuple[list[Any], list[Queried]]:
    """What a search keeps to by itself, and what only queries tell."""
    some = (
        constraints if isinstance(constraints, list | tuple) else [] if constraints is None else [constraints]
    )
    asked = [isinstance(one, Mapping) or (hasattr(one, "fun") and hasattr(one, "lb")) for one in some]
    return [c for c, q in zip(some, asked, strict=True) if not q], [
        Queried(c) for c, q in zip(some, asked, strict=True) if q
    ]


def violation(g: np.ndarray, h: np.ndarray) -> float:
    """By how much the worst constraint is missed."""
    return max(float(g.max(initial=0.0)), float(np.abs(h).max(initial=0.0)))


def solve(
    lagrangian: Lagrangian,
    search: Callable[[np.ndarray, int], Result],
    x: np.ndarray,
    budget: int,
    least: int,
) -> Result:
    """Searches on the Lagrangian, each with a share of the budget, from where the last one ended.

    Args:
        search: from a start, with a budget: minimizes the Lagrangian as it is then.
        x: the start.
        budget: evaluations in all.
        least: that a search needs.

    Raises:
        ValueError: a budget of less.
    """
    if budget < least:
        raise ValueError(
            f"budget={budget} is too small for constraints that only queries tell: give {least} or more"
        )
    spent, steps, worst, found = 0, 0, np.inf, None
    status, why = 1, f"the budget of {budget} evaluations is spent"
    for turn in range(ROUNDS):
        share = max(least, (budget - spent) // max(2, ROUNDS // 2 - turn))
        if budget - spent - share < least:
            share = budget - spent
        if share < least:
            break
        found = search(x, share)
        spent, steps, x = spent + found.nfev, steps + found.nit, found.x
        try:
            worst = lagrangian.update(x, worst)
        except KeyboardInterrupt:
            interrupted(found)
        if found.status in ENDED:
            status, why = found.status, ENDED[found.status]
            break
        if worst <= 0.1 * FEASIBLE and turn > 1 and found.status == 0:
            status, why = 0, "the multipliers have settled"
            break
    else:
        why = f"{ROUNDS} searches are done without settling the multipliers"
    assert found is not None
    off, f, best = lagrangian.best or (np.inf, np.nan, x)
    if off:
        why += f"; no feasible point was found, the best is off by {off:.2g}"
    found.update(
        x=best, fun=f, nfev=len(lagrangian.trace), nit=steps, trace=lagrangian.trace, constr_violation=off,
        multipliers={"ineq": lagrangian.m, "eq": lagrangian.k}, success=bool(off == 0.0 and np.isfinite(f) and status != INTERRUPTED),
        message="; ".join([why, *found.message.split("; ")[1:]]), status=status,
    )  # fmt: skip
    return found

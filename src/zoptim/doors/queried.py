"""Constraints known only by queries: what they are, and what is known of the points where they were asked.

A point costs one evaluation: of f and of all constraints.  The best point is the feasible one of the least f, or the one
that is least off.  Not here: sets and bounds, which searches keep to by themselves (`region`); where to ask (`programs`,
`lagrangian`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from .answers import further
from .results import INTERRUPTED, Trace

FEASIBLE = 1e-6  # violation that counts as none


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
                wrong = f"type={kind!r}" if callable(self.fun) else f"fun={self.fun!r:.40}"
                raise ValueError(
                    f"constraints: {wrong}: give {{'type': 'ineq' (fun >= 0) or 'eq', 'fun': function of x}}"
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


class Answer(NamedTuple):
    """f, g <= 0 and h = 0 at a point; `failed`: there are no constraints' values."""

    f: float
    g: np.ndarray
    h: np.ndarray

    @property
    def failed(self) -> bool:
        return bool(np.isnan(self.g).any() or np.isnan(self.h).any())


class Told:
    """Asks f and the constraints, counts, and keeps the best point.

    Args:
        ask: f at points (m, ...), NaN where it failed.
        queried: the constraints.
        forgive: whether a constraint may raise; a point where one did, or is NaN, is one that failed.

    Attributes:
        trace: of f where a point is feasible, NaN elsewhere.
        best: (violation beyond FEASIBLE, f, x).
    """

    def __init__(self, ask: Callable[..., np.ndarray], queried: list[Queried], forgive: bool = False) -> None:
        self.ask, self.queried, self.forgive, self.trace = ask, queried, forgive, Trace()
        self.best: tuple[float, float, np.ndarray] | None = None

    def __call__(self, x: np.ndarray, components: Any = None) -> list[Answer]:
        values = self.ask(x.copy(), components)  # who may change it
        return [self._seen(point, f) for point, f in zip(x, values.tolist(), strict=True)]

    def _seen(self, x: np.ndarray, f: float) -> Answer:
        answer = Answer(f, *self.constraints(x))
        if answer.failed:
            self.trace.add(len(self.trace) + 1, np.nan)
            return answer
        worst, finite = violation(answer.g, answer.h), np.isfinite(f)
        self.trace.add(len(self.trace) + 1, f if worst <= FEASIBLE and finite else np.nan)
        key = (0.0 if worst <= FEASIBLE else worst, f if finite else np.inf)
        if self.best is None or key < self.best[:2]:
            self.best = (*key, x.copy())
        return answer

    def constraints(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        try:
            both = [one(x.copy()) for one in self.queried]
        except Exception:
            if not self.forgive:
                raise
            return np.array([np.nan]), np.zeros(0)
        return np.concatenate([g for g, _ in both]), np.concatenate([h for _, h in both])

    def fields(
        self, x: np.ndarray, m: np.ndarray, k: np.ndarray, status: int, why: list[str]
    ) -> dict[str, Any]:
        """What a result says of the best point, or of x where nothing was asked; m and k the multipliers."""
        off, f, best = self.best or (np.inf, np.nan, x)
        lack = [f"no feasible point was found, the best is off by {off:.2g}"] if off else []
        return {
            "x": best, "fun": f, "nfev": len(self.trace), "trace": self.trace, "constr_violation": off,
            "multipliers": {"ineq": m, "eq": k}, "success": bool(off == 0.0 and np.isfinite(f) and status != INTERRUPTED),
            "message": "; ".join([*why[:1], *lack, *why[1:]]), "status": status,
        }  # fmt: skip


def parted(constraints: Any) -> tuple[list[Any], list[Queried]]:
    """What a search keeps to by itself, and what only queries tell.

    Raises:
        ValueError: a function, which does not say of which sign it is to be.
    """
    some = (
        constraints if isinstance(constraints, list | tuple) else [] if constraints is None else [constraints]
    )
    if any(callable(one) and not hasattr(one, "project") and not hasattr(one, "lb") for one in some):
        raise ValueError(
            "constraints: a function, which only queries tell, is to say which sign it should have; "
            "give {'type': 'ineq', 'fun': g} for g(x) >= 0, or 'eq' for g(x) = 0"
        )
    asked = [isinstance(one, Mapping) or (hasattr(one, "fun") and hasattr(one, "lb")) for one in some]
    return [c for c, q in zip(some, asked, strict=True) if not q], [
        Queried(c) for c, q in zip(some, asked, strict=True) if q
    ]


def violation(g: np.ndarray, h: np.ndarray) -> float:
    """By how much the worst constraint is missed."""
    return max(float(g.max(initial=0.0)), float(np.abs(h).max(initial=0.0)))

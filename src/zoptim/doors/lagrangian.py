"""Constraints known only by queries: an augmented Lagrangian around any search, asked at the same points.

    L(x) = f(x) + 1/(2 rho) sum_i (max(0, m_i + rho g_i(x))^2 - m_i^2) + sum_j (m_j h_j(x) + rho/2 h_j(x)^2),  g <= 0, h = 0
    m_i <- max(0, m_i + rho g_i(x)),   m_j <- m_j + rho h_j(x),   rho tenfold where the violation did not fall to a quarter

after every search on L, which begins where the last one ended (Powell; Hestenes; Rockafellar: see Birgin and Martinez 2014).
For any method that is named, and where values are noisy or in a set.  Not here: constraints and points (`queried`), their
slopes told apart (`programs`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .queried import FEASIBLE, Told
from .results import INTERRUPTED, STOPPED, Result, interrupted

ROUNDS = 12  # searches, at most, that a budget is shared out to
LEAST, MORE = 0.25, 10.0  # the violation is to fall to this share, or rho grows by that factor
FIRST, LARGEST = (1e-6, 10.0), 1e20  # of rho
ENDED = {2: "ended by the callback", INTERRUPTED: STOPPED}  # statuses that end it all


class Lagrangian:
    """What a search is told in place of f.

    Args:
        told: who asks f and the constraints.
    """

    def __init__(self, told: Told) -> None:
        self.told = told
        self.rho, self.m, self.k = 0.0, np.zeros(0), np.zeros(0)  # multipliers of g, of h
        self._low: tuple[float, Any, Any] = (np.inf, None, None)  # the least L of this search, x, (g, h)

    def __call__(self, x: np.ndarray, components: Any) -> np.ndarray:
        answers = self.told(x, components)
        out = np.full(len(x), np.nan)
        for p, answer in enumerate(answers):
            if answer.failed:
                continue
            f, g, h = answer
            if self.rho == 0.0:
                self._begin(f, g, h)
            rho = self.rho
            out[p] = f + (np.maximum(0.0, self.m + rho * g) ** 2 - self.m**2).sum() / (2 * rho)
            out[p] += self.k @ h + rho / 2 * (h @ h)
            if out[p] < self._low[0]:
                self._low = float(out[p]), x[p].copy(), (g, h)
        return out

    def update(self, x: np.ndarray, before: float) -> float:
        """New multipliers, by the constraints at x; its violation.  For the next search."""
        low, self._low = self._low, (np.inf, None, None)
        if low[1] is None:  # every evaluation failed
            return before
        g, h = (
            low[2] if np.array_equal(x, low[1]) else self.told.constraints(x)
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
        budget: evaluations in all, those told already among them.
        least: that a search needs; there is that much.
    """
    spent, steps, worst, found = len(lagrangian.told.trace), 0, np.inf, None
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
    message = [why, *found.message.split("; ")[1:]]
    found.update(lagrangian.told.fields(x, lagrangian.m, lagrangian.k, status, message), nit=steps)
    return found

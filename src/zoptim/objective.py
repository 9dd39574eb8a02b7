"""What an objective may answer, and how its answers become one loss a point.

An objective is any callable on a view of m points.  It answers, lower is better, with one of

    (m,)                              one number a point: declared not to be a mean over items (an F1, a reward)
    (m, items)                        a loss an item: reduced to sum_i L_pi / items
    ((m, items), (items,))            with weights: reduced to sum_i w_i L_pi / sum_i w_i

All sums are in float64 and in order, so that differences of losses keep their last digits.  Not here: what is
asked of a model (`lm.objectives`), and at which points (`probes`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def reduced(answer: Any, m: int) -> tuple[np.ndarray, np.ndarray | None]:
    """One loss a point, and the per-item losses where there are any.

    Args:
        answer: what an objective returned; arrays or CPU tensors.
        m: points asked.

    Returns:
        (m,) float64, and (m, items) float64 or None.

    Raises:
        ValueError: a shape that does not fit.

    Example:
        >>> reduced(([[1.0, 4.0]], [3.0, 1.0]), 1)[0]
        array([1.75])
    """
    values, weights = answer if isinstance(answer, tuple) else (answer, None)
    table = np.asarray(values, dtype=np.float64)
    if table.ndim not in (1, 2) or len(table) != m:
        raise ValueError(
            f"the objective gave losses of shape {table.shape} for {m} points: "
            "give one loss a point, or one row of per-item losses a point"
        )
    if table.ndim == 1:
        return table, None
    w = np.ones(table.shape[1]) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != table.shape[1:]:
        raise ValueError(f"the objective gave weights of shape {w.shape} for {table.shape[1]} items")
    return (table * w).sum(axis=1) / w.sum(), table


def together(*parts: tuple[float, Callable[[Any], Any]]) -> Callable[[Any], np.ndarray]:
    """A weighted sum of objectives, asked at the same points: losses of two data streams see the same noise.

    Args:
        parts: (weight, objective); unlearning: (-1.0, forget), (1.0, retain).

    Example:
        >>> both = together((-1.0, lambda view: view), (0.5, lambda view: view))
        >>> both(np.array([[2.0, 4.0]]))
        array([-1.5])

    Reference: arXiv 2510.00761 (GradDiff).
    """

    def ask(view: Any) -> np.ndarray:
        total: Any = 0.0
        for weight, objective in parts:
            answer = objective(view)
            total = (
                total + weight * reduced(answer, len(answer[0] if isinstance(answer, tuple) else answer))[0]
            )
        return np.asarray(total)

    return ask

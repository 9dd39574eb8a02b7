"""Rows of the shelf test: few of the weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoptim.methods.sparse import sparse_mezo
from zoptim.testing import Problem, Trial, functions

from .row import Row


def spread() -> Problem:
    """A bowl over 3 small and 9 large numbers that begins with the large ones where they belong."""
    x0 = np.array([0.1, -0.2, 0.3, 1.5, -1.0, 2.0, 3.0, -4.0, 5.0, 6.0, -7.0, 8.0])
    a = np.where(abs(x0) < 1, -0.5 * x0, x0)

    def f(x: np.ndarray) -> np.ndarray:
        return np.asarray(0.5 * ((np.asarray(x, np.float64) - a) ** 2).sum(axis=1))

    return Problem("spread bowl", f, x0, 0.0, a)


ROWS = {
    "sparse_mezo": Row(
        lambda **s: sparse_mezo(**{"lr": 0.05, **s}),
        frozenset({"shift-free"}),
        (
            Trial(functions.quadratic(), 2000, 0.001, (0.05,)),
            Trial(functions.logistic(), 4000, 0.001, (0.1,)),
            Trial(spread(), 2000, 0.001, (0.02,)),
        ),
    ),
}

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "sparse_mezo, 3 signs": ("sparse_mezo", {"n": 3, "law": "signs", "schedule": "cosine", "sparsity": 0.4}),
    "sparse_mezo, none frozen": ("sparse_mezo", {"sparsity": 0.0}),
}

"""Rows of the shelf test: low-rank directions."""

from __future__ import annotations

from typing import Any

from zoptim.methods import lozo
from zoptim.testing import Trial, functions

from .row import Row

ROWS = {
    "lozo": Row(
        lambda **s: lozo(**{"lr": 0.05, **s}),
        frozenset({"unbiased", "additive", "shift-free"}),
        (
            Trial(functions.quadratic(), 2000, 0.001, (0.05,)),
            Trial(functions.rosenbrock(), 8000, 0.1, (5e-4,)),
            Trial(functions.logistic(), 4000, 0.001, (0.1,)),
            Trial(functions.finite_sum(), 4000, 0.001, (0.05,)),
        ),
    ),
}

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "lozo, rank 1, new V every step": ("lozo", {"rank": 1, "keep": 1}),
    "lozo, 3 draws": ("lozo", {"rank": 5, "keep": 2, "n": 3, "law": "signs", "schedule": "cosine"}),
}

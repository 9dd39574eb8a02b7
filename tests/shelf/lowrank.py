"""Rows of the shelf test: low-rank directions."""

from __future__ import annotations

from typing import Any

from zoptim.methods.lowrank import eggroll, grzo, lozo, lozo_m
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
    "lozo_m": Row(
        lambda **s: lozo_m(**{"lr": 0.05, **s}),
        frozenset({"shift-free"}),
        (
            Trial(functions.quadratic(), 4000, 0.01, (0.05, 0.01, 0.003)),
            Trial(functions.logistic(), 4000, 0.02, (0.1, 0.02, 0.005)),
        ),
    ),
    "eggroll": Row(
        lambda **s: eggroll(**{"lr": 0.05, "n": 4, **s}),
        frozenset({"additive", "scale-free", "shift-free"}),
        (
            Trial(functions.quadratic(), 4000, 0.01, (0.05, 0.01, 0.003)),
            Trial(functions.logistic(), 4000, 0.02, (0.1, 0.02, 0.005)),
        ),
    ),
    "grzo": Row(
        lambda **s: grzo(**{"lr": 0.05, "n": 4, **s}),
        frozenset({"additive", "scale-free", "shift-free"}),
        (
            Trial(functions.quadratic(), 4000, 0.01, (0.05, 0.01, 0.003)),
            Trial(functions.logistic(), 4000, 0.02, (0.1, 0.02, 0.005)),
        ),
    ),
}

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "lozo, rank 1, new V every step": ("lozo", {"rank": 1, "keep": 1}),
    "lozo, 3 draws": ("lozo", {"rank": 5, "keep": 2, "n": 3, "law": "signs", "schedule": "cosine"}),
}

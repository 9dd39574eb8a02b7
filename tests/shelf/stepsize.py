"""Rows of the shelf test: step sizes from the losses."""

from __future__ import annotations

from typing import Any

from zoptim.methods import fzoo
from zoptim.methods.stepsize import fzoo_r, meazo
from zoptim.testing import Trial, functions

from .row import Row

ROWS = {
    "fzoo": Row(
        lambda **s: fzoo(**{"lr": 0.05, **s}),
        frozenset({"additive", "scale-free", "shift-free"}),
        (
            Trial(functions.quadratic(), 2000, 0.001, (0.05,)),
            Trial(functions.quadratic(10, 100.0), 8000, 0.05, (0.05,)),
            Trial(functions.rosenbrock(), 8000, 0.1, (0.01,)),
            Trial(functions.logistic(), 4000, 0.001, (0.05,)),
            Trial(functions.finite_sum(), 4000, 0.001, (0.05,)),
            Trial(functions.rastrigin(), 2000, 0.001, (0.02,)),
        ),
    ),
    "fzoo_r": Row(
        lambda **s: fzoo_r(**{"lr": 0.05, **s}),
        frozenset({"additive", "scale-free", "shift-free"}),
        (
            Trial(functions.quadratic(), 4000, 0.01, (0.05, 0.01, 0.003)),
            Trial(functions.logistic(), 4000, 0.02, (0.1, 0.02, 0.005)),
        ),
    ),
    "meazo": Row(
        lambda **s: meazo(**{"lr": 0.05, **s}),
        frozenset({"additive", "scale-free", "shift-free"}),
        (
            Trial(functions.quadratic(), 4000, 0.01, (0.05, 0.01, 0.003)),
            Trial(functions.logistic(), 4000, 0.02, (0.1, 0.02, 0.005)),
        ),
    ),
}

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "fzoo, 2 draws": ("fzoo", {"n": 2}),
    "fzoo, normal": ("fzoo", {"law": "normal", "n": 5, "schedule": "constant"}),
    "fzoo, 40 draws": ("fzoo", {"n": 40}),
}

"""Rows of the shelf test: plain estimators."""

from __future__ import annotations

from typing import Any

from zoptim.methods import mezo
from zoptim.methods.plain import zo_conservative, zo_sgd
from zoptim.testing import Trial, functions

from .row import Row

ROWS = {
    "mezo": Row(
        lambda **s: mezo(**{"lr": 0.05, **s}),
        frozenset({"unbiased", "additive", "shift-free"}),
        (
            Trial(functions.quadratic(), 2000, 0.001, (0.05,)),
            Trial(functions.quadratic(10, 100.0), 8000, 0.05, (0.05,)),
            Trial(functions.rosenbrock(), 8000, 0.1, (5e-4,)),
            Trial(functions.logistic(), 4000, 0.001, (0.1,)),
            Trial(functions.finite_sum(), 4000, 0.001, (0.05,)),
            Trial(functions.rastrigin(), 2000, 0.001, (1e-4,)),
        ),
    ),
    "zo_sgd": Row(
        lambda **s: zo_sgd(**{"lr": 0.05, **s}),
        frozenset({"additive", "shift-free"}),
        (
            Trial(functions.quadratic(), 4000, 0.01, (0.05, 0.01, 0.003)),
            Trial(functions.logistic(), 4000, 0.02, (0.1, 0.02, 0.005)),
        ),
    ),
    "zo_conservative": Row(
        lambda **s: zo_conservative(**{"lr": 0.05, **s}),
        frozenset({"additive", "shift-free"}),
        (
            Trial(functions.quadratic(), 4000, 0.01, (0.05, 0.01, 0.003)),
            Trial(functions.logistic(), 4000, 0.02, (0.1, 0.02, 0.005)),
        ),
    ),
}

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "mezo, 5 draws": ("mezo", {"n": 5}),
    "mezo, signs": ("mezo", {"law": "signs", "schedule": "cosine"}),
    "mezo, decay": ("mezo", {"weight_decay": 0.1, "schedule": "linear"}),
}

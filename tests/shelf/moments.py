"""Rows of the shelf test: moments."""

from __future__ import annotations

from typing import Any

from zoptim.methods.moments import zo_adam, zo_adamm, zo_adamu, zo_momentum, zo_momentum_pairs, zo_signsgd
from zoptim.testing import Trial, functions

from .row import Row

ROWS = {
    "zo_momentum": Row(
        lambda **s: zo_momentum(**{"lr": 0.05, **s}),
        frozenset({"unbiased", "shift-free"}),
        (
            Trial(functions.quadratic(), 4000, 0.01, (0.05, 0.01, 0.003)),
            Trial(functions.logistic(), 4000, 0.02, (0.1, 0.02, 0.005)),
        ),
    ),
    "zo_momentum_pairs": Row(
        lambda **s: zo_momentum_pairs(**{"lr": 0.05, **s}),
        frozenset({"shift-free", "additive"}),
        (
            Trial(functions.quadratic(), 4000, 0.01, (0.05, 0.01, 0.003)),
            Trial(functions.logistic(), 4000, 0.02, (0.1, 0.02, 0.005)),
        ),
    ),
    "zo_adam": Row(
        lambda **s: zo_adam(**{"lr": 0.05, **s}),
        frozenset({"shift-free"}),
        (
            Trial(functions.quadratic(), 4000, 0.01, (0.05, 0.01, 0.003)),
            Trial(functions.logistic(), 4000, 0.02, (0.1, 0.02, 0.005)),
        ),
    ),
    "zo_adamm": Row(
        lambda **s: zo_adamm(**{"lr": 0.05, **s}),
        frozenset({"shift-free", "scale-free"}),
        (
            Trial(functions.quadratic(), 4000, 0.01, (0.05, 0.01, 0.003)),
            Trial(functions.logistic(), 4000, 0.02, (0.1, 0.02, 0.005)),
        ),
    ),
    "zo_signsgd": Row(
        lambda **s: zo_signsgd(**{"lr": 0.05, **s}),
        frozenset({"shift-free", "scale-free"}),
        (
            Trial(functions.quadratic(), 4000, 0.01, (0.05, 0.01, 0.003)),
            Trial(functions.logistic(), 4000, 0.02, (0.1, 0.02, 0.005)),
        ),
    ),
    "zo_adamu": Row(
        lambda **s: zo_adamu(**{"lr": 0.05, **s}),
        frozenset({"shift-free"}),
        (
            Trial(functions.quadratic(), 4000, 0.01, (0.05, 0.01, 0.003)),
            Trial(functions.logistic(), 4000, 0.02, (0.1, 0.02, 0.005)),
        ),
    ),
}

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "zo_signsgd, by votes": ("zo_signsgd", {"law": "signs", "vote": True, "n": 7}),
}

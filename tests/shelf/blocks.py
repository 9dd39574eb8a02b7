"""Rows of the shelf test: one part of the weights at a time."""

from __future__ import annotations

from typing import Any

from zoptim.methods.blocks import blockwise, deepzero
from zoptim.testing import Trial, functions

from .row import Row

ROWS = {
    "blockwise": Row(
        lambda **s: blockwise(**{"lr": 0.05, **s}),
        frozenset({"unbiased", "additive", "shift-free"}),
        (
            Trial(functions.quadratic(), 2000, 0.001, (0.05,)),
            Trial(functions.rosenbrock(), 8000, 0.1, (5e-4,)),
            Trial(functions.logistic(), 4000, 0.001, (0.1,)),
            Trial(functions.finite_sum(), 4000, 0.001, (0.05,)),
        ),
    ),
    "deepzero": Row(
        lambda **s: deepzero(**{"lr": 0.05, "n": 4, **s}),
        frozenset({"shift-free"}),
        (
            Trial(functions.quadratic(), 2000, 0.001, (0.05,)),
            Trial(functions.rosenbrock(), 8000, 0.1, (3e-4,)),
            Trial(functions.logistic(), 4000, 0.001, (0.1,)),
            Trial(functions.finite_sum(), 4000, 0.001, (0.05,)),
        ),
    ),
}

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "blockwise, 3 draws": ("blockwise", {"n": 3, "law": "signs", "schedule": "cosine"}),
    "deepzero, one coordinate kept for 2 steps": (
        "deepzero",
        {"n": 1, "every": 2, "beta": 0.0, "schedule": "linear"},
    ),
    "deepzero, more than there are": ("deepzero", {"n": 60}),
}

"""Rows of the shelf test: estimates of a smoothed loss."""

from __future__ import annotations

from typing import Any

from zoptim.methods.smooth import l1_randomized, one_point_residual, rgf, rsgf, two_point
from zoptim.testing import Trial, functions

from .row import Row

TRIALS = (
    Trial(functions.quadratic(), 4000, 0.01, (0.05, 0.01, 0.003)),
    Trial(functions.logistic(), 4000, 0.02, (0.1, 0.02, 0.005)),
)
ROWS = {
    "rgf": Row(lambda **s: rgf(**{"lr": 0.05, **s}), frozenset({"additive", "shift-free"}), TRIALS),
    "two_point": Row(
        lambda **s: two_point(**{"lr": 0.05, **s}),
        frozenset({"unbiased", "additive", "shift-free"}),
        (*TRIALS, Trial(functions.rosenbrock(), 8000, 0.1, (5e-4,))),
    ),
    "l1_randomized": Row(
        lambda **s: l1_randomized(**{"lr": 0.05, **s}),
        frozenset({"unbiased", "additive", "shift-free"}),
        TRIALS,
    ),
    "rsgf": Row(lambda **s: rsgf(**{"lr": 0.05, **s}), frozenset({"additive", "shift-free"}), TRIALS),
    "one_point_residual": Row(
        lambda **s: one_point_residual(**{"lr": 0.01, **s}),
        frozenset({"additive", "shift-free"}),
        (
            Trial(functions.quadratic(), 8000, 0.02, (0.01, 0.003), 0.1),
            Trial(functions.logistic(), 8000, 0.05, (0.02, 0.005), 0.1),
        ),
    ),
}

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "rgf, two-sided": ("rgf", {"sides": "two", "schedule": "cosine"}),
    "two_point, a block": ("two_point", {"n": 4, "block": 4}),
    "two_point, blocks and a part": ("two_point", {"n": 8, "block": 3}),
    "two_point, more than a basis": ("two_point", {"n": 40, "block": 40, "schedule": "linear"}),
    "l1_randomized, 3 draws": ("l1_randomized", {"n": 3, "schedule": "cosine"}),
    "rsgf, 5 draws": ("rsgf", {"n": 5}),
    "one_point_residual, signs": ("one_point_residual", {"law": "signs", "schedule": "linear"}),
}

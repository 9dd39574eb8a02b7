"""Rows of the shelf test: curvature."""

from __future__ import annotations

from typing import Any

from zoptim.methods.curvature import hizoo, hizoo_centered, hizoo_l
from zoptim.testing import Trial, functions

from .row import Row

ROWS = {
    "hizoo": Row(
        lambda **s: hizoo(**{"lr": 0.05, "alpha": 1e-3, **s}),
        frozenset({"shift-free"}),
        (
            Trial(functions.quadratic(), 4000, 0.01, (0.05, 0.01, 0.003)),
            Trial(functions.logistic(), 4000, 0.02, (0.1, 0.02, 0.005)),
        ),
    ),
    "hizoo_centered": Row(
        lambda **s: hizoo_centered(**{"lr": 0.05, "alpha": 1e-3, **s}),
        frozenset({"shift-free"}),
        (
            Trial(functions.quadratic(), 4000, 0.01, (0.05, 0.01, 0.003)),
            Trial(functions.logistic(), 4000, 0.02, (0.1, 0.02, 0.005)),
        ),
    ),
    "hizoo_l": Row(
        lambda **s: hizoo_l(**{"lr": 0.05, "alpha": 1e-3, **s}),
        frozenset({"shift-free"}),
        (
            Trial(functions.quadratic(), 4000, 0.01, (0.05, 0.01, 0.003)),
            Trial(functions.logistic(), 4000, 0.02, (0.1, 0.02, 0.005)),
        ),
    ),
}

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "hizoo, 3 draws, quick": ("hizoo", {"n": 3, "alpha": 0.1}),
    "hizoo_centered, quick": ("hizoo_centered", {"alpha": 0.1, "n": 2}),
    "hizoo_l, signs": ("hizoo_l", {"n": 2, "alpha": 0.1, "law": "signs", "schedule": "cosine"}),
}

"""Rows of the shelf test: variance."""

from __future__ import annotations

from typing import Any

from zoptim.methods.variance import mezo_svrg
from zoptim.testing import Trial, functions

from .row import Row

ROWS = {
    "mezo_svrg": Row(
        lambda **s: mezo_svrg(**{"lr": 0.05, **s}),
        frozenset({"shift-free", "additive"}),
        (
            Trial(functions.quadratic(), 4000, 0.01, (0.05, 0.01, 0.003)),
            Trial(functions.logistic(), 4000, 0.02, (0.1, 0.02, 0.005)),
        ),
    ),
}

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {}

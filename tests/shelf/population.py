"""Rows of the shelf test: populations."""

from __future__ import annotations

from typing import Any

from zoptim.methods.population import consensus, openai_es
from zoptim.testing import Trial, functions

from .row import Row

ROWS = {
    "openai_es": Row(
        lambda **s: openai_es(**{"lr": 0.05, "n": 4, **s}),
        frozenset({"additive", "rank-invariant", "scale-free", "shift-free"}),
        (
            Trial(functions.quadratic(), 4000, 0.01, (0.2, 0.05, 0.01)),
            Trial(functions.logistic(), 4000, 0.02, (0.3, 0.1, 0.02)),
        ),
    ),
    "consensus": Row(
        lambda **s: consensus(**{"lr": 0.05, "n": 4, **s}),
        frozenset({"additive", "shift-free"}),
        (
            Trial(functions.quadratic(), 4000, 0.01, (0.05, 0.01, 0.003)),
            Trial(functions.logistic(), 4000, 0.02, (0.1, 0.02, 0.005)),
        ),
    ),
}

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "openai_es, decayed": ("openai_es", {"n": 3, "weight_decay": 0.1, "schedule": "linear"}),
    "consensus, the hop itself, cold": ("consensus", {"lr": 0.1, "eps": 0.05, "temperature": 0.025, "n": 5}),
}

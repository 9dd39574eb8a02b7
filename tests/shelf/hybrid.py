"""Rows of the shelf test: the probes' part of methods that also take gradients (the whole: tests/drivers)."""

from __future__ import annotations

from typing import Any

from zoptim.methods.hybrid import addax, alternate, forward_gradient, sam, split
from zoptim.testing import Trial, functions

from .row import Row

MEZO = frozenset({"unbiased", "shift-free"})
TRIALS = (Trial(functions.quadratic(), 2000, 0.001, (0.05,)),)

ROWS = {
    "forward_gradient": Row(
        lambda **s: forward_gradient(**{"lr": 0.05, **s}),
        MEZO | {"additive"},
        (
            Trial(functions.quadratic(), 3000, 0.001, (0.05,)),
            Trial(functions.logistic(), 6000, 0.001, (0.1,)),
        ),
    ),
    "addax": Row(lambda **s: addax(**{"lr": 0.05, **s}), MEZO, TRIALS),
    "split": Row(lambda **s: split(**{"lr": 0.05, **s}), MEZO, TRIALS),
    "alternate": Row(lambda **s: alternate(**{"lr": 0.05, **s}), MEZO, TRIALS),
    "sam": Row(lambda **s: sam(**{"lr": 0.05, **s}), MEZO, TRIALS),
}

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "forward_gradient, 3 draws": ("forward_gradient", {"n": 3, "law": "signs", "schedule": "linear"}),
    "addax, 3 draws": ("addax", {"n": 3, "law": "signs"}),
}

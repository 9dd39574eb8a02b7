"""Rows of the shelf test: quantised weights, whose scales are not negative."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zoptim.methods.quantized import qzo
from zoptim.testing import Problem, Trial, functions

from .row import Row


def above(problem: Problem, by: float = 3.0) -> Problem:
    """The same function moved so that its minimum is where scales may go; it begins where it began, at 0."""
    assert (problem.argmin + by > 0).all()
    return replace(
        problem, name=f"{problem.name}, above 0", f=lambda x: problem.f(x - by), argmin=problem.argmin + by
    )


ROWS = {
    "qzo": Row(
        lambda **s: qzo(**{"lr": 0.05, "floored": "*", **s}),
        frozenset({"shift-free"}),
        (
            Trial(above(functions.quadratic()), 2000, 0.001, (0.05,)),
            Trial(above(functions.quadratic(10, 100.0)), 8000, 0.05, (0.05,)),
            Trial(above(functions.finite_sum()), 8000, 0.01, (0.05, 0.01)),
        ),
    ),
}

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "qzo, 3 draws": ("qzo", {"n": 3}),
    "qzo, no clip": ("qzo", {"clip": float("inf"), "law": "signs", "schedule": "cosine"}),
    "qzo, nothing floored": ("qzo", {"floored": "*scales"}),
}

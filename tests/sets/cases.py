"""One row a set: how to make it for points of d numbers, and how to draw points of it without using its own code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoptim.sets import Box, L1Ball, L2Ball, Set, Simplex, linf_ball

D = 12


@dataclass(frozen=True)
class Case:
    name: str
    set: Set
    inside: Callable[[Any], np.ndarray]  # a numpy Generator -> a feasible point (D,)


def shift() -> np.ndarray:
    return np.linspace(-0.7, 0.9, D)


def shares(r: Any) -> np.ndarray:
    return r.dirichlet(np.full(D, 0.5))


def in_ball(r: Any, p: float) -> np.ndarray:
    z = r.standard_normal(D) * r.integers(0, 2, D)
    return z / max(np.linalg.norm(z, p), 1e-9) * r.choice([1.0, r.uniform()])


LOW, HIGH = np.linspace(-1.0, 0.2, D), np.linspace(0.3, 2.0, D)

CASES = [
    Case("box", Box(LOW, HIGH), lambda r: LOW + (HIGH - LOW) * r.choice([0.0, 1.0, r.uniform()], D)),
    Case("half-open box", Box(0.0, np.where(np.arange(D) % 2, np.inf, HIGH)), lambda r: HIGH * r.uniform(0, 1, D)),
    Case("linf", linf_ball(0.5, shift()), lambda r: shift() + 0.5 * in_ball(r, np.inf)),
    Case("l2", L2Ball(1.5, shift()), lambda r: shift() + 1.5 * in_ball(r, 2)),
    Case("l2 about 0", L2Ball(0.8), lambda r: 0.8 * in_ball(r, 2)),
    Case("l1", L1Ball(1.5, shift()), lambda r: shift() + 1.5 * in_ball(r, 1)),
    Case("simplex", Simplex(2.0), lambda r: 2.0 * shares(r)),
]  # fmt: skip

BY_NAME = {case.name: case for case in CASES}


def offering(*operations: str) -> list[Case]:
    return [case for case in CASES if case.set.offers >= set(operations)]

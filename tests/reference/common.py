"""What the editions share: the mean loss at a point, named noise, the schedules' factor."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from zoptim import noise

Function = Callable[[np.ndarray], np.ndarray]


def loss(f: Function, x: np.ndarray) -> float:
    """f at one point, the mean over items."""
    return float(np.mean(f(x[None])))


def direction(law: str, key: int, t: int, i: int, slot: int, d: int) -> np.ndarray:
    return {"signs": noise.signs, "normal": noise.normals}[law](key, t, i, slot, 0, d).astype(np.float64)


def factor(schedule: str, t: int, horizon: int) -> float:
    x = (t + 0.5) / horizon  # the middle of step t
    return {"constant": 1.0, "linear": 1.0 - x, "cosine": 0.5 * (1.0 + math.cos(math.pi * x))}[schedule]

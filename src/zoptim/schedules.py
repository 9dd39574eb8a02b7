"""Schedules: the factor of a base value (lr) at step t of a horizon of T steps.

They see t/T only, so a run that is stopped early by the clock has the same prefix as one that is not,
and a resumed run continues on the same curve.  They are not learning-rate finders: see `lm.calibrate`.
"""

from __future__ import annotations

import math

from .protocols import Schedule


def constant() -> Schedule:
    """1 at every step."""
    return lambda t, horizon: 1.0


def cosine(floor: float = 0.0, warmup: float = 0.0) -> Schedule:
    """Linear warm-up over the first `warmup` share, then half a cosine down to `floor`.

    Example:
        >>> f = cosine()
        >>> [round(f(t, 4), 3) for t in range(4)]
        [0.962, 0.691, 0.309, 0.038]
    """

    def factor(t: int, horizon: int) -> float:
        x = min(1.0, (t + 0.5) / max(1, horizon))
        if x < warmup:
            return x / warmup
        x = (x - warmup) / (1.0 - warmup)
        return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * x))

    return factor


def linear(floor: float = 0.0) -> Schedule:
    """From 1 down to `floor` in a straight line."""
    return lambda t, horizon: floor + (1.0 - floor) * max(0.0, 1.0 - (t + 0.5) / max(1, horizon))


SCHEDULES = {"constant": constant, "cosine": cosine, "linear": linear}

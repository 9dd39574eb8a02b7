"""Quantised weights: QZO, the parameters being the scales."""

from __future__ import annotations

import numpy as np

from .common import Function, direction, factor, loss


def qzo(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, clip: float | None, n: int, law: str, schedule: str, floored: str,
) -> np.ndarray:  # fmt: skip
    """QZO, arXiv 2505.13430: Q-SPSA, directional-derivative clipping, the update of the scales Delta."""
    delta, path = x0.copy(), [x0.copy()]
    for t in range(steps):
        g = np.zeros_like(delta)
        for i in range(n):
            z = direction(law, key, t, i, slot, delta.size)  # z ~ N(0, I), one a scale
            d = (loss(f, delta + eps * z) - loss(f, delta - eps * z)) / (2 * eps)  # Q-SPSA
            d = d if clip is None else min(max(d, -clip), clip)  # DDC: d' = clip(d, -C, C)
            g += d * z / n
        delta = delta - lr * factor(schedule, t, horizon) * g
        if floored == "*":  # the one slot of a function is not called scales
            delta = np.maximum(delta, 0.0)  # Delta <- max(Delta - eta d' z, 0)
        path.append(delta)
    return np.stack(path)


EDITIONS = {"qzo": qzo}

"""Methods that also take gradients; without a `gradient` the probes' part alone, which is MeZO's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .common import Function, direction, factor, loss
from .plain import mezo

Gradient = Callable[[np.ndarray], np.ndarray]


def probe(f: Function, theta: np.ndarray, key: int, slot: int, t: int, eps: float, n: int, law: str) -> Any:
    """The two-sided estimate sum_i c_i z_i at theta."""
    g = np.zeros_like(theta)
    for i in range(n):
        z = direction(law, key, t, i, slot, theta.size)
        g += (loss(f, theta + eps * z) - loss(f, theta - eps * z)) / (2 * eps * n) * z
    return g


def addax(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, n: int, law: str, schedule: str, alpha: float, threshold: int, batch1: int,
    gradient: Gradient | None = None,
) -> np.ndarray:  # fmt: skip
    """Addax, arXiv 2410.06441, algorithm 1; f is the loss on B0, `gradient` that of the loss on B1."""
    if gradient is None:
        return mezo(f, x0, key=key, slot=slot, steps=steps, horizon=horizon, lr=lr, eps=eps, n=n, law=law,
                    schedule=schedule, weight_decay=0.0)  # fmt: skip
    theta, path = x0.copy(), [x0.copy()]
    for t in range(steps):
        eta = lr * factor(schedule, t, horizon)
        g0 = probe(f, theta, key, slot, t, eps, n, law)  # line 5: probed before anything moves
        g1 = gradient(theta)  # line 8: at the same theta
        theta = theta - eta * (1 - alpha) * g1  # line 9: in place, tensor by tensor
        theta = theta - eta * alpha * g0  # line 12
        path.append(theta)
    return np.stack(path)


EDITIONS = {"addax": addax}

"""Plain estimators: MeZO."""

from __future__ import annotations

import numpy as np

from .common import Function, direction, factor, loss


def mezo(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, n: int, law: str, schedule: str, weight_decay: float,
) -> np.ndarray:  # fmt: skip
    """MeZO, arXiv 2305.17333: definition 1 (SPSA), definition 2 (ZO-SGD), n-SPSA."""
    theta, path = x0.copy(), [x0.copy()]
    for t in range(steps):
        eta = lr * factor(schedule, t, horizon)
        g = np.zeros_like(theta)
        for i in range(n):
            z = direction(law, key, t, i, slot, theta.size)  # z ~ N(0, I)
            l_plus = loss(f, theta + eps * z)  # definition 1: L(theta + eps z; B)
            l_minus = loss(f, theta - eps * z)  # definition 1: L(theta - eps z; B)
            c = (l_plus - l_minus) / (2 * eps * n)  # definition 1, the mean over n draws (n-SPSA)
            g += c * z  # definition 1: c z estimates the gradient
        theta = theta - (eta * weight_decay) * theta  # decoupled decay (off in the paper's runs)
        theta = theta - eta * g  # definition 2: theta - eta g
        path.append(theta)
    return np.stack(path)


EDITIONS = {"mezo": mezo}

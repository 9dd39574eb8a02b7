"""Variance reduction: MeZO-SVRG."""

from __future__ import annotations

import numpy as np

from .common import Function, direction, factor, loss


def mezo_svrg(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, period: int, sample: int, boost: float, law: str, schedule: str,
) -> np.ndarray:  # fmt: skip
    """MeZO-SVRG, arXiv 2404.08080 algorithm 1; f is the same on every batch, `sample` does not matter."""
    theta, path = x0.copy(), [x0.copy()]
    for t in range(steps):
        eta = lr * factor(schedule, t, horizon)
        z = direction(law, key, t, 0, slot, theta.size)

        def spsa(x: np.ndarray, z: np.ndarray = z) -> np.ndarray:
            return (loss(f, x + eps * z) - loss(f, x - eps * z)) / (2 * eps) * z

        if t % period == 0:
            anchor = theta.copy()  # theta_bar
            g = spsa(theta)  # the full-batch estimate
            theta = theta - eta * boost * g  # eta_1 = boost eta_2
        else:
            theta = theta - eta * (spsa(theta) - spsa(anchor) + g)  # the same z at both points
        path.append(theta)
    return np.stack(path)


EDITIONS = {"mezo_svrg": mezo_svrg}

"""Few of the weights: Sparse-MeZO."""

from __future__ import annotations

import numpy as np

from .common import Function, direction, factor, loss


def sparse_mezo(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, sparsity: float, n: int, law: str, schedule: str,
) -> np.ndarray:  # fmt: skip
    """Sparse-MeZO, arXiv 2402.15751: algorithm 1 of one layer, with GetMask as it is meant (of magnitudes)."""
    theta, path = x0.copy(), [x0.copy()]
    sizes = np.sort(np.abs(x0))
    h = sizes[max(1, round((1 - sparsity) * x0.size)) - 1]  # the percentile, before training
    if h == sizes[-1]:
        h = np.inf  # no weight is larger: magnitude tells nothing
    for t in range(steps):
        m = np.abs(theta) <= h  # GetMask, of the unperturbed weights
        g = np.zeros_like(theta)
        for i in range(n):
            z = m * direction(law, key, t, i, slot, theta.size)  # z_hat = m z
            l_plus, l_minus = loss(f, theta + eps * z), loss(f, theta - eps * z)
            g += (l_plus - l_minus) / (2 * eps * n) * z  # proj_grad z_hat
        theta = theta - lr * factor(schedule, t, horizon) * g
        path.append(theta)
    return np.stack(path)


EDITIONS = {"sparse_mezo": sparse_mezo}

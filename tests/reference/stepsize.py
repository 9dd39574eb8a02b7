"""Step sizes from the losses: FZOO."""

from __future__ import annotations

import math

import numpy as np

from .common import Function, direction, factor, loss


def fzoo(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, n: int, law: str, schedule: str,
) -> np.ndarray:  # fmt: skip
    """FZOO, arXiv 2506.09034, in the published code's scaling (lr = the paper's / eps) with the paper's sigma."""
    theta, path = x0.copy(), [x0.copy()]
    for t in range(steps):
        eta = lr * factor(schedule, t, horizon)
        u = [direction(law, key, t, i, slot, theta.size) for i in range(n)]  # u_i in {-1, +1}^d
        l_0 = loss(f, theta)  # l_0 = L(theta; B)
        ls = [loss(f, theta + eps * u_i) for u_i in u]  # l_i = L(theta + eps u_i; B)
        g = sum((l_i - l_0) * u_i for l_i, u_i in zip(ls, u, strict=True)) / (eps * n)  # one-sided estimate
        mean = sum(ls) / n
        sigma = math.sqrt(sum((l_i - mean) ** 2 for l_i in ls) / (n - 1))  # sigma^2, unbiased
        theta = theta - (eta * eps) * g / sigma  # theta - eta_paper g / sigma, eta_paper = eps eta
        path.append(theta)
    return np.stack(path)


EDITIONS = {"fzoo": fzoo}

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


def fzoo_r(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, n: int, law: str, schedule: str,
) -> np.ndarray:  # fmt: skip
    """FZOO-R, arXiv 2506.09034: n/2 new probes, sigma over them and the n/2 of the step before."""
    theta, path, before = x0.copy(), [x0.copy()], []
    for t in range(steps):
        u = [direction(law, key, t, i, slot, theta.size) for i in range(n // 2)]
        l_0 = loss(f, theta)
        ls = [loss(f, theta + eps * u_i) for u_i in u]
        g = sum((l_i - l_0) * u_i for l_i, u_i in zip(ls, u, strict=True)) / (eps * (n // 2))
        sigma = np.std([*ls, *before], ddof=1)
        theta = theta - lr * factor(schedule, t, horizon) * eps * g / sigma
        before = ls
        path.append(theta)
    return np.stack(path)


def meazo(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, n: int, beta: float, law: str, schedule: str,
) -> np.ndarray:  # fmt: skip
    """MEAZO, arXiv 2605.03869: Adam's second moment as one number."""
    theta, path, v = x0.copy(), [x0.copy()], 0.0
    for t in range(steps):
        z = [direction(law, key, t, i, slot, theta.size) for i in range(n)]
        c = [(loss(f, theta + eps * z_i) - loss(f, theta - eps * z_i)) / (2 * eps * n) for z_i in z]
        v = beta * v + (1 - beta) * sum(c_i**2 for c_i in c)
        v_hat = v / (1 - beta ** (t + 1))
        g = sum(c_i * z_i for c_i, z_i in zip(c, z, strict=True))
        theta = theta - lr * factor(schedule, t, horizon) * g / math.sqrt(v_hat)
        path.append(theta)
    return np.stack(path)


EDITIONS = {"fzoo": fzoo, "fzoo_r": fzoo_r, "meazo": meazo}

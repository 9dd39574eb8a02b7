"""Populations of normal members."""

from __future__ import annotations

import numpy as np

from .common import Function, direction, factor, loss


def openai_es(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, n: int, weight_decay: float, schedule: str,
) -> np.ndarray:  # fmt: skip
    """arXiv 1703.03864, algorithm 1 with the fitness shaping and mirrored sampling of its section 2.1."""
    theta, path = x0.copy(), [x0.copy()]
    for t in range(steps):
        noise = [direction("normal", key, t, i, slot, theta.size) for i in range(n)]
        returns = np.array([[-loss(f, theta + eps * z), -loss(f, theta - eps * z)] for z in noise])
        ranks = np.empty(2 * n)
        for k, mine in enumerate(returns.ravel()):  # the mean rank of those that tie
            ranks[k] = np.sum(returns < mine) + (np.sum(returns == mine) - 1) / 2
        y = (ranks / (2 * n - 1) - 0.5).reshape(n, 2)  # centered ranks
        g = sum((y[i, 0] - y[i, 1]) * noise[i] for i in range(n)) / (
            2 * n
        )  # the weighted sum, over returns.size
        theta = theta + lr * factor(schedule, t, horizon) * (g - weight_decay * theta)
        path.append(theta)
    return np.stack(path)


def consensus(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, n: int, temperature: float, schedule: str,
) -> np.ndarray:  # fmt: skip
    """arXiv 2306.09778, consensus hopping: x_k = c(rho) of particles around x_{k-1}; lambda dt = lr T / eps^2."""
    x, path, alpha = x0.copy(), [x0.copy()], 1 / temperature
    for t in range(steps):
        zs = [direction("normal", key, t, i, slot, x.size) for i in range(n)]
        particles = [x + s * eps * z for z in zs for s in (1, -1)]
        energy = np.array([loss(f, p) for p in particles])
        omega = np.exp(-alpha * (energy - energy.min()))
        c = sum(w * p for w, p in zip(omega, particles, strict=True)) / omega.sum()  # the consensus point
        x = x + lr * factor(schedule, t, horizon) / (alpha * eps**2) * (c - x)
        path.append(x)
    return np.stack(path)


EDITIONS = {"openai_es": openai_es, "consensus": consensus}

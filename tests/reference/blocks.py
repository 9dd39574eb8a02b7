"""One part of the weights at a time: block-wise MeZO, and DeepZero's coordinates."""

from __future__ import annotations

import numpy as np

from zoptim import noise

from .common import Function, direction, factor, loss


def blockwise(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, n: int, law: str, schedule: str, blocks: int = 1,
) -> np.ndarray:  # fmt: skip
    """Block-wise descent, arXiv 2402.11592, over `blocks` equal parts of the vector (one: plain SPSA)."""
    theta, path = x0.copy(), [x0.copy()]
    for t in range(steps):
        inside = np.arange(theta.size) * blocks // theta.size == t % blocks  # one block, in turn
        g = np.zeros_like(theta)
        for i in range(n):
            z = np.where(inside, direction(law, key, t, i, slot, theta.size), 0.0)  # perturb this block only
            g += (loss(f, theta + eps * z) - loss(f, theta - eps * z)) / (2 * eps * n) * z
        theta = theta - lr * factor(schedule, t, horizon) * g  # updated before the next block is probed
        path.append(theta)
    return np.stack(path)


def deepzero(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, n: int, every: int, beta: float, keep: float, shares: dict[str, float], schedule: str,
) -> np.ndarray:  # fmt: skip
    """DeepZero, arXiv 2310.02025: CGE over a random set S, redrawn every `every` steps; one tensor: no shares."""
    theta, v, path = x0.copy(), np.zeros_like(x0), [x0.copy()]
    for t in range(steps):
        words = noise.uniform_bits(key, noise.ORDER, t // every, 1, slot, 0, 2 * theta.size).astype(np.uint64)
        u = (words[0::2] + (words[1::2] << np.uint64(32))) >> np.uint64(11)  # a random number a coordinate
        chosen = np.argsort(u, kind="stable")[:n]  # S: those of the n smallest
        g = np.zeros_like(theta)
        for j in chosen:
            e_j = np.eye(theta.size)[j]
            g += (
                (loss(f, theta + eps * e_j) - loss(f, theta)) / eps * e_j
            )  # CGE: (l(theta + mu e_j) - l(theta)) / mu e_j
        v = beta * v + g  # momentum on the sparse gradient
        theta = theta - lr * factor(schedule, t, horizon) * v
        path.append(theta)
    return np.stack(path)


EDITIONS = {"blockwise": blockwise, "deepzero": deepzero}

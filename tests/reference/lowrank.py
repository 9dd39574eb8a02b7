"""Low-rank directions: LOZO."""

from __future__ import annotations

import math

import numpy as np

from zoptim import noise

from .common import Function, factor, loss
from .plain import mezo


def lozo(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, rank: int, keep: int, n: int, law: str, schedule: str, shape: tuple[int, ...] = (),
) -> np.ndarray:  # fmt: skip
    """LOZO, arXiv 2410.07698, algorithm 1 of one matrix of the given shape (a vector: plain normals)."""
    if not shape:
        return mezo(f, x0, key=key, slot=slot, steps=steps, horizon=horizon, lr=lr, eps=eps, n=n, law=law,
                    schedule=schedule, weight_decay=0.0)  # fmt: skip
    rows, cols, make = shape[0], math.prod(shape[1:]), {"signs": noise.signs, "normal": noise.normals}[law]
    x, path = x0.copy(), [x0.copy()]
    for t in range(steps):
        if t % keep == 0:  # lazy sampling: V is renewed every nu = keep steps
            v = make(key, t // keep, 0, slot, rows * rank, cols * rank).reshape(rank, cols).T.astype(float)
        g = np.zeros((rows, cols))
        for i in range(n):
            u = make(key, t, i, slot, 0, rows * rank).reshape(rows, rank).astype(float)  # U ~ N(0, 1)
            reach = eps / math.sqrt(rank)  # the paper's epsilon
            l_plus = loss(f, x + reach * (u @ v.T).reshape(x.shape))  # F(X + epsilon U V^T)
            l_minus = loss(f, x - reach * (u @ v.T).reshape(x.shape))  # F(X - epsilon U V^T)
            c = (l_plus - l_minus) / (2 * reach)  # LGE: the difference over 2 epsilon
            g += c * (u @ v.T) / rank / n  # LGE: c U V^T / r, the mean over draws
        x = x - lr * factor(schedule, t, horizon) * g.reshape(x.shape)  # X <- X - alpha LGE
        path.append(x)
    return np.stack(path)


EDITIONS = {"lozo": lozo}

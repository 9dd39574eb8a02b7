"""The obvious editions: what the papers print, line by line, in numpy.  Slow, and meant to be read.

Each takes (f, x0) and the settings of the method of the same name and returns the trajectory
(steps + 1, d).  Only the noise z comes from the package: z is named by (key, t, i, slot).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from zoptim import noise

Function = Callable[[np.ndarray], np.ndarray]


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


def loss(f: Function, x: np.ndarray) -> float:
    """f at one point, the mean over items."""
    return float(np.mean(f(x[None])))


def direction(law: str, key: int, t: int, i: int, slot: int, d: int) -> np.ndarray:
    return {"signs": noise.signs, "normal": noise.normals}[law](key, t, i, slot, 0, d).astype(np.float64)


def factor(schedule: str, t: int, horizon: int) -> float:
    x = (t + 0.5) / horizon  # the middle of step t
    return {"constant": 1.0, "linear": 1.0 - x, "cosine": 0.5 * (1.0 + math.cos(math.pi * x))}[schedule]


EDITIONS: dict[str, Callable[..., Any]] = {"mezo": mezo, "fzoo": fzoo, "lozo": lozo}

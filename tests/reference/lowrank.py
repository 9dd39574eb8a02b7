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


def lozo_m(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int, lr: float, eps: float,
    rank: int, keep: int, beta: float, n: int, law: str, schedule: str, shape: tuple[int, ...] = (),
) -> np.ndarray:  # fmt: skip
    """LOZO-M, arXiv 2410.07698, algorithm 2 of one matrix; of a vector, plain momentum."""
    make = {"signs": noise.signs, "normal": noise.normals}[law]
    x, path = x0.copy(), [x0.copy()]
    rows, cols = (shape[0], math.prod(shape[1:])) if shape else (x0.size, 1)
    r = rank if shape else 1
    big_n, v = np.zeros((rows, r)), np.ones((1, 1))
    for t in range(steps):
        if shape and t % keep == 0:
            old, v = v, make(key, t // keep, 0, slot, rows * r, cols * r).reshape(r, cols).T.astype(float)
            if t:
                big_n = big_n @ (old.T @ v) / cols  # projection onto the new V
        new = np.zeros((rows, r))
        for i in range(n):
            u = make(key, t, i, slot, 0, rows * r).reshape(rows, r).astype(float)
            z = (u @ v.T).reshape(x.shape) / math.sqrt(r)
            new += (loss(f, x + eps * z) - loss(f, x - eps * z)) / (2 * eps * n) * u  # c U
        big_n = beta * big_n + (1 - beta) * new  # N <- beta N + (1 - beta) c U
        x = x - lr * factor(schedule, t, horizon) * (big_n @ v.T).reshape(x.shape) / math.sqrt(r)
        path.append(x)
    return np.stack(path)


def eggroll(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, n: int, rank: int, law: str, schedule: str, shape: tuple[int, ...] = (),
) -> np.ndarray:  # fmt: skip
    """EGGROLL, arXiv 2511.16652, of one matrix; eta = lr / sigma.  Vectors: dense perturbations."""
    make = {"signs": noise.signs, "normal": noise.normals}[law]
    w, path, sigma, members = x0.copy(), [x0.copy()], eps, 2 * n
    for t in range(steps):
        es = []  # E_k: pair p = k // 2, + for even k, - for odd
        for p in range(n):
            if shape:
                rows, cols = shape[0], math.prod(shape[1:])
                a = make(key, t, p, slot, 0, rows * rank).reshape(rows, rank).astype(float)
                b = make(key, t, p, slot, rows * rank, cols * rank).reshape(rank, cols).T.astype(float)
                e = sigma / math.sqrt(rank) * (a @ b.T).reshape(w.shape)
            else:
                e = sigma * make(key, t, p, slot, 0, w.size).astype(float)
            es += [e, -e]
        rewards = np.array([-loss(f, w + e) for e in es])
        fitness = (rewards - rewards.mean()) / rewards.std()
        g = math.sqrt(members) * sum(f_k * e for f_k, e in zip(fitness, es, strict=True)) / members
        w = w + lr * factor(schedule, t, horizon) / sigma * g  # ascent on the reward
        path.append(w)
    return np.stack(path)


def grzo(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, n: int, schedule: str, shape: tuple[int, ...] = (),
) -> np.ndarray:  # fmt: skip
    """GRZO, arXiv 2606.02857, of one matrix (or vector), f the same for every example; eta = 2 eps lr."""
    x, path = x0.copy(), [x0.copy()]
    rows, cols = (shape[0], math.prod(shape[1:])) if shape else (x0.size, 1)
    for t in range(steps):
        u = noise.normals(key, t, 0, slot, 0, rows * cols).astype(float).reshape(rows, cols)
        zs = []
        for j in range(n):
            r = noise.signs(key, t, j + 1, slot, 0, rows).astype(float)
            s = noise.signs(key, t, j + 1, slot, rows, cols).astype(float) if shape else np.ones(1)
            zs.append((u * np.outer(r, s)).reshape(x.shape))  # z_j = U o r_j s_j'
        delta = np.array([loss(f, x + eps * z) - loss(f, x - eps * z) for z in zs])
        a = delta / delta.std()
        g = sum(a_j * z for a_j, z in zip(a, zs, strict=True)) / (2 * eps * n)
        x = x - (2 * eps * lr) * factor(schedule, t, horizon) * g
        path.append(x)
    return np.stack(path)


EDITIONS = {"lozo": lozo, "lozo_m": lozo_m, "eggroll": eggroll, "grzo": grzo}

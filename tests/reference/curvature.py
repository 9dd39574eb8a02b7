"""Diagonal curvature: HiZOO, HiZOO-L."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .common import Function, direction, factor, loss


def _hizoo(
    estimate: Callable[[float, np.ndarray, np.ndarray], np.ndarray], least: float,
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, n: int, alpha: float, law: str, schedule: str,
) -> np.ndarray:  # fmt: skip
    """HiZOO, arXiv 2402.15173 algorithm 1, the step taken along what was probed (the old H)."""
    theta, path, h = x0.copy(), [x0.copy()], np.ones_like(x0)  # h = diag of Sigma^-1
    for t in range(steps):
        g, new = np.zeros_like(theta), np.zeros_like(theta)
        l_0 = loss(f, theta)
        for i in range(n):
            u = direction(law, key, t, i, slot, theta.size)
            s = u / np.sqrt(h)  # Sigma^1/2 u
            l_plus, l_minus = loss(f, theta + eps * s), loss(f, theta - eps * s)
            g += (l_plus - l_minus) / (2 * eps) * s / n
            half = (l_plus + l_minus - 2 * l_0) / (2 * eps**2)  # 1/2 Delta L / mu^2
            new += estimate(half, h, u) / n
        h = np.maximum((1 - alpha) * h + alpha * new, least)
        theta = theta - lr * factor(schedule, t, horizon) * g
        path.append(theta)
    return np.stack(path)


def hizoo(f: Function, x0: np.ndarray, **how: Any) -> np.ndarray:
    """As printed: 1/2 |Delta L| / mu^2 Sigma^-1/2 u u' Sigma^-1/2, its diagonal."""
    return _hizoo(lambda half, h, u: abs(half) * h * u**2, 0.0, f, x0, **how)


def hizoo_centered(f: Function, x0: np.ndarray, **how: Any) -> np.ndarray:
    """The identity behind it: Sigma^-1/2 (u u' - I) Sigma^-1/2, signed."""
    return _hizoo(lambda half, h, u: half * h * (u**2 - 1), 1e-3, f, x0, **how)


def hizoo_l(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, n: int, alpha: float, law: str, schedule: str, shape: tuple[int, int] | None = None,
) -> np.ndarray:  # fmt: skip
    """HiZOO-L on one matrix (a vector: one column), H ~ r c' / mean(r)."""
    rows, cols = shape or (x0.size, 1)
    theta, path, r, c = x0.copy(), [x0.copy()], np.ones(rows), np.ones(cols)
    for t in range(steps):
        h = np.outer(r, c) / r.mean()
        g, new = np.zeros_like(theta), np.zeros((rows, cols))
        l_0 = loss(f, theta)
        for i in range(n):
            u = direction(law, key, t, i, slot, theta.size)
            s = u / np.sqrt(h.ravel())
            l_plus, l_minus = loss(f, theta + eps * s), loss(f, theta - eps * s)
            g += (l_plus - l_minus) / (2 * eps) * s / n
            new += abs(l_plus + l_minus - 2 * l_0) / (2 * eps**2) * h * (u**2).reshape(rows, cols) / n
        r = (1 - alpha) * r + alpha * new.mean(axis=1)
        c = (1 - alpha) * c + alpha * new.mean(axis=0)
        theta = theta - lr * factor(schedule, t, horizon) * g
        path.append(theta)
    return np.stack(path)


EDITIONS = {"hizoo": hizoo, "hizoo_centered": hizoo_centered, "hizoo_l": hizoo_l}

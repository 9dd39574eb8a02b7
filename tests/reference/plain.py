"""Plain estimators: MeZO."""

from __future__ import annotations

import numpy as np

from .common import Function, direction, factor, loss


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


def zo_sgd(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, n: int, law: str, schedule: str,
) -> np.ndarray:  # fmt: skip
    """The one-sided random gradient estimate, arXiv 2402.11592."""
    theta, path = x0.copy(), [x0.copy()]
    for t in range(steps):
        l_0 = loss(f, theta)
        z = [direction(law, key, t, i, slot, theta.size) for i in range(n)]
        g = sum((loss(f, theta + eps * z_i) - l_0) / eps * z_i for z_i in z) / n
        theta = theta - lr * factor(schedule, t, horizon) * g
        path.append(theta)
    return np.stack(path)


def zo_conservative(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, law: str, schedule: str,
) -> np.ndarray:  # fmt: skip
    """ZO-SGD-Cons, arXiv 2402.11592: the argmin of three places."""
    theta, path = x0.copy(), [x0.copy()]
    for t in range(steps):
        z = direction(law, key, t, 0, slot, theta.size)
        c = (loss(f, theta + eps * z) - loss(f, theta - eps * z)) / (2 * eps)
        step = lr * factor(schedule, t, horizon) * c * z
        theta = min((theta, theta - step, theta + step), key=lambda x: loss(f, x))
        path.append(theta)
    return np.stack(path)


EDITIONS = {"mezo": mezo, "zo_sgd": zo_sgd, "zo_conservative": zo_conservative}

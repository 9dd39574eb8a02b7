"""Momentum and moments over the two-sided or one-sided estimate."""

from __future__ import annotations

import math

import numpy as np

from .common import Function, direction, factor, loss


def estimate(
    f: Function, theta: np.ndarray, z: list[np.ndarray], eps: float, *, two_sided: bool
) -> np.ndarray:
    """The mean of c_i z_i."""
    l_0 = loss(f, theta)
    g = np.zeros_like(theta)
    for z_i in z:
        l_plus = loss(f, theta + eps * z_i)
        c = (l_plus - loss(f, theta - eps * z_i)) / (2 * eps) if two_sided else (l_plus - l_0) / eps
        g += c * z_i / len(z)
    return g


def zo_momentum(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, n: int, beta: float, law: str, schedule: str,
) -> np.ndarray:  # fmt: skip
    """ZO-SGD-MMT, arXiv 2402.11592."""
    theta, path, v = x0.copy(), [x0.copy()], np.zeros_like(x0)
    for t in range(steps):
        z = [direction(law, key, t, i, slot, theta.size) for i in range(n)]
        v = beta * v + estimate(f, theta, z, eps, two_sided=True)  # v <- beta v + g
        theta = theta - lr * factor(schedule, t, horizon) * v
        path.append(theta)
    return np.stack(path)


def zo_momentum_pairs(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, n: int, beta: float, keep: int, law: str, schedule: str,
) -> np.ndarray:  # fmt: skip
    """The sum over the last `keep` estimates."""
    theta, path, past = x0.copy(), [x0.copy()], []
    for t in range(steps):
        z = [direction(law, key, t, i, slot, theta.size) for i in range(n)]
        past = [estimate(f, theta, z, eps, two_sided=True), *past][:keep]
        v = sum(beta**age * g for age, g in enumerate(past))
        theta = theta - lr * factor(schedule, t, horizon) * v
        path.append(theta)
    return np.stack(path)


def zo_adam(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, n: int, beta1: float, beta2: float, law: str, schedule: str,
) -> np.ndarray:  # fmt: skip
    """Adam, arXiv 1412.6980 algorithm 1, of the two-sided estimate."""
    theta, path = x0.copy(), [x0.copy()]
    m, v = np.zeros_like(x0), np.zeros_like(x0)
    for t in range(steps):
        z = [direction(law, key, t, i, slot, theta.size) for i in range(n)]
        g = estimate(f, theta, z, eps, two_sided=True)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat, v_hat = m / (1 - beta1 ** (t + 1)), v / (1 - beta2 ** (t + 1))
        theta = theta - lr * factor(schedule, t, horizon) * m_hat / (np.sqrt(v_hat) + 1e-8)
        path.append(theta)
    return np.stack(path)


def zo_adamm(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, n: int, beta1: float, beta2: float, law: str, schedule: str,
) -> np.ndarray:  # fmt: skip
    """ZO-AdaMM, arXiv 1910.06513 algorithm 1, unconstrained; u of the paper's sphere is z / sqrt(d)."""
    theta, path, d = x0.copy(), [x0.copy()], x0.size
    m, v, v_hat = np.zeros_like(x0), np.zeros_like(x0), np.zeros_like(x0)
    for t in range(steps):
        us = [direction(law, key, t, i, slot, d) / math.sqrt(d) for i in range(n)]
        mu = eps * math.sqrt(d)
        l_0 = loss(f, theta)
        g = sum((d / mu) * (loss(f, theta + mu * u) - l_0) * u for u in us) / n  # eq. 1
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        v_hat = np.maximum(v_hat, v)
        step = np.divide(m, np.sqrt(v_hat), out=np.zeros_like(m), where=v_hat > 0)
        theta = theta - lr * factor(schedule, t, horizon) * step
        path.append(theta)
    return np.stack(path)


def zo_signsgd(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, n: int, law: str, vote: bool, schedule: str,
) -> np.ndarray:  # fmt: skip
    """ZO-signSGD, ICLR 2019, algorithm 1, and its M-vote."""
    theta, path = x0.copy(), [x0.copy()]
    for t in range(steps):
        z = [direction(law, key, t, i, slot, theta.size) for i in range(n)]
        if vote:
            g = sum(np.sign((loss(f, theta + eps * u) - loss(f, theta)) * u) for u in z)
        else:
            g = estimate(f, theta, z, eps, two_sided=False)
        theta = theta - lr * factor(schedule, t, horizon) * np.sign(g)
        path.append(theta)
    return np.stack(path)


def zo_adamu(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, schedule: str,
) -> np.ndarray:  # fmt: skip
    """ZO-AdaMU, arXiv 2312.15184 algorithm 1."""
    theta, path, m = x0.copy(), [x0.copy()], np.zeros_like(x0)

    def anneal(t: int, phi: float, end: float) -> float:  # eq. 7
        t1, t2 = 0.05 * horizon, 0.8 * horizon
        if t < t1:
            return 1.0
        if t >= t2:
            return end
        return max(end, 0.5 + 0.5 * math.cos(math.pi * min(1.0, phi * (t - t1) / (t2 - t1))))

    for t in range(steps):
        a, b1, b2 = anneal(t, 1.0, 0.5), anneal(t, 0.1, 0.9), anneal(t, 1.5, 0.01)
        z1 = math.sqrt(a) * direction("normal", key, t, 0, slot, theta.size)  # N(0, a)
        z2 = m + math.sqrt(1 - a) * direction("normal", key, t, 1, slot, theta.size)  # N(m_{t-1}, 1 - a)
        m = b1 * z1 + (1 - b1) * z2  # the perturbation
        c = (loss(f, theta + eps * m) - loss(f, theta - eps * m)) / (2 * eps)
        v = b2 * z1**2 + (1 - b2) * z2**2
        theta = theta - lr * factor(schedule, t, horizon) * c * m / np.sqrt(v + 1e-8)
        path.append(theta)
    return np.stack(path)


EDITIONS = {
    "zo_momentum": zo_momentum,
    "zo_momentum_pairs": zo_momentum_pairs,
    "zo_adam": zo_adam,
    "zo_adamm": zo_adamm,
    "zo_signsgd": zo_signsgd,
    "zo_adamu": zo_adamu,
}

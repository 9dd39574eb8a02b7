"""Methods that also take gradients; without a `gradient` the probes' part alone, which is MeZO's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from zoptim.testing.functions import slopes

from .common import Function, direction, factor, loss
from .plain import mezo

Gradient = Callable[[np.ndarray], np.ndarray]


def probe(f: Function, theta: np.ndarray, key: int, slot: int, t: int, eps: float, n: int, law: str) -> Any:
    """The two-sided estimate sum_i c_i z_i at theta."""
    g = np.zeros_like(theta)
    for i in range(n):
        z = direction(law, key, t, i, slot, theta.size)
        g += (loss(f, theta + eps * z) - loss(f, theta - eps * z)) / (2 * eps * n) * z
    return g


def addax(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, n: int, law: str, schedule: str, alpha: float, threshold: int, batch1: int,
    gradient: Gradient | None = None,
) -> np.ndarray:  # fmt: skip
    """Addax, arXiv 2410.06441, algorithm 1; f is the loss on B0, `gradient` that of the loss on B1."""
    if gradient is None:
        return mezo(f, x0, key=key, slot=slot, steps=steps, horizon=horizon, lr=lr, eps=eps, n=n, law=law,
                    schedule=schedule, weight_decay=0.0)  # fmt: skip
    theta, path = x0.copy(), [x0.copy()]
    for t in range(steps):
        eta = lr * factor(schedule, t, horizon)
        g0 = probe(f, theta, key, slot, t, eps, n, law)  # line 5: probed before anything moves
        g1 = gradient(theta)  # line 8: at the same theta
        theta = theta - eta * (1 - alpha) * g1  # line 9: in place, tensor by tensor
        theta = theta - eta * alpha * g0  # line 12
        path.append(theta)
    return np.stack(path)


def alternate(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, n: int, law: str, schedule: str, turns: int, ratio: float, rule: str,
    gradient: Gradient | None = None,
) -> np.ndarray:  # fmt: skip
    """FO-ZO alternation, arXiv 2510.00761: odd rounds first-order, even rounds zeroth-order, N steps each."""
    if gradient is None:
        return mezo(f, x0, key=key, slot=slot, steps=steps, horizon=horizon, lr=lr, eps=eps, n=n, law=law,
                    schedule=schedule, weight_decay=0.0)  # fmt: skip
    theta, path, move = x0.copy(), [x0.copy()], RULES[rule]()
    for t in range(steps):
        eta = lr * factor(schedule, t, horizon)
        first_order = (t // turns) % 2 == 0 and t < horizon - turns  # starts first-order, ends zeroth-order
        if first_order:
            theta = theta - move(gradient(theta), ratio * eta)
        else:
            theta = theta - eta * probe(f, theta, key, slot, t, eps, n, law)
        path.append(theta)
    return np.stack(path)


def sam(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, n: int, law: str, schedule: str, rho: float, rule: str,
    gradient: Gradient | None = None,
) -> np.ndarray:  # fmt: skip
    """AdaZo-SAM, arXiv 2502.19571, algorithm 1."""
    if gradient is None:
        return mezo(f, x0, key=key, slot=slot, steps=steps, horizon=horizon, lr=lr, eps=eps, n=n, law=law,
                    schedule=schedule, weight_decay=0.0)  # fmt: skip
    theta, path, move = x0.copy(), [x0.copy()], RULES[rule]()
    for t in range(steps):
        eta = lr * factor(schedule, t, horizon)
        g_zo = probe(f, theta, key, slot, t, eps, n, law)  # (1/q) sum (f+ - f-)/(2 mu) u
        up = rho * g_zo / np.linalg.norm(g_zo) if rho else 0.0  # eps-hat: uphill
        theta = theta - move(gradient(theta + up), eta)  # one backward, at theta + eps-hat
        path.append(theta)
    return np.stack(path)


def split(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, n: int, law: str, schedule: str, blocks: int, ratio: float, rule: str,
    gradient: Gradient | None = None,
) -> np.ndarray:  # fmt: skip
    """Hybrid ZO-FO, arXiv 2402.11592, section 5; the slot is shallow, `gradient` that of the deep rest (slot + 1)."""
    if gradient is None:
        return mezo(f, x0, key=key, slot=slot, steps=steps, horizon=horizon, lr=lr, eps=eps, n=n, law=law,
                    schedule=schedule, weight_decay=0.0)  # fmt: skip
    theta, path, move, k = x0.copy(), [x0.copy()], RULES[rule](), gradient(x0).size
    for t in range(steps):
        eta = lr * factor(schedule, t, horizon)
        deep, shallow = theta[-k:], theta[:-k]
        rest = lambda s, deep=deep: f(np.concatenate([s, np.tile(deep, (len(s), 1))], 1))  # noqa: E731
        g0 = probe(rest, shallow, key, slot, t, eps, n, law)
        g1 = gradient(theta)  # of the deep part, at the same weights
        theta = np.concatenate([shallow - eta * g0, deep - move(g1, ratio * eta)])
        path.append(theta)
    return np.stack(path)


class Sgd:
    def __call__(self, g: np.ndarray, eta: float) -> np.ndarray:
        return eta * g


class Adam:
    """arXiv 1412.6980, algorithm 1."""

    def __init__(self) -> None:
        self.m, self.v, self.t = 0.0, 0.0, 0

    def __call__(self, g: np.ndarray, eta: float) -> np.ndarray:
        self.t += 1
        self.m = 0.9 * self.m + 0.1 * g
        self.v = 0.999 * self.v + 0.001 * g**2
        m_hat, v_hat = self.m / (1 - 0.9**self.t), self.v / (1 - 0.999**self.t)
        return np.asarray(eta * m_hat / (np.sqrt(v_hat) + 1e-8))


RULES: dict[str, Any] = {"sgd": Sgd, "adam": Adam}


def forward_gradient(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, n: int, law: str, schedule: str,
) -> np.ndarray:  # fmt: skip
    """Forward gradient, arXiv 2202.08587, definition 1 and algorithm 1."""
    theta, path = x0.copy(), [x0.copy()]
    for t in range(steps):
        g = np.zeros_like(theta)
        for i in range(n):
            v = direction(law, key, t, i, slot, theta.size)  # v ~ N(0, I)
            d = float(slopes(f, theta[None], v[None])[0])  # <grad f(theta), v>
            g += d / n * v  # g(theta) = <grad f, v> v, the mean over draws
        theta = theta - lr * factor(schedule, t, horizon) * g
        path.append(theta)
    return np.stack(path)


EDITIONS = {
    "forward_gradient": forward_gradient,
    "addax": addax,
    "split": split,
    "alternate": alternate,
    "sam": sam,
}

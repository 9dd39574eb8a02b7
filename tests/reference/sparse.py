"""Few of the weights: Sparse-MeZO, SensZOQ."""

from __future__ import annotations

import numpy as np

from zoptim import noise

from .common import Function, direction, factor, loss


def sparse_mezo(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, sparsity: float, n: int, law: str, schedule: str,
) -> np.ndarray:  # fmt: skip
    """Sparse-MeZO, arXiv 2402.15751: algorithm 1 of one layer, with GetMask as it is meant (of magnitudes)."""
    theta, path = x0.copy(), [x0.copy()]
    sizes = np.sort(np.abs(x0))
    h = sizes[max(1, round((1 - sparsity) * x0.size)) - 1]  # the percentile, before training
    if h == sizes[-1]:
        h = np.inf  # no weight is larger: magnitude tells nothing
    for t in range(steps):
        m = np.abs(theta) <= h  # GetMask, of the unperturbed weights
        g = np.zeros_like(theta)
        for i in range(n):
            z = m * direction(law, key, t, i, slot, theta.size)  # z_hat = m z
            l_plus, l_minus = loss(f, theta + eps * z), loss(f, theta - eps * z)
            g += (l_plus - l_minus) / (2 * eps * n) * z  # proj_grad z_hat
        theta = theta - lr * factor(schedule, t, horizon) * g
        path.append(theta)
    return np.stack(path)


def senszoq(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, density: float, mask: str, n: int, law: str, schedule: str,
) -> np.ndarray:  # fmt: skip
    """SensZOQ, arXiv 2406.02913: ZO-SGD on k chosen weights, here of the largest magnitude or at random."""
    theta, path, d = x0.copy(), [x0.copy()], x0.size
    k = max(1, round(density * d))
    if mask == "random":  # one in each of k stretches
        edges = [j * d // k for j in range(k + 1)]
        u = noise.uniforms(key, 0, 0, slot, 0, k)
        chosen = [
            a + int(x * (b - a)) for a, b, x in zip(edges[:-1], edges[1:], u.astype(float), strict=True)
        ]
    else:
        chosen = sorted(np.argsort(-np.abs(x0), kind="stable")[:k].tolist())
    for t in range(steps):
        g = np.zeros(k)
        for i in range(n):
            z = direction(law, key, t, i, slot, k)  # z ~ N(0, I_k): numbers for the k weights alone
            probe = np.zeros((2, d))
            probe[:, chosen] = eps * z, -eps * z
            c = (loss(f, theta + probe[0]) - loss(f, theta + probe[1])) / (2 * eps * n)
            g += c * z
        theta[chosen] -= lr * factor(schedule, t, horizon) * g
        path.append(theta.copy())
    return np.stack(path)


EDITIONS = {"sparse_mezo": sparse_mezo, "senszoq": senszoq}

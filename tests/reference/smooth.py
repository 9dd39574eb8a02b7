"""Estimates of a smoothed loss: RGF, two points on spheres, RSGF, one point and its residual."""

from __future__ import annotations

import numpy as np

from zoptim import noise

from .common import Function, direction, factor, loss


def rgf(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, sides: str, schedule: str,
) -> np.ndarray:  # fmt: skip
    """Scheme RG of Nesterov and Spokoiny 2017, with B = I."""
    x, path = x0.copy(), [x0.copy()]
    for t in range(steps):
        u = direction("normal", key, t, 0, slot, x.size)
        if sides == "one":
            g = (loss(f, x + eps * u) - loss(f, x)) / eps * u  # g_mu
        else:
            g = (loss(f, x + eps * u) - loss(f, x - eps * u)) / (2 * eps) * u  # ghat_mu
        x = x - lr * factor(schedule, t, horizon) * g
        path.append(x)
    return np.stack(path)


def two_point(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, n: int, block: int, schedule: str,
) -> np.ndarray:  # fmt: skip
    """Shamir, arXiv 1507.08752, with delta = eps sqrt(d); directions orthonormal in blocks by QR."""
    x, path, d = x0.copy(), [x0.copy()], x0.size
    delta, q = eps * np.sqrt(d), min(block, d)
    for t in range(steps):
        u = []
        for first in range(0, n, q):
            g = np.stack([direction("normal", key, t, first + j, slot, d) for j in range(q)], axis=1)
            basis, r = np.linalg.qr(g)
            u += list((basis * np.sign(np.diag(r))).T)  # Haar: the diagonal of R positive
        g = sum(d / (2 * delta) * (loss(f, x + delta * v) - loss(f, x - delta * v)) * v for v in u[:n]) / n
        x = x - lr * factor(schedule, t, horizon) * g
        path.append(x)
    return np.stack(path)


def l1_randomized(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, n: int, schedule: str,
) -> np.ndarray:  # fmt: skip
    """Akhavan et al., arXiv 2205.13910, equation 2, with h = eps d."""
    x, path, d = x0.copy(), [x0.copy()], x0.size
    h = eps * d
    for t in range(steps):
        g = np.zeros(d)
        for i in range(n):
            a, b = (noise.normals(key, t, i, slot, k * d, d).astype(np.float64) for k in (1, 2))
            exponential = (a**2 + b**2) / 2  # of mean 1
            s = direction("signs", key, t, i, slot, d)
            zeta = s * exponential / exponential.sum()  # uniform on the l1 sphere
            g += d / (2 * h) * (loss(f, x + h * zeta) - loss(f, x - h * zeta)) * np.sign(zeta) / n
        x = x - lr * factor(schedule, t, horizon) * g
        path.append(x)
    return np.stack(path)


def rsgf(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, n: int, schedule: str,
) -> np.ndarray:  # fmt: skip
    """RSGF of Ghadimi and Lan, arXiv 1309.5549, section 3; which iterate is the answer is drawn elsewhere."""
    x, path = x0.copy(), [x0.copy()]
    for t in range(steps):
        g = np.zeros_like(x)
        for i in range(n):
            u = direction("normal", key, t, i, slot, x.size)
            g += (loss(f, x + eps * u) - loss(f, x)) / eps * u / n  # G_mu(x, xi, u)
        x = x - lr * factor(schedule, t, horizon) * g
        path.append(x)
    return np.stack(path)


def one_point_residual(
    f: Function, x0: np.ndarray, *, key: int, slot: int, steps: int, horizon: int,
    lr: float, eps: float, law: str, schedule: str,
) -> np.ndarray:  # fmt: skip
    """Zhang et al., arXiv 2006.10820: residual feedback; in front of the first step stands f(x_0)."""
    x, path, before = x0.copy(), [x0.copy()], loss(f, x0)
    for t in range(steps):
        u = direction(law, key, t, 0, slot, x.size)
        now = loss(f, x + eps * u)
        x = x - lr * factor(schedule, t, horizon) * (now - before) / eps * u
        before = now
        path.append(x)
    return np.stack(path)


EDITIONS = {
    "rgf": rgf,
    "two_point": two_point,
    "l1_randomized": l1_randomized,
    "rsgf": rsgf,
    "one_point_residual": one_point_residual,
}

"""What projections share: shrinking, a threshold found by sorting, a falling root found by bracketing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

EPS = float(np.finfo(np.float64).eps)


def length(y: np.ndarray) -> float:
    """|y|_2, summed in numpy's own order: BLAS has another on every machine, and a replay would differ."""
    return float(np.sqrt(np.sum(y * y)))


def shrunk_by(x: np.ndarray, t: float | np.ndarray) -> np.ndarray:
    """sign(x) max(|x| - t, 0), t >= 0: the proximal step of the l1 norm."""
    return np.asarray(x - np.clip(x, -t, t))


def threshold(a: np.ndarray, w: np.ndarray | None, total: float) -> float:
    """lambda with sum_i max(a_i - lambda w_i, 0) = total > 0, w > 0 (None: ones); Duchi et al. 2008, with weights.

    Where a_i/w_i falls, the sum over the first k is A_k - lambda W_k: the answer is the last k whose own lambda is
    still below a_k/w_k.  Cost: a sort.
    """
    if w is None:
        ratio = np.sort(a)[::-1]
        lam = (np.cumsum(ratio) - total) / np.arange(1, a.size + 1)
    else:
        order = np.argsort(-a / w, kind="stable")
        ratio = a[order] / w[order]
        lam = (np.cumsum(a[order]) - total) / np.cumsum(w[order])
    last = max(0, int(np.count_nonzero(ratio > lam)) - 1)
    return float(lam[last])


def falling_root(f: Callable[[float], float], low: float, high: float) -> float:
    """Where f, which never rises, passes 0 between `low` (f > 0) and `high` (f <= 0); of the two sides, f <= 0.

    Secants that keep the bracket (Illinois); every third step halves it, by the geometric middle, so that a root
    many orders of magnitude away is found as well.
    """
    f_low, f_high = f(low), f(high)
    kept = 0  # which end the last secant kept
    for n in range(300):
        if f_high == 0.0 or high - low <= 2.0 * EPS * abs(high):
            break
        if n % 3 == 2:
            x = np.sqrt(low * high) if low > 0.0 else high / 1024.0
        else:
            x = high - f_high * (high - low) / (f_high - f_low)
        if not low < x < high:
            x = low + 0.5 * (high - low)
            if not low < x < high:
                break
        y = f(x)
        if y > 0.0:
            low, f_low = x, y
            f_high = 0.5 * f_high if kept == 1 else f_high
            kept = 1
        else:
            high, f_high = x, y
            f_low = 0.5 * f_low if kept == -1 else f_low
            kept = -1
    return float(high)

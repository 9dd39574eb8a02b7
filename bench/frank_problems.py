"""The three problems that Frank-Wolfe by differences is measured on: finite sums over a ball, from scikit-learn's own data.

    sparse       logistic regression, l1 ball      breast_cancer with all products of two features, d = 495, n = 569; convex
    robust       correntropy loss, l1 ball         digits, odd or even, a tenth of the labels turned, d = 62, n = 1797
                 f_i = s^2/2 (1 - exp(-(y_i - <a_i, x>)^2 / s^2))
    attack       one perturbation for all          images of one digit that a small network reads aright, d = 64, l-inf ball
                 f_i = max(0, log p_y(a_i + x) - max_{j != y} log p_j(a_i + x))

The experiments of 2501.07201, whose data (LIBSVM's, CIFAR-10) are larger.  A method sees `values` alone; slopes are for the
Frank-Wolfe gap,  gap(x) = <grad f(x), x - lmo(grad f(x))>,  which no method is told and which bounds f(x) - min f
where f is convex.  What it is not: methods and runs (`frank_wolfe`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from bench import contest
from bench.contest import Array
from zoptim import sets

TURNED = 0.1  # of the labels of `robust`
WIDTH = 2.0  # s of the correntropy loss
DIGIT, REACH = 3, 0.1  # of `attack`; pixels are in [0, 1]


@dataclass(frozen=True, kw_only=True)
class Problem(contest.Problem):
    """f over a set; its gap is Frank-Wolfe's."""

    set: sets.Set

    def gap(self, x: Array) -> float:
        g = self.slope(x)
        return float(g @ (x - self.set.lmo(g)))

    def where(self) -> Mapping[str, Any]:
        return {"constraints": self.set}

    def seen(self, x: Array) -> Mapping[str, float]:
        return {"outside": max(0.0, self.set.excess(x)), "zeros": int((np.abs(x) < 1e-12).sum())}


def unit(a: Array) -> Array:
    """Columns of mean 0 and variance 1; constant ones are left out."""
    a = a[:, a.std(axis=0) > 0]
    out: Array = (a - a.mean(axis=0)) / a.std(axis=0)
    return out


@cache
def sparse() -> Problem:
    from sklearn.datasets import load_breast_cancer

    a, label = load_breast_cancer(return_X_y=True)
    a = unit(a)
    i, j = np.triu_indices(a.shape[1])
    a = unit(np.hstack([a, a[:, i] * a[:, j]]))
    ball = sets.L1Ball(5.0)
    ya = a * (2.0 * label - 1.0)[:, None]

    def values(x: Array, i: np.ndarray[Any, Any]) -> Array:
        return np.logaddexp(0.0, -(x @ ya[i].T))

    def slope(x: Array) -> Array:
        return -(ya.T @ (1.0 / (1.0 + np.exp(ya @ x)))) / len(ya)

    smooth = float(np.linalg.norm(a, 2) ** 2 / len(a) / 4)
    found = Problem(
        name="sparse", n=a.shape[0], d=a.shape[1], set=ball, values=values, slope=slope, smooth=smooth, budget=1_500_000
    )  # fmt: skip
    x = contest.accelerated(found, lambda x, eta: ball.project(x), 1e-7)
    return replace(found, best=found.loss(x) - found.gap(x), certified=found.gap(x))


@cache
def robust() -> Problem:
    from sklearn.datasets import load_digits

    a, digit = load_digits(return_X_y=True)
    a = np.hstack([unit(a), np.ones((len(a), 1))])
    y = np.where(digit % 2 == 1, 1.0, -1.0)
    turned = np.random.default_rng(0).permutation(len(y))[: int(TURNED * len(y))]
    y[turned] *= -1.0

    def values(x: Array, i: np.ndarray[Any, Any]) -> Array:
        rest = y[i] - x @ a[i].T
        return -0.5 * WIDTH**2 * np.expm1(-((rest / WIDTH) ** 2))

    def slope(x: Array) -> Array:
        rest = y - a @ x
        return -(a.T @ (rest * np.exp(-((rest / WIDTH) ** 2)))) / len(y)

    smooth = float(np.linalg.norm(a, 2) ** 2 / len(a))
    return Problem(
        name="robust", n=a.shape[0], d=a.shape[1], set=sets.L1Ball(3.0), values=values, slope=slope, smooth=smooth,
        budget=1_500_000,
    )  # fmt: skip


@cache
def attack() -> Problem:
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    a, digit = load_digits(return_X_y=True)
    a = a / 16.0
    net = MLPClassifier((64,), max_iter=400, random_state=0).fit(a, digit)
    (w, v), (b, c) = net.coefs_, net.intercepts_
    seen = a[(digit == DIGIT) & (net.predict(a) == digit)]

    def scores(x: Array) -> tuple[Array, Array]:
        hidden = x @ w + b
        return hidden, np.maximum(hidden, 0.0) @ v + c

    def margin(z: Array) -> tuple[Array, np.ndarray[Any, Any]]:
        others = z.copy()
        others[..., DIGIT] = -np.inf
        j = others.argmax(axis=-1)
        return z[..., DIGIT] - np.take_along_axis(others, j[..., None], -1)[
            ..., 0
        ], j  # log p's normalizer cancels

    def values(x: Array, i: np.ndarray[Any, Any]) -> Array:
        return np.maximum(0.0, margin(scores(x[:, None, :] + seen[i])[1])[0])

    def slope(x: Array) -> Array:
        hidden, z = scores(x + seen)
        left, j = margin(z)
        back = ((v[:, [DIGIT]] - v[:, j]).T * (hidden > 0)) @ w.T
        out: Array = (back * (left > 0)[:, None]).mean(axis=0)
        return out

    return Problem(
        name="attack", n=len(seen), d=a.shape[1], set=sets.linf_ball(REACH), values=values, slope=slope, smooth=10.0,
        budget=150_000,
    )  # fmt: skip


PROBLEMS: dict[str, Callable[[], Problem]] = {"sparse": sparse, "robust": robust, "attack": attack}

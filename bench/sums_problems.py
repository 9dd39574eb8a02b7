"""The problems that variance reduction under a penalty is measured on: l1-logistic regression, n and d of at most 2,000.

    reviews    sentences of movie reviews, good or bad, by their 300 most frequent words    d = 300, n = 1000
    digits     scikit-learn's digits, odd or even                                            d = 61,  n = 1797
    cancer     scikit-learn's breast_cancer                                                  d = 30,  n = 569

    f_i = log(1 + exp(-y_i <a_i, x>)) + ridge/2 |x|^2,     minimized with size |x|_1

The ridge makes f strongly convex, as the papers' rates want, and gives the certificate of the minimum:
F(x) - min F <= |s|^2 / (2 ridge), s the least subgradient of F at x.  Slopes are for that alone, no method is told any.
The reviews are those of `zoptim finetune`, fetched once.  What it is not: methods and runs (`sums`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from bench import contest
from bench.contest import Array
from bench.frank_problems import unit
from zoptim.lm.packaged import fetch
from zoptim.sets import L1

SENTENCES, WORDS = 1000, 300
KEEP = 0.3  # ratings nearer to 0 are neither good nor bad
CERTAIN = 1e-18  # of the minimum


@dataclass(frozen=True, kw_only=True)
class Problem(contest.Problem):
    """f under size |x|_1; its gap is a bound on F - min F."""

    penalty: L1
    ridge: float

    def loss(self, x: Array) -> float:
        return super().loss(x) + self.penalty.value(x)

    def gap(self, x: Array) -> float:
        g, size = self.slope(x), self.penalty.weight
        least = np.where(x != 0.0, g + size * np.sign(x), np.maximum(np.abs(g) - size, 0.0))
        return float(least @ least) / (2.0 * self.ridge)

    def where(self) -> Mapping[str, Any]:
        return {"penalty": self.penalty}

    def seen(self, x: Array) -> Mapping[str, float]:
        return {"numbers": int(np.count_nonzero(x))}


def _logistic(name: str, a: Array, y: Array, size: float, ridge: float, budget: int) -> Problem:
    """With its minimum."""
    ya = a * y[:, None]

    def values(x: Array, i: np.ndarray[Any, Any]) -> Array:
        return np.logaddexp(0.0, -(x @ ya[i].T)) + 0.5 * ridge * (x * x).sum(axis=1, keepdims=True)

    def slope(x: Array) -> Array:
        return ridge * x - ya.T @ (1.0 / (1.0 + np.exp(ya @ x))) / len(ya)

    p = Problem(
        name=name, n=len(a), d=a.shape[1], penalty=L1(size), ridge=ridge, values=values, slope=slope, budget=budget,
        smooth=float(np.linalg.norm(a, 2) ** 2 / len(a) / 4) + ridge,
    )  # fmt: skip
    x = contest.accelerated(p, p.penalty.prox, CERTAIN)
    return replace(p, best=p.loss(x), certified=p.gap(x))


@cache
def reviews() -> Problem:
    lines = fetch("movie-reviews").read_text(encoding="utf-8-sig").splitlines()
    rated = [(float(r), text) for _, r, text in (line.split("\t", 2) for line in lines if line)]
    clear = [(r, text) for r, text in rated if abs(r) > KEEP]
    some = [clear[k] for k in np.random.default_rng(0).permutation(len(clear))[:SENTENCES]]
    said = [set(re.findall(r"[a-z']+", text.lower())) for _, text in some]
    often = Counter(word for words in said for word in sorted(words))
    order = {word: j for j, (word, _) in enumerate(often.most_common(WORDS))}
    a = np.zeros((SENTENCES, WORDS))
    for k, words in enumerate(said):
        a[k, [order[word] for word in words if word in order]] = 1.0
    a /= np.maximum(1.0, np.linalg.norm(a, axis=1, keepdims=True))
    return _logistic("reviews", a, np.array([np.sign(r) for r, _ in some]), 1e-3, 5e-3, 12_000_000)


@cache
def digits() -> Problem:
    from sklearn.datasets import load_digits

    a, digit = load_digits(return_X_y=True)
    a = unit(a)
    return _logistic("digits", a, np.where(digit % 2 == 1, 1.0, -1.0), 1e-2, 0.1, 8_000_000)


@cache
def cancer() -> Problem:
    from sklearn.datasets import load_breast_cancer

    a, label = load_breast_cancer(return_X_y=True)
    return _logistic("cancer", unit(a), 2.0 * label - 1.0, 1e-2, 0.1, 4_000_000)


PROBLEMS: dict[str, Callable[[], Problem]] = {"reviews": reviews, "digits": digits, "cancer": cancer}

"""Nesterov's momentum over quotients of random directions: the scheme FG of Nesterov and Spokoiny (2017).

With g = sum_i c_i u_i at y, h = lr and theta = h (e + 4) / (4 (e + 1)^2), e = d / n, a step is

    alpha^2 / theta = (1 - alpha) gamma + alpha tau =: gamma+;   lambda = alpha tau / gamma+;   beta = alpha gamma / (gamma + alpha tau)
    x <- y - h g;   v <- (1 - lambda) v + lambda y - (theta / alpha) g;   y <- (1 - beta+) x + beta+ v

Kept are y, as the parameters, and m = v - x by name:

    m <- (1 - lambda) (1 - beta) m + (h - theta / alpha) g;   y <- y - h g + beta+ m
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ..protocols import Coefficients, Record, Term, Vec, Weighing

M = Vec("m")


@dataclass
class Accelerated:
    """gamma goes into the record's `extra`, from which it is folded.  A skipped step leaves all as it is.

    Args:
        quotient: the c_i, their mean over n draws included.
        convexity: tau, how strongly convex the loss is; 0: it may be just convex.
    """

    quotient: Coefficients
    convexity: float = 0.0
    _gamma: float = field(default=0.0, init=False, repr=False)  # 0: not begun

    def weigh(self, w: Weighing) -> Weighing:
        w = self.quotient.weigh(w)
        e, tau, h = w.size / len(w.draws), self.convexity, w.lr
        theta = h * (e + 4.0) / (4.0 * (e + 1.0) ** 2)
        gamma = self._gamma or max(tau, 1.0 / (4.0 * (e + 4.0) * h))
        alpha, beta, after = self._next(gamma, theta)
        ahead = self._next(after, theta)[1]
        keep, push = (1.0 - alpha * tau / after) * (1.0 - beta), h - theta / alpha
        moved: tuple[Term, ...] = tuple((z, push * float(c)) for z, c in zip(w.draws, w.coefs, strict=True))
        return w.but(draws=(*w.draws, M), coefs=np.append(w.coefs, -ahead / h), extra=(*w.extra, after),
            tracks=((M.name, ((M, keep), *moved)),),
        )  # fmt: skip

    def _next(self, gamma: float, theta: float) -> tuple[float, float, float]:
        """alpha, beta, and the gamma after."""
        tau = self.convexity
        half = theta * (gamma - tau) / 2.0
        alpha = math.sqrt(half * half + theta * gamma) - half
        return alpha, alpha * gamma / (gamma + alpha * tau), (1.0 - alpha) * gamma + alpha * tau

    def observe(self, record: Record) -> None:
        self.quotient.observe(record)
        if record.kind == "move":
            self._gamma = record.extra[-1]

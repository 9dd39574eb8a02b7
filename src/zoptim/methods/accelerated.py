"""Accelerated random search: momentum whose weights follow from smoothness and convexity, over one direction a step.

Not here: momentum with a weight of one's own, which is `zo_momentum`; the scheme without it, `rgf`.
"""

from __future__ import annotations

import math

from ..coefficients import Accelerated, Central, Forward
from ..directions import Dense
from ..method import Method
from ..probes import OneSided, TwoSided
from ..rules import Descent
from .card import MethodCard, checked
from .smooth import Sides


def rgf_accelerated(
    lr: float = 1e-4, eps: float = 1e-5, *, n: int = 1, convexity: float = 0.0, sides: Sides = "two"
) -> Method:
    """Accelerated random gradient-free descent: error in (d / t)^2 on smooth convex losses, where `rgf` has d / t.

        x <- y - lr g(y);   v <- (1 - lambda) v + lambda y - (theta / alpha) g(y);   y <- (1 - beta) x + beta v

    g is `rgf`'s quotient along one normal direction; theta = lr (d + 4) / (4 (d + 1)^2); alpha, beta and lambda follow from
    it and from `convexity`, see `coefficients.Accelerated`.  Where the search stands is y.  Errors of g add up here: keep
    eps small.  Losses that are not convex, or noisy, are better left to `rgf`.

    Args:
        lr: step size h; the guarantee is for `methods.smooth.rgf_step`(d, L1), constant.
        eps: radius mu, a coordinate.
        n: directions a step (the paper: 1); then d / n takes d's place.
        convexity: tau, from 0 (just convex) up to L1: lr is a step size for loss - tau |x|^2 / 2 that is still convex.
        sides: "two" (the paper's central difference, which it recommends here) or "one".

    Raises:
        ValueError: a setting outside its range.

    Cost: 2n forwards (one-sided: n + 1); memory: one vector; 90 journal bytes at n = 1.

    Example:
        >>> rgf_accelerated(n=3).probe.forwards
        6

    Reference: Nesterov and Spokoiny, Random Gradient-Free Minimization of Convex Functions, 2017, scheme FG.
    """
    checked(lr=lr, eps=eps, n=n, sides=sides)
    if isinstance(convexity, bool) or not (isinstance(convexity, int | float) and 0 <= convexity < math.inf):
        raise ValueError(f"convexity={convexity!r} must be a number from 0")
    probe, quotient = (OneSided(n), Forward()) if sides == "one" else (TwoSided(n), Central())
    return Method(
        "rgf_accelerated", Dense("normal"), probe, Accelerated(quotient, float(convexity)), Descent(), lr, eps,
        arguments={"lr": lr, "eps": eps, "n": n, "convexity": convexity, "sides": sides},
        claims=frozenset({"shift-free"}), vecs=("m",),
    )  # fmt: skip


CARDS = (
    MethodCard("rgf_accelerated", rgf_accelerated, "Random Gradient-Free Minimization of Convex Functions (scheme FG)",
               "FoCM 2017", "2n", "1 vector", "90 B", "Nesterov's momentum over one random direction a step"),
)  # fmt: skip

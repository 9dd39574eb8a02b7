"""Estimates of a smoothed loss with plain descent: the two-point theory of black boxes, and one point a step.

    f_eps(x) = E f(x + eps z);   its gradient is the mean of every estimate here

RGF, RSGF (normals), two-point (the sphere), l1-randomized, one-point residual.  eps is a radius a coordinate for all
of them, |z| being about sqrt(d): change the method and keep the radius.  Step sizes that the theory names need d and
constants of the loss, which a composition does not know: `rgf_step`, `two_point_step` and `rsgf_step` compute them.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from ..coefficients import Central, Forward, Residual
from ..directions import Dense, L1Sphere, Spherical
from ..directions.dense import Law
from ..method import Method
from ..noise import ORDER, uniforms
from ..probes import OneSided, TwoSided
from ..probes import Residual as OneBefore
from ..rules import Descent
from ..schedules import SCHEDULES
from .card import MethodCard, checked

Sides: TypeAlias = Literal["one", "two"]


def rgf(lr: float = 1e-6, eps: float = 1e-3, *, sides: Sides = "one", schedule: str = "constant") -> Method:
    """Random gradient-free descent: one normal direction, a forward or a central difference.

        c = (f(x + eps u) - f(x)) / eps   or   (f(x + eps u) - f(x - eps u)) / (2 eps);   x <- x - lr c u

    lr = `rgf_step`(d, L1) has the paper's guarantee on smooth convex losses.  Its scheme RG; the nonsmooth one (RS) is
    this with a projection and the average of iterates, `minimize(constraints=, output="average")`; the accelerated one
    (FG) is `rgf_accelerated`.

    Args:
        lr: step size h.
        eps: radius mu, a coordinate.
        sides: "one" (the paper's g_mu) or "two" (its central difference, bias O(eps^2)).
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: 2 forwards; no memory; 55 journal bytes.

    Example:
        >>> rgf(rgf_step(d=100, smoothness=4.0)).lr == 1 / (4 * 104 * 4)
        True

    Reference: Nesterov and Spokoiny, Random Gradient-Free Minimization of Convex Functions, 2017.
    """
    checked(lr=lr, eps=eps, sides=sides, schedule=schedule)
    probe, quotient = (OneSided(1), Forward()) if sides == "one" else (TwoSided(1), Central())
    return Method(
        "rgf", Dense("normal"), probe, quotient, Descent(), lr, eps, SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "sides": sides, "schedule": schedule},
        frozenset({"additive", "shift-free"} | ({"unbiased"} if sides == "two" else set())),
    )  # fmt: skip


def rgf_step(d: int, smoothness: float) -> float:
    """h = 1 / (4 (d + 4) L1), for gradients that change by at most L1 a unit of length."""
    return 1.0 / (4.0 * (d + 4) * smoothness)


def two_point(
    lr: float = 1e-6, eps: float = 1e-3, *, n: int = 1, block: int = 1, schedule: str = "constant"
) -> Method:
    """Central differences on the sphere, whose estimate stays small on nonsmooth losses too.

        c_i = (f(x + eps z_i) - f(x - eps z_i)) / (2 eps n),  |z_i| = sqrt(d);   x <- x - lr sum_i c_i z_i

    The paper has u on the unit sphere, delta = eps sqrt(d) and d/(2 delta) (f+ - f-) u: the same number.  On a loss
    that changes by at most G a unit of length E |g|^2 is of order d G^2; a forward difference's is d^2 G^2.

    Args:
        lr: step size eta; `two_point_step` has the paper's.
        eps: radius a coordinate, delta / sqrt(d).
        n: directions a step (the paper: 1).
        block: directions in a row that are at right angles to each other: with block = n <= d the estimate's second
            moment is d/n |grad|^2, against 1 + (d - 1)/n; 1 (the paper): all are independent.
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: 2n forwards; the noise once more, for its lengths, and in blocks `block` times the sums of mezo; no memory;
        55 journal bytes at n = 1.

    Example:
        >>> two_point(n=4, block=4).directions.block
        4

    Reference: arXiv 1507.08752.
    """
    checked(lr=lr, eps=eps, n=n, block=block, schedule=schedule)
    return Method(
        "two_point", Spherical(block), TwoSided(n), Central(), Descent(), lr, eps, SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "n": n, "block": block, "schedule": schedule},
        frozenset({"additive", "shift-free", "unbiased"}),
    )  # fmt: skip


def two_point_step(d: int, lipschitz: float, distance: float, steps: int) -> float:
    """eta = R / (G sqrt(d T)), R how far the minimum is, G the most a loss changes a unit of length."""
    return distance / (lipschitz * math.sqrt(d * steps))


def l1_randomized(lr: float = 1e-6, eps: float = 1e-3, *, n: int = 1, schedule: str = "constant") -> Method:
    """Central differences along the l1 sphere, applied by the directions' signs.

        c_i = (f(x + eps z_i) - f(x - eps z_i)) / (2 eps n),  |z_i|_1 = d;   x <- x - lr sum_i c_i sign(z_i)

    The paper has |z|_1 = 1, h = eps d and d/(2h) (f+ - f-) sign(z): the same number.  Made for mirror descent on the
    simplex and the l1 ball, where its estimate is small in the norm that counts; with plain descent, as here, it
    does what signs do.

    Args:
        lr: step size.
        eps: radius a coordinate in the mean, h / d.
        n: directions a step (the paper: 1).
        schedule: "constant", "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: 2n forwards, each draw's noise four times; no memory, but scratches of three times what is formed; 55
        journal bytes at n = 1.

    Example:
        >>> l1_randomized().probe.forwards
        2

    Reference: arXiv 2205.13910.
    """
    checked(lr=lr, eps=eps, n=n, schedule=schedule)
    return Method(
        "l1_randomized", L1Sphere(), TwoSided(n), Central(), Descent(), lr, eps, SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "n": n, "schedule": schedule},
        frozenset({"additive", "shift-free", "unbiased"}), pace=0.5**0.5,  # rms of a sign over that of z
    )  # fmt: skip


def rsgf(lr: float = 1e-6, eps: float = 1e-3, *, n: int = 1, schedule: str = "constant") -> Method:
    """Randomized stochastic gradient-free descent: forward differences on one batch, stopped at random.

        c_i = (F(x + eps u_i, xi) - F(x, xi)) / (eps n);   x <- x - lr sum_i c_i u_i;   the answer is x_R, R uniform

    A pair is asked on the same batch xi.  The guarantee is for x_R, not for the last iterate; nothing need be kept for
    it: rebuild the run with until = `stopped_at`(key, steps).

    Args:
        lr: step size gamma; `rsgf_step` has the paper's.
        eps: radius mu, a coordinate.
        n: directions a step (the paper: 1).
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: n + 1 forwards; no memory; 55 journal bytes at n = 1.

    Example:
        >>> rsgf(n=3).probe.forwards
        4

    Reference: arXiv 1309.5549.
    """
    checked(lr=lr, eps=eps, n=n, schedule=schedule)
    return Method(
        "rsgf", Dense("normal"), OneSided(n), Forward(), Descent(), lr, eps, SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "n": n, "schedule": schedule}, frozenset({"additive", "shift-free"}),
    )  # fmt: skip


def rsgf_step(d: int, smoothness: float, noise: float, distance: float, steps: int) -> float:
    """gamma = min(1 / (4 L sqrt(d + 4)), D / (sigma sqrt(N))) / sqrt(d + 4), sigma the noise of a batch's gradient."""
    root = math.sqrt(d + 4)
    still = 1.0 / (4.0 * smoothness * root)
    return (min(still, distance / (noise * math.sqrt(steps))) if noise else still) / root


def stopped_at(key: int, steps: int) -> int:
    """How many of the steps lead to x_R: uniform from 0 to steps - 1, a function of the run's key.

    Example:
        >>> 0 <= stopped_at(7, 100) < 100
        True
    """
    return min(int(float(uniforms(key, 0, 3, 0, 0, 1, ORDER)[0]) * steps), steps - 1)


def one_point_residual(
    lr: float = 1e-6, eps: float = 1e-3, *, law: Law = "normal", schedule: str = "constant"
) -> Method:
    """One point a step, compared with that of the step before.

        c = (f(x_t + eps u_t) - f(x_{t-1} + eps u_{t-1})) / eps;   x <- x - lr c u_t

    Where each question meets another function (a user, a plant, a batch) no pair can be asked.  The first step is a
    forward difference.  E |g|^2 holds earlier steps' too and must be kept down by lr; what the function changes from
    step to step counts fully, over eps: where pairs can be asked on one batch, ask them (`two_point`).

    Args:
        lr: step size; smaller than for two points.
        eps: radius, a coordinate.
        law: "normal" (the paper) or "signs".
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: 1 forward, the first step 2; no memory; 47 journal bytes.

    Example:
        >>> one_point_residual().forwards
        1

    Reference: arXiv 2006.10820.
    """
    checked(lr=lr, eps=eps, law=law, schedule=schedule)
    return Method(
        "one_point_residual", Dense(law), OneBefore(), Residual(), Descent(), lr, eps, SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "law": law, "schedule": schedule}, frozenset({"additive", "shift-free"}),
        pace=2.0**0.5,  # each quotient holds two steps' slopes
    )  # fmt: skip


CARDS = (
    MethodCard("rgf", rgf, "Random Gradient-Free Minimization of Convex Functions", "FoCM 2017",
               "2", "none", "55 B", "one normal direction, a forward or central difference"),
    MethodCard("two_point", two_point,
               "An Optimal Algorithm for Bandit and Zero-Order Convex Optimization with Two-Point Feedback", "1507.08752",
               "2n", "none", "55 B", "central differences on the sphere, or along orthogonal blocks"),
    MethodCard("l1_randomized", l1_randomized,
               "A gradient estimator via L1-randomization for online zero-order optimization with two point feedback",
               "2205.13910", "2n", "none", "55 B", "central differences on the l1 sphere, applied by signs"),
    MethodCard("rsgf", rsgf, "Stochastic First- and Zeroth-order Methods for Nonconvex Stochastic Programming",
               "1309.5549", "n + 1", "none", "55 B", "forward differences on one batch, stopped at random"),
    MethodCard("one_point_residual", one_point_residual,
               "A New One-Point Residual-Feedback Oracle For Black-Box Learning and Control", "2006.10820",
               "1", "none", "47 B", "one point a step, compared with the step before"),
)  # fmt: skip

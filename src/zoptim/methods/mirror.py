"""Mirror descent from values: steps by factors on the simplex, or in the geometry of a norm between l1 and l2.

Not here: plain geometry, which is `zo_sgd` or `two_point` and a projection; the rules (`rules.mirror`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from ..coefficients import Central, Forward
from ..directions import Dense, L1Sphere
from ..method import Method
from ..probes import OneSided, TwoSided
from ..protocols import Rule
from ..rules import Entropic, PNorm
from ..schedules import SCHEDULES
from ..sets import Set, Simplex, from_plain, to_plain
from .card import MethodCard, checked, hint

LAWS = ("signs", "normal", "l1")


def zo_mirror(
    lr: float = 1e-2, eps: float = 1e-4, *, set: Set | Mapping[str, Any] | None = None, power: float | None = None,
    n: int = 1, sides: Literal["one", "two"] = "two", law: Literal["signs", "normal", "l1"] = "signs",
    schedule: str = "constant",
) -> Method:  # fmt: skip
    """Two-point mirror descent: a difference's estimate, and a step in the dual of the geometry.

        g = 1/n sum_i (f(x + eps z_i) - f(x - eps z_i)) / (2 eps) a_i,    a_i = z_i, or sign(z_i) where z_i is on the l1 sphere
        on a simplex   x_i <- x_i exp(-lr g_i), rescaled to the sum           error in log d where plain steps have d
        else           grad psi(x) <- grad psi(x) - lr g,   psi = |x|_a^2 / 2

    The guarantee is for the average of the iterates (`minimize(..., output="average")`); `mirror_step` has its step size.
    A weight that is 0 stays 0: begin inside.  The paper takes forward differences, and for nonsmooth losses a second
    perturbation; central ones need none (1507.08752).  Its radius and step size fall with t; here eps stays, and lr
    goes by the schedule.

    Args:
        lr: step size alpha, one over the units of f on a simplex.
        eps: radius u, a coordinate.
        set: a `zoptim.sets.Simplex`, or its plain data; None: everywhere, by a norm.
        power: a of that norm, above 1 and up to 2 (plain descent); None: 1 + 1/log d, for minima of few numbers.
        n: directions a step (the paper: 1).
        sides: "two", or "one" (the paper's smooth losses).
        law: "signs", "normal" or "l1" (arXiv 2205.13910).
        schedule: "constant", "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range; another set; a power beside a set.

    Cost: 2n forwards (one-sided: n + 1); no memory; 55 journal bytes at n = 1.

    Example:
        >>> from zoptim.sets import Simplex
        >>> zo_mirror(set=Simplex(2.0)).rule.scale_to
        2.0

    Reference: arXiv 1312.2139; the entropic step: Beck and Teboulle 2003.
    """
    checked(lr=lr, eps=eps, n=n, sides=sides, schedule=schedule)
    if law not in LAWS:
        raise ValueError(f"law={law!r} must be one of {', '.join(map(repr, LAWS))}{hint(law, LAWS)}")
    within: Set | None = from_plain(dict(set)) if isinstance(set, Mapping) else set
    directions = L1Sphere() if law == "l1" else Dense(law)
    probe, quotient = (OneSided(n), Forward()) if sides == "one" else (TwoSided(n), Central())
    arguments = {
        "lr": lr, "eps": eps, "set": within and to_plain(within), "power": power, "n": n, "sides": sides, "law": law,
        "schedule": schedule,
    }  # fmt: skip
    return Method(
        "zo_mirror", directions, probe, quotient, _rule(within, power), lr, eps, SCHEDULES[schedule](), arguments,
        frozenset({"shift-free"}),
    )  # fmt: skip


def _rule(within: Set | None, power: float | None) -> Rule:
    if within is None:
        return PNorm(power)
    if not isinstance(within, Simplex):
        raise ValueError(
            f"set={type(within).__name__}: mirror steps are for a Simplex, or for no set; in another set name "
            "fd_spectral, zo_sgd or two_point, which project"
        )
    if power is not None:
        raise ValueError(f"power={power!r}: on a simplex steps are by factors; leave it out, or the set")
    return Entropic(within.scale)


def mirror_step(d: int, lipschitz: float, steps: int) -> float:
    """lr on the unit simplex from its middle, along signs: sqrt(2 log d / T) / G, G the most |grad f|_2.

    The average of T iterates is then within G sqrt(2 log d / T) of the minimum, in the mean over runs (of a smooth
    convex f, but for the radius): E max_i g_i^2 = E <grad f, z>^2 = |grad f|_2^2.

    Example:
        >>> round(mirror_step(d=100, lipschitz=2.0, steps=1000), 4)
        0.048
    """
    return math.sqrt(2.0 * math.log(d) / steps) / lipschitz


CARDS = (
    MethodCard("zo_mirror", zo_mirror, "Optimal Rates for Zero-Order Convex Optimization: the Power of Two Function "
               "Evaluations", "1312.2139",
               "2n", "none", "55 B", "steps by factors on the simplex, or in a norm near l1"),
)  # fmt: skip

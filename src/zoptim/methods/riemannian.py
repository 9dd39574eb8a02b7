"""On a manifold: descent along tangent directions, by forward or central differences of retracted points."""

from __future__ import annotations

from ..coefficients import Central, Forward
from ..directions import Dense, Tangent
from ..manifolds import Sphere
from ..method import Method
from ..probes import OneSided, TwoSided
from ..protocols import Manifold
from ..rules import Descent, Retracted
from ..schedules import SCHEDULES
from .card import MethodCard, checked


def zo_riemannian(
    lr: float = 1e-2, eps: float = 1e-6, *, manifold: Manifold | None = None, n: int = 1, differences: str = "forward",
    schedule: str = "constant",
) -> Method:  # fmt: skip
    """ZO Riemannian gradient descent: differences along tangent directions, and a retracted step.

        u_j = P_x(normal);   g = 1/n sum_j (f(Retr_x(eps u_j)) - f(x)) / eps u_j;   x <- Retr_x(-lr g)

    A normal made tangent has variance 1 in every tangent direction, so g estimates the Riemannian gradient as it is,
    and its second moment grows with D, the dimension of the manifold: lr = 1 / (2 (D + 4) L) for n = 1.

    Args:
        lr: step size.
        eps: radius along the manifold; 1e-6 and below want float64.
        manifold: see `zoptim.manifolds`; the unit sphere if not given.
        n: directions a step (the paper's m).
        differences: "forward" (the paper) or "central".
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: n + 1 evaluations (central: 2n), n + 1 retractions, a projection a point; no memory; 55 journal bytes at n = 1.

    Example:
        >>> zo_riemannian(n=4).probe.forwards
        5

    Reference: arXiv 2003.11238, algorithm 1.
    """
    checked(lr=lr, eps=eps, n=n, schedule=schedule)
    if differences not in ("forward", "central"):
        raise ValueError(f"differences={differences!r} must be 'forward' or 'central'")
    where = Sphere() if manifold is None else manifold
    forward = differences == "forward"
    return Method(
        "zo_riemannian", Tangent(Dense("normal"), where), OneSided(n) if forward else TwoSided(n),
        Forward() if forward else Central(), Retracted(Descent(), where), lr, eps,
        SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "n": n, "differences": differences, "schedule": schedule, "manifold": repr(where)},
        frozenset({"shift-free"}),
    )  # fmt: skip


CARDS = (
    MethodCard("zo_riemannian", zo_riemannian, "Stochastic Zeroth-order Riemannian Derivative Estimation and Optimization",
               "2003.11238", "n + 1", "none", "55 B", "differences along tangent directions of a manifold"),
)  # fmt: skip

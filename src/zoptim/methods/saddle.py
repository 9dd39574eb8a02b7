"""Methods that leave saddle points: descent with a push, and descent that feels for negative curvature."""

from __future__ import annotations

from ..coefficients import Central, Escape, Kicked
from ..directions import Coordinate, Dense
from ..method import Method
from ..probes import Saddle, TwoSided
from ..rules import Descent
from ..schedules import SCHEDULES
from .card import MethodCard, checked


def zo_perturbed(
    lr: float = 1e-3, eps: float = 1e-5, *, n: int = 4, push: float = 1e-3, schedule: str = "constant",
) -> Method:  # fmt: skip
    """Two-point descent with a random push at every step, which leaves strict saddle points.

        x <- x - lr ( 1/n sum_i (f(x + eps z_i) - f(x - eps z_i)) / (2 eps) z_i + push y )

    z_i and y are normal here; the paper's lie on spheres of the same mean length.

    Args:
        lr: step size.
        eps: radius.
        n: pairs a step; a few do, whatever the dimension.
        push: of y, per number of the parameters, in units of slope.
        schedule: "constant", "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: 2n evaluations; no memory; 55 journal bytes and 24 a draw.

    Example:
        >>> zo_perturbed(n=2).probe.forwards
        4

    Reference: arXiv 2209.13555.
    """
    checked(lr=lr, eps=eps, n=n, schedule=schedule)
    if not (isinstance(push, int | float) and 0 <= push < float("inf")):
        raise ValueError(f"push={push!r} must be a number from 0")
    return Method(
        "zo_perturbed", Dense("normal"), TwoSided(n), Kicked(Central(), push), Descent(), lr, eps, SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "n": n, "push": push, "schedule": schedule}, frozenset({"shift-free"}),
    )  # fmt: skip


def zo_ncf(
    lr: float = 1e-1, eps: float = 1e-5, *, d: int, large: float = 1e-2, reach: float = 0.1, patience: int = 60,
    small: float = 1e-6,
) -> Method:  # fmt: skip
    """ZO-GD-NCF: coordinate descent while there is a slope, and where there is none, a leap along negative curvature.

        |g(x)| >= large:   x <- x - lr g(x)
        else               w <- w - lr (g(x + w) - g(x)) from a small random w, until it has grown a thousandfold;
                           x <- x +- reach w / |w|, whichever is lower;  not grown: nothing moves, and the record says why

    g are central differences along all coordinates.  w is grown by plain power iteration (Neon2's online form); the
    paper's deterministic variant uses Chebyshev's recursion.  Of the two ways along w the paper takes one by chance;
    here both are asked, which costs three evaluations.

    Args:
        lr: step size of x and of w (the paper: 1 / (4 L)).
        eps: radius of the differences; float64 is needed.
        d: numbers of the parameters.
        large: slope from which x steps down (the paper: 3/4 of the accuracy wanted).
        reach: length of a leap (the paper: delta / rho).
        patience: steps w has to grow; curvature below -delta is felt in about 7 / log(1 + lr delta).
        small: |w| at the start.

    Raises:
        ValueError: a setting outside its range.

    Cost: 2d evaluations a step, 3 a leap; memory: two vectors; 16 d journal bytes.

    Example:
        >>> zo_ncf(d=10).probe.forwards
        20

    Reference: arXiv 2210.01496, algorithm ZO-GD-NCF.
    """
    checked(lr=lr, eps=eps, d=d)
    for name, value in (("large", large), ("reach", reach), ("small", small)):
        if not (isinstance(value, int | float) and 0 < value < float("inf")):
            raise ValueError(f"{name}={value!r} must be a positive finite number")
    if not (isinstance(patience, int) and patience >= 1):
        raise ValueError(f"patience={patience!r} must be a whole number from 1")
    return Method(
        "zo_ncf", Coordinate(), Saddle(d, reach), Escape(large, small, lr, patience, reach), Descent(), lr, eps,
        arguments={"lr": lr, "eps": eps, "d": d, "large": large, "reach": reach, "patience": patience, "small": small},
        vecs=("g", "w"),
    )  # fmt: skip


CARDS = (
    MethodCard("zo_perturbed", zo_perturbed, "Escaping saddle points in zeroth-order optimization: the power of two-point "
               "estimators", "2209.13555",
               "2n", "none", "80 B", "two-point descent with a push that leaves saddle points"),
    MethodCard("zo_ncf", zo_ncf, "Zeroth-Order Negative Curvature Finding: Escaping Saddle Points without Gradients",
               "2210.01496", "2d", "2 vectors", "16 d B", "coordinate descent that leaps along negative curvature"),
)  # fmt: skip

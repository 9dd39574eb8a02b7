"""Problems in problems: min over x of F(x, y*(x)), where y*(x) minimizes G(x, .).  For spaces with parts "x" and "y"."""

from __future__ import annotations

from typing import get_args

from .. import coefficients, probes
from ..directions import Blocks, Dense
from ..method import Method
from ..probes.levels import Products
from ..rules import Descent
from ..schedules import SCHEDULES
from .card import MethodCard, checked


def zo_bilevel(
    lr: float = 1e-2, eps: float = 1e-3, *, ratio: float = 10.0, pace: float = 0.01, inner: int = 10, solve: int = 10,
    n: int = 1, products: Products = "along", schedule: str = "constant",
) -> Method:  # fmt: skip
    """Fully zeroth-order bilevel descent (ZDSBA): values of F and G are all it asks.

        y <- y - ratio lr G_y,  `inner` times;   w <- w - pace (H_yy w - F_y),  `solve` times;   x <- x - lr (F_x - H_xy w)

    H_yy w and H_xy w come from second differences of G, so no matrix is formed: here <v, H_yy w> v and <u, H_xy w> u, by
    differences along v (u) and along w.  The paper's (products="drawn") are D2 / (2 eps^2) (<v, w> v - w) and
    D2 / (2 eps^2) <v, w> u, differences along draws alone, whose noise follows the trace of H_yy: there pace has to fall
    with the third power of y's dimension, here with the first.  y and w go on from one outer step to the next.  The paper
    perturbs x too while it estimates H_yy, which adds variance and nothing else: here only y is.

    Args:
        lr: step size of x.
        eps: radius of all differences; it is divided by twice: 1e-3 in float64, 1e-2 in float32.
        ratio: step size of y over lr.
        pace: step size of w; stable below about 1 / (L (d_y + 2) / n + L) (drawn: far less, see above).
        inner: steps of y an outer step.
        solve: steps of w an outer step.
        n: draws a step (the paper: of the order of y's dimension where w is solved).
        products: "along" w, or "drawn" (the paper).
        schedule: "constant", "cosine" or "linear", of x and y.

    Raises:
        ValueError: a setting outside its range.

    Cost: evaluations of F or G: 2n an inner step, 6n a solve step and an outer step (drawn: 4n + 1); memory: one vector.

    Example:
        >>> zo_bilevel(inner=1, solve=1, products="drawn").probe.forwards
        4.0

    Reference: arXiv 2404.00158.
    """
    checked(lr=lr, eps=eps, n=n, schedule=schedule)
    for name, value in (("inner", inner), ("solve", solve)):
        if not (isinstance(value, int) and value >= 1):
            raise ValueError(f"{name}={value!r} must be a whole number from 1")
    for name, number in (("ratio", ratio), ("pace", pace)):
        if not (isinstance(number, int | float) and 0 < number < float("inf")):
            raise ValueError(f"{name}={number!r} must be a positive finite number")
    if products not in get_args(Products):
        raise ValueError(f"products={products!r} must be one of {', '.join(get_args(Products))}")
    return Method(
        "zo_bilevel", Blocks(Dense("normal")), probes.Levels(inner, solve, n, products), coefficients.Levels(ratio, pace),
        Descent(), lr, eps, SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "ratio": ratio, "pace": pace, "inner": inner, "solve": solve, "n": n, "products": products, "schedule": schedule},
        vecs=("w",),
    )  # fmt: skip


CARDS = (
    MethodCard("zo_bilevel", zo_bilevel, "Fully Zeroth-Order Bilevel Programming via Gaussian Smoothing", "2404.00158",
               "2n to 6n", "1 vector", "100 B", "a problem in a problem, from values of both alone"),
)  # fmt: skip

"""Finite sums f = (1/n) sum_i f_i: estimates held on to and corrected on a few components.  Numpy vectors alone.

A method's `rule` may end in a projection or a prox step; where the gradient at the solution is not 0, as under l1,
only what also lowers the variance of the draws gets there (`zpdvr`, `zivr`, coordinates).
"""

from __future__ import annotations

from ..coefficients import Storm, Svrg, Table, Tracker
from ..directions import Coordinate, Dense, Either, Spherical
from ..directions.dense import Law
from ..method import Method
from ..probes import Entry, Recursive
from ..protocols import Coefficients, Directions, Rule
from ..rules import Descent
from ..schedules import SCHEDULES
from .card import MethodCard, checked

LARGEST = 1 << 32  # bytes of a table


def zo_svrg(
    lr: float = 1e-3, eps: float = 1e-4, *, n: int = 10, period: int = 10, central: bool = False, rule: Rule | None = None,
    law: Law = "normal", schedule: str = "constant",
) -> Method:  # fmt: skip
    """ZO-SVRG-Ave: differences on a batch, corrected by those at an anchor where the whole sum was asked.

        every `period` steps   w <- x;   v <- G(w) on all components;   x <- x - lr v
        else                   x <- x - lr (G_I(x) - G_I(w) + v)

    G_I(x) and G_I(w) are along the same draws: the published code draws them anew, which adds their variances.  v keeps
    the variance of its own draws, d / n of |grad f(w)|^2: `zo_svrg_coord_rand` has none.

    Args:
        lr: step size.
        eps: radius.
        n: draws of every estimate (ZO-SVRG: 1; -Ave: 10).
        period: steps an anchor serves.
        central: pairs in place of forward differences.
        rule: how x moves: `rules.Proximal(...)`, say; plain descent if not given.
        law: "normal" or "signs".
        schedule: "constant", "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost, in components: (n + 1) of the whole sum a refresh, 2 (n + 1) of the batch else; memory: two vectors.

    Reference: arXiv 1805.10367.
    """
    probe = Recursive(n, "anchor", period, central=central)
    return _held("zo_svrg", Dense(law), probe, Svrg(central), lr, eps, rule, schedule,
                 {"n": n, "period": period, "central": central, "law": law})  # fmt: skip


def zo_svrg_coord(
    lr: float = 1e-2, eps: float = 1e-4, *, d: int, period: int = 10, central: bool = True, rule: Rule | None = None,
    schedule: str = "constant",
) -> Method:  # fmt: skip
    """ZO-SVRG-Coord: as `zo_svrg`, all differences along all coordinates, so that only sampling has variance.

    Args:
        lr: step size (the paper: 1 / (L d) and larger).
        eps: radius.
        d: numbers of the parameters.
        period: steps an anchor serves.
        central: pairs (the paper), or forward differences.
        rule: how x moves; plain descent if not given.
        schedule: "constant", "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost, in components: 2d of the whole sum a refresh, 4d of the batch else (forward: d + 1 for 2d); memory: two vectors.

    Reference: arXiv 1805.10367.
    """
    probe = Recursive(d, "anchor", period, central=central)
    return _held("zo_svrg_coord", Coordinate(), probe, Svrg(central, (True, True)), lr, eps, rule, schedule,
                 {"d": d, "period": period, "central": central})  # fmt: skip


def zo_svrg_coord_rand(
    lr: float = 1e-3, eps: float = 1e-4, *, d: int, n: int = 1, period: int = 50, rule: Rule | None = None,
    law: Law = "normal", schedule: str = "constant",
) -> Method:  # fmt: skip
    """ZO-SVRG-Coord-Rand: the anchor along all coordinates, the steps along random draws.

        v <- (f(w + eps e_j) - f(w)) / eps  e_j, all j;   x <- x - lr (G_I(x) - G_I(w) + v), the same u in both G

    Args:
        lr: step size.
        eps: radius.
        d: numbers of the parameters.
        n: draws a step.
        period: steps an anchor serves.
        rule: how x moves; plain descent if not given.
        law: "normal" (the paper: the sphere, of the same second moment) or "signs".
        schedule: "constant", "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost, in components: d + 1 of the whole sum a refresh, 2 (n + 1) of the batch else; memory: two vectors.

    Reference: arXiv 1910.12166.
    """
    probe = Recursive(n, "anchor", period, first=d)
    return _held("zo_svrg_coord_rand", Either(d, Dense(law)), probe, Svrg(False, (True, False)), lr, eps, rule, schedule,
                 {"d": d, "n": n, "period": period, "law": law})  # fmt: skip


def vr_szd(
    lr: float = 1e-3, eps: float = 1e-5, *, d: int, n: int = 2, period: int = 10, rule: Rule | None = None,
    schedule: str = "constant",
) -> Method:  # fmt: skip
    """VR-SZD: as `zo_svrg_coord_rand`, the n draws of a step at right angles to each other.

        G_I(x) = (d / n) sum_i D_{q_i} f_I(x) q_i,  q_1 .. q_n orthonormal;   x <- x - lr (G_I(x) - G_I(w) + v)

    At n = d a step has no noise of draws.

    Args:
        lr: step size.
        eps: radius along a coordinate; along a draw, sqrt(d) times it.
        d: numbers of the parameters.
        n: draws a step, at most d (the paper's l).
        period: steps an anchor serves (the published code: 10).
        rule: how x moves; plain descent if not given.
        schedule: "constant", "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost, in components: d + 1 of the whole sum a refresh, 2 (n + 1) of the batch else; memory: two vectors.

    Reference: arXiv 2506.23758.
    """
    checked(n=n)
    if not (isinstance(d, int) and 1 <= n <= d):
        raise ValueError(f"n={n} draws cannot be at right angles in d={d} dimensions: n must be at most d")
    probe = Recursive(n, "anchor", period, first=d)
    return _held("vr_szd", Either(d, Spherical(block=n)), probe, Svrg(False, (True, False)), lr, eps, rule, schedule,
                 {"d": d, "n": n, "period": period})  # fmt: skip


def zo_spider_coord(
    lr: float = 1e-2, eps: float = 1e-4, *, d: int, period: int = 10, central: bool = True, rule: Rule | None = None,
    schedule: str = "constant",
) -> Method:  # fmt: skip
    """ZO-SPIDER-Coord: an estimate carried along by differences between neighboring places, along all coordinates.

        every `period` steps   v <- G(x) on all components
        else                   v <- v + G_I(x_k) - G_I(x_{k-1});          x <- x - lr v, lr constant

    Args:
        lr: step size (the paper: 1 / (4 L)).
        eps: radius (the paper: of the order of sqrt(accuracy / d)).
        d: numbers of the parameters.
        period: steps from refresh to refresh (the paper: sqrt n, the batch as large).
        central: pairs (the paper), or forward differences.
        rule: how x moves; plain descent if not given.
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost, in components: 2d of the whole sum a refresh, 4d of the batch else; memory: two vectors.

    Reference: arXiv 1910.12166.
    """
    probe = Recursive(d, "previous", period, central=central)
    return _held("zo_spider_coord", Coordinate(), probe, Storm(central, (True, True)), lr, eps, rule, schedule,
                 {"d": d, "period": period, "central": central})  # fmt: skip


def zo_page(
    lr: float = 1e-3, eps: float = 1e-4, *, n: int = 10, p: float = 0.1, big: int = 0, central: bool = False,
    rule: Rule | None = None, law: Law = "normal", schedule: str = "constant",
) -> Method:  # fmt: skip
    """PAGE by differences: with probability p a fresh estimate, else the old one and a difference.

        v <- G_B(x) with probability p, else v + G_b(x_k) - G_b(x_{k-1});          x <- x - lr v

    Args:
        lr: step size.
        eps: radius.
        n: draws of every estimate.
        p: of a fresh one (the paper: b / (B + b)).
        big: B, in batches; 0: all components.
        central: pairs in place of forward differences.
        rule: how x moves; plain descent if not given.
        law: "normal" or "signs".
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost, in components: (n + 1) of B with probability p, else 2 (n + 1) of the batch; memory: two vectors.

    Reference: arXiv 2008.10898, with estimates in place of gradients.
    """
    _chance("p", p)
    if not (isinstance(big, int) and big >= 0):
        raise ValueError(f"big={big!r} must be a whole number of batches, or 0 for all components")
    probe = Recursive(n, "previous", p=p, central=central, **({"big": big} if big else {}))
    return _held("zo_page", Dense(law), probe, Storm(central), lr, eps, rule, schedule,
                 {"n": n, "p": p, "big": big, "central": central, "law": law})  # fmt: skip


def zo_storm(
    lr: float = 1e-3, eps: float = 1e-4, *, n: int = 10, a: float = 0.1, central: bool = False, rule: Rule | None = None,
    law: Law = "normal", schedule: str = "constant",
) -> Method:  # fmt: skip
    """STORM by differences: momentum whose past is corrected, without ever asking the whole sum.

        v <- G_I(x_k) + (1 - a) (v - G_I(x_{k-1}));          x <- x - lr v

    Args:
        lr: step size.
        eps: radius.
        n: draws of every estimate.
        a: what is forgotten a step; 1 is plain descent by batches.
        central: pairs in place of forward differences.
        rule: how x moves; plain descent if not given.
        law: "normal" or "signs".
        schedule: "constant", "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost, in components: 2 (n + 1) of the batch; memory: two vectors.

    Reference: arXiv 1905.10018, with estimates in place of gradients.
    """
    _chance("a", a)
    probe = Recursive(n, "previous", p=0.0, big=1, central=central)
    return _held("zo_storm", Dense(law), probe, Storm(central, a=a), lr, eps, rule, schedule,
                 {"n": n, "a": a, "central": central, "law": law})  # fmt: skip


def zpdvr(
    lr: float = 1e-3, eps: float = 1e-7, *, p: float = 0.01, rule: Rule | None = None, schedule: str = "constant",
) -> Method:  # fmt: skip
    """ZPDVR: both variances go, that of sampling and that of the draws, at four components a step.

        step         x <- prox(x - lr [ (D_u f_i(x) - D_u f_i(w)) u + v ]),   D_u phi(x) = (phi(x + eps u) - phi(x)) / eps
        refresh      w <- x;   h <- h + (D_u f(w) - <u, h>) / (d + 2) u;   v <- h + (D_u0 f(w) - <u0, h>) u0

    h closes in on grad f(w), so v does, though no coordinate is ever asked: under a prox or a constraint, where the
    gradient at the solution is not 0, plain estimates keep a noise of d |grad f|^2 and stall.  The paper's h takes the
    u of the step before; here a refresh draws its own, and asks f(w) once for both.

    Args:
        lr: step size (the paper: of the order of 1 / (d L)).
        eps: radius, as small as float64 allows (1e-9 in a published code).
        p: of a refresh before a step (the paper: of the order of 1 / n).
        rule: `rules.Proximal(...)` for a composite problem; plain descent if not given.
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost, in components: 4 a step with a batch of 1, 3 of the whole sum a refresh; memory: three vectors.

    Reference: arXiv 2405.17761.
    """
    _chance("p", p)
    probe = Recursive(1, "anchor", p=p, first=2)
    return _held("zpdvr", Dense("normal"), probe, Tracker(total=(True, True)), lr, eps, rule, schedule, {"p": p},
                 ("h", "v", "anchor"))  # fmt: skip


def zivr(
    lr: float = 1e-3, eps: float = 1e-7, *, d: int, components: int, rule: Rule | None = None, schedule: str = "constant",
) -> Method:  # fmt: skip
    """ZIVR, two points a step: one derivative of one component, and a table of all that are known.

        z = (f_i(x + eps e_j) - f_i(x)) / eps                     i of N and j of d at random
        x <- prox(x - lr [ d (z - J_ji) e_j + s ]);   s_j <- s_j + (z - J_ji) / N;   J_ji <- z

    s is the mean of the table's columns, so the estimate has no bias, and both variances go as the table closes in: without
    ever asking the whole sum, or all coordinates.  The paper's two-point algorithm, without batches and acceleration.

    Args:
        lr: step size (SAGA's 1 / (3 L), here of the order of 1 / (3 d L), L of a component).
        eps: radius, as small as float64 allows (1e-9 in a published code).
        d: numbers of the parameters (`minimize` fills it in).
        components: N (`minimize` fills it in).
        rule: `rules.Proximal(...)` for a composite problem; plain descent if not given.
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range; a table over 4 GiB, half a billion entries set one a step (`zpdvr` has none).

    Cost, in components: 2 a step; memory: a vector, and a table of 8 d N bytes.

    Reference: arXiv 2601.05056.
    """
    checked(lr=lr, eps=eps, schedule=schedule, d=d, components=components)
    if 8 * d * components > LARGEST:
        raise ValueError(
            f"d={d}, components={components}: zivr's table of their derivatives takes {8e-9 * d * components:.3g} GB, "
            f"more than {LARGEST / 1e9:.2g}; use zpdvr, which keeps three vectors"
        )
    return Method(
        "zivr", Coordinate(), Entry(d, components), Table(d, components), rule or Descent(), lr, eps, SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "d": d, "components": components, "schedule": schedule}, frozenset({"shift-free"}), vecs=("s",),
    )  # fmt: skip


def _held(
    name: str, directions: Directions, probe: Recursive, coefficients: Coefficients, lr: float, eps: float,
    rule: Rule | None, schedule: str, own: dict[str, int | float | str | bool], vecs: tuple[str, ...] = (),
) -> Method:  # fmt: skip
    checked(lr=lr, eps=eps, schedule=schedule, **own)
    return Method(
        name, directions, probe, coefficients, rule or Descent(), lr, eps, SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, **own, "schedule": schedule}, frozenset({"shift-free"}), vecs=vecs or ("v", probe.place),
    )  # fmt: skip


def _chance(name: str, value: float) -> None:
    if not (isinstance(value, int | float) and 0.0 < value <= 1.0):
        raise ValueError(f"{name}={value!r} must be a number above 0, up to 1")


JI = "Improved Zeroth-Order Variance Reduced Algorithms and Analysis for Nonconvex Optimization"
SVRG = "Zeroth-Order Stochastic Variance Reduction for Nonconvex Optimization"

CARDS = (
    MethodCard("zo_svrg", zo_svrg, SVRG, "1805.10367",
               "2n + 2", "2 vectors", "300 B", "batches corrected at an anchor, along random directions"),
    MethodCard("zo_svrg_coord", zo_svrg_coord, SVRG, "1805.10367",
               "4d", "2 vectors", "40 d B", "batches corrected at an anchor, along all coordinates"),
    MethodCard("zo_svrg_coord_rand", zo_svrg_coord_rand, JI, "1910.12166",
               "2n + 2", "2 vectors", "100 B", "the anchor along coordinates, steps along random directions"),
    MethodCard("vr_szd", vr_szd, "VR-SZD", "2506.23758",
               "2n + 2", "2 vectors", "150 B", "the anchor along coordinates, steps along draws at right angles"),
    MethodCard("zo_spider_coord", zo_spider_coord, JI, "1910.12166",
               "4d", "2 vectors", "40 d B", "an estimate carried along, by all coordinates"),
    MethodCard("zo_page", zo_page, "PAGE: A Simple and Optimal Probabilistic Gradient Estimator for Nonconvex "
               "Optimization", "2008.10898",
               "2n + 2", "2 vectors", "300 B", "an estimate carried along, and made anew by chance"),
    MethodCard("zo_storm", zo_storm, "Momentum-Based Variance Reduction in Non-Convex SGD", "1905.10018",
               "2n + 2", "2 vectors", "300 B", "momentum whose past is corrected"),
    MethodCard("zpdvr", zpdvr, "Double Variance Reduction: A Smoothing Trick for Composite Optimization Problems without "
               "First-Order Gradient", "2405.17761",
               "4", "3 vectors", "100 B", "both variances reduced, under a prox too"),
    MethodCard("zivr", zivr, "ZIVR: An Incremental Variance Reduction Technique For Zeroth-Order Composite Problems",
               "2601.05056",
               "2", "1 vector, 8 d N B", "110 B", "a table of derivatives, one of one component a step"),
)  # fmt: skip

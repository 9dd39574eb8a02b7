"""Frank-Wolfe by differences: in a set of which only the linear minimum is cheap (`set.lmo`), without projections.

    s = argmin_{s in K} <v, s>,   x <- x + gamma (s - x)        v: an estimate of the gradient

They differ in v.  lr multiplies gamma, and is 1 in the papers.  Not here: the rules (`rules.frank_wolfe`), sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ..coefficients import Averaged, CentralSlopes, Coordinates, Forward, Refined, Slopes, Storm, Unbiased
from ..directions import Coordinate, Dense
from ..directions.coordinate import Rotating
from ..method import Method
from ..probes import OneSided, Recursive, TwoSided
from ..protocols import Coefficients, Directions, Probe, Rule
from ..rules import FrankWolfe, Sliding
from ..sets import Set, from_plain, to_plain
from .card import MethodCard, checked

Given = Set | Mapping[str, Any]


def zscg(*, set: Given, lr: float = 1.0, eps: float = 1e-4, n: int = 8, gamma: str = "6/(t+5)") -> Method:
    """ZSCG: the conditional gradient along the mean of n forward differences.

        v = 1/n sum_i (f(x + eps z_i) - f(x)) / eps z_i

    Its noise does not fall by itself: the paper lets n grow like the square of the steps.  With gamma="constant" and
    lr = 1/sqrt(steps), the nonconvex form.

    Args:
        set: of `zoptim.sets`, or its plain data.
        lr: multiplies gamma.
        eps: radius.
        n: draws a step.
        gamma: "6/(t+5)" (the paper's, convex), "2/(t+2)", "2/(t+8)" or "constant".

    Raises:
        ValueError: a setting outside its range; a set without a linear minimum.

    Cost, in components: n + 1; memory: none.

    Reference: arXiv 1809.06474.
    """
    return _made("zscg", set, Dense("normal"), OneSided(n), Forward(), FrankWolfe(_set(set), gamma), lr, eps,
                 {"n": n, "gamma": gamma}, ())  # fmt: skip


def sgffw(
    *, set: Given, d: int, lr: float = 1.0, eps: float = 1e-4, n: int = 6, scheme: Literal["irdsa", "rdsa", "kwsa"] = "irdsa",
    gamma: str = "2/(t+8)",
) -> Method:  # fmt: skip
    """SGFFW: estimates averaged over steps, so that a single component and few draws are enough.

        v <- (1 - rho) v + rho g,   rho = min(1, share / (t + 8)^(2/3))
        I-RDSA   g = 1/n sum_i (f(x + eps z_i) - f(x)) / eps z_i     share = 4 / (1 + d/n)^(1/3)
        RDSA     the same with one normal                            share = 4 / d^(1/3)
        KWSA     g = sum_j (f(x + eps e_j) - f(x)) / eps e_j          share = 4

    The paper lets eps fall with t; on functions exact to rounding a small one is better, and it stays.

    Args:
        set: of `zoptim.sets`, or its plain data.
        d: numbers of the parameters.
        lr: multiplies gamma.
        eps: radius.
        n: draws a step, of I-RDSA (the paper: 6).
        scheme: "irdsa", "rdsa" or "kwsa".
        gamma: "2/(t+8)" (the paper) or another of `rules.frank_wolfe`.

    Raises:
        ValueError: a setting outside its range; a set without a linear minimum.

    Cost, in components: n + 1, 2 or d + 1; memory: one vector.

    Reference: arXiv 1810.03233.
    """
    checked(d=d, n=n)
    schemes = {"irdsa": (n, 4.0 / (1 + d / n) ** (1 / 3)), "rdsa": (1, 4.0 / d ** (1 / 3)), "kwsa": (d, 4.0)}
    if scheme not in schemes:
        raise ValueError(f"scheme={scheme!r} must be one of {', '.join(map(repr, schemes))}")
    draws, share = schemes[scheme]
    whole = scheme == "kwsa"
    directions: Directions = Coordinate() if whole else Dense("normal")
    coefficients = Averaged(Slopes() if whole else Forward(), share)
    return _made("sgffw", set, directions, OneSided(draws), coefficients, FrankWolfe(_set(set), gamma), lr, eps,
                 {"d": d, "n": n, "scheme": scheme, "gamma": gamma}, ("v",))  # fmt: skip


def fzfw(*, set: Given, d: int, lr: float = 0.1, eps: float = 1e-4, period: int = 10) -> Method:
    """FZFW: SPIDER's estimate along all coordinates, and steps of constant share.

        every `period` steps   v <- G(x) on all components,   else   v <- v + G_I(x_k) - G_I(x_{k-1})
        x <- x + lr (lmo(v) - x)

    Args:
        set: of `zoptim.sets`, or its plain data.
        d: numbers of the parameters.
        lr: gamma (the paper: 1 / (diameter sqrt(steps)), in units of the set 1 / sqrt(steps)).
        eps: radius (the paper: 1 / sqrt(d steps)).
        period: steps from refresh to refresh (the paper: sqrt n, the batch as large).

    Raises:
        ValueError: a setting outside its range; a set without a linear minimum.

    Cost, in components: 2d of the whole sum a refresh, 4d of the batch else; memory: two vectors.

    Reference: Gao and Huang, Can Stochastic Zeroth-Order Frank-Wolfe Method Converge Faster for Non-Convex Problems?
    (ICML 2020).
    """
    return _made("fzfw", set, Coordinate(), _spider(d, period), SPIDER, FrankWolfe(_set(set), "constant"), lr, eps,
                 {"d": d, "period": period}, ("v", "previous"))  # fmt: skip


def fzcgs(
    *, set: Given, d: int, lr: float = 0.1, eps: float = 1e-4, period: int = 10, gap: float = 1e-3
) -> Method:
    """FZCGS: as `fzfw`, with conditional gradient sliding: fewer questions, more linear minima.

        x <- argmin_{u in K} <v, u> + |u - x|^2 / (2 lr), by Frank-Wolfe until its gap is at most `gap`

    Args:
        set: of `zoptim.sets`, or its plain data.
        d: numbers of the parameters.
        lr: of the proximal step (the paper: 1 / (3 L)).
        eps: radius (the paper: 1 / sqrt(d steps)).
        period: steps from refresh to refresh (the paper: sqrt n, the batch as large).
        gap: of the inner problem (the paper: 1 / steps).

    Raises:
        ValueError: a setting outside its range; a set without a linear minimum.

    Cost, in components: as `fzfw`; up to 100 linear minima a step; memory: two vectors.

    Reference: Gao and Huang (ICML 2020), as `fzfw`.
    """
    return _made("fzcgs", set, Coordinate(), _spider(d, period), SPIDER, Sliding(_set(set), gap), lr, eps,
                 {"d": d, "period": period, "gap": gap}, ("v", "previous"))  # fmt: skip


def jaguar(*, set: Given, lr: float = 1.0, eps: float = 1e-4, n: int = 1, gamma: str = "2/(t+2)") -> Method:
    """JAGUAR: the last slope along every coordinate is remembered, and n of them are asked anew a step.

        v_l <- (f(x + eps e_l) - f(x - eps e_l)) / 2 eps for n coordinates l,   x <- x + gamma (lmo(v) - x)

    Args:
        set: of `zoptim.sets`, or its plain data.
        lr: multiplies gamma.
        eps: radius.
        n: coordinates a step, different ones (the paper: 1).
        gamma: "2/(t+2)" or another of `rules.frank_wolfe`; the paper's are of the order of 1 / (t + d).

    Raises:
        ValueError: a setting outside its range; a set without a linear minimum.

    Cost, in components: 2n; memory: one vector.

    Reference: arXiv 2409.10442.
    """
    checked(n=n)
    return _made("jaguar", set, Rotating(n), TwoSided(n), Coordinates(CentralSlopes()), FrankWolfe(_set(set), gamma), lr,
                 eps, {"n": n, "gamma": gamma}, ("v",))  # fmt: skip


def jaguar_stochastic(
    *, set: Given, d: int, lr: float = 1.0, eps: float = 1e-4, n: int = 1, gamma: str = "2/(t+8)"
) -> Method:
    """JAGUAR's stochastic form: slopes remembered, made unbiased, and averaged over steps as in `sgffw`.

        g = h + d/n sum_l (D_l f_B(x) - h_l) e_l over n coordinates l;   h_l <- D_l f_B(x) for those
        v <- (1 - rho) v + rho g,   rho = min(1, 4 / (1 + d/n)^(1/3) / (t + 8)^(2/3)),   x <- x + gamma (lmo(v) - x)

    D_l is central.  The schedule of rho is I-RDSA's, whose estimates have a variance of the same order in d/n; the
    paper's own constants are not checked against its pages.

    Args:
        set: of `zoptim.sets`, or its plain data.
        d: numbers of the parameters.
        lr: multiplies gamma.
        eps: radius.
        n: coordinates a step, different ones, at most d (the paper: 1).
        gamma: "2/(t+8)" or another of `rules.frank_wolfe`.

    Raises:
        ValueError: a setting outside its range; a set without a linear minimum.

    Cost, in components: 2n of the batch; memory: two vectors.

    Reference: arXiv 2409.10442.
    """
    checked(d=d, n=n)
    if n > d:
        raise ValueError(f"n={n} different coordinates a step: there are d={d}")
    coefficients = Averaged(Unbiased(CentralSlopes()), 4.0 / (1 + d / n) ** (1 / 3))
    return _made("jaguar_stochastic", set, Rotating(n), TwoSided(n), coefficients, FrankWolfe(_set(set), gamma), lr, eps,
                 {"d": d, "n": n, "gamma": gamma}, ("h", "v"))  # fmt: skip


def zsfw_dvr(
    *, set: Given, lr: float = 1.0, eps: float = 1e-7, n: int = 8, p: float = 0.1, gamma: str = "2/(t+2)"
) -> Method:
    """ZSFW-DVR: both variances go, that of sampling by PAGE's recursion, that of the draws by a tracker h.

        with probability p   v <- h + 1/n sum_j (D_j f(x) - <u_j, h>) u_j;   h <- h + 1/(d + n + 1) sum_j (same) u_j
        else                 v <- v + 1/n sum_j (D_j f_B(x_k) - D_j f_B(x_{k-1})) u_j
        x <- x + gamma (lmo(v) - x)

    Reconstructed from the paper's abstract and the authors' averaging trick (2405.17761): constants are not checked
    against its pages.

    Args:
        set: of `zoptim.sets`, or its plain data.
        lr: multiplies gamma.
        eps: radius, as small as float64 allows.
        n: draws a step.
        p: of a refresh (|B| / (N + |B|) for N components balances the questions; with n well below d more is better:
            between refreshes v takes on (d / n) |the gradient's change|^2 of noise a step).
        gamma: "2/(t+2)" (convex) or another of `rules.frank_wolfe`.

    Raises:
        ValueError: a setting outside its range; a set without a linear minimum.

    Cost, in components: n + 1 of the whole sum with probability p, else 2 (n + 1) of the batch; memory: three vectors.

    Reference: arXiv 2501.07201.
    """
    if not (isinstance(p, int | float) and 0.0 < p <= 1.0):
        raise ValueError(f"p={p!r} must be a number above 0, up to 1")
    return _made("zsfw_dvr", set, Dense("normal"), Recursive(n, "previous", p=p), Refined(), FrankWolfe(_set(set), gamma),
                 lr, eps, {"n": n, "p": p, "gamma": gamma}, ("h", "v", "previous"))  # fmt: skip


SPIDER = Storm(True, (True, True))


def _spider(d: int, period: int) -> Recursive:
    checked(d=d, period=period)
    return Recursive(d, "previous", period, central=True)


def _set(given: Given) -> Any:
    return from_plain(dict(given)) if isinstance(given, Mapping) else given


def _made(
    name: str, set: Given, directions: Directions, probe: Probe, coefficients: Coefficients, rule: Rule, lr: float,
    eps: float, own: dict[str, Any], vecs: tuple[str, ...],
) -> Method:  # fmt: skip
    checked(lr=lr, eps=eps, **{k: v for k, v in own.items() if k in ("n", "d", "period")})
    arguments = {"set": to_plain(_set(set)), "lr": lr, "eps": eps, **own}
    return Method(
        name,
        directions,
        probe,
        coefficients,
        rule,
        lr,
        eps,
        arguments=arguments,
        claims=frozenset({"shift-free"}),
        vecs=vecs,
    )


GAO = "Can Stochastic Zeroth-Order Frank-Wolfe Method Converge Faster for Non-Convex Problems? (ICML 2020)"

CARDS = (
    MethodCard("zscg", zscg, "Zeroth-order Nonconvex Stochastic Optimization: Handling Constraints, High-Dimensionality and "
               "Saddle-Points", "1809.06474",
               "n + 1", "none", "80 B", "the conditional gradient along random directions"),
    MethodCard("sgffw", sgffw, "Towards Gradient Free and Projection Free Stochastic Optimization", "1810.03233",
               "n + 1", "1 vector", "150 B", "Frank-Wolfe on estimates averaged over steps"),
    MethodCard("fzfw", fzfw, GAO, "", "4d", "2 vectors", "40 d B", "Frank-Wolfe on SPIDER's estimate by coordinates"),
    MethodCard("fzcgs", fzcgs, GAO, "", "4d", "2 vectors", "40 d B", "conditional gradient sliding on SPIDER's estimate"),
    MethodCard("jaguar", jaguar, "New Aspects of Black Box Conditional Gradient: Variance Reduction and One Point Feedback",
               "2409.10442", "2n", "1 vector", "60 B", "Frank-Wolfe on every coordinate's last slope"),
    MethodCard("jaguar_stochastic", jaguar_stochastic, "New Aspects of Black Box Conditional Gradient: Variance Reduction "
               "and One Point Feedback", "2409.10442", "2n", "2 vectors", "100 B", "remembered slopes, averaged over batches"),
    MethodCard("zsfw_dvr", zsfw_dvr, "Enhanced Zeroth-Order Stochastic Frank-Wolfe Framework for Constrained Finite-Sum "
               "Optimization", "2501.07201",
               "2n + 2", "3 vectors", "300 B", "Frank-Wolfe with both variances reduced"),
)  # fmt: skip

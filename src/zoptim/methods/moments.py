"""Momentum and moments: what first-order methods do with a gradient, done with the regenerated estimate.

ZO-SGD with momentum (a buffer, or a list of past pairs), ZO-Adam, ZO-AdaMM, ZO-signSGD, ZO-AdaMU.
"""

from __future__ import annotations

from ..coefficients import Central, Chain, Forward, PastPairs, Votes
from ..directions import Dense, Remembered
from ..directions.dense import Law
from ..method import Method
from ..probes import OneSided, TwoSided
from ..rules import Adam, AmsGrad, Descent, Momentum, SignDescent
from ..schedules import SCHEDULES
from .card import MethodCard, checked


def zo_momentum(
    lr: float = 1e-6, eps: float = 1e-3, *, n: int = 1, beta: float = 0.9, law: Law = "normal",
    schedule: str = "constant",
) -> Method:  # fmt: skip
    """ZO-SGD with momentum: MeZO's estimate into heavy-ball momentum.

        c_i as in mezo;   v <- beta v + sum_i c_i z_i;   theta <- theta - lr v

    Args:
        lr: step size, in weight per unit of directional derivative.
        eps: radius, in the weights' own units.
        n: directions a step.
        beta: momentum, in [0, 1); a step's draws move the weights by lr/(1 - beta) in the end.
        law: "normal" (the paper) or "signs".
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: 2n forwards; one vector of the weights' size; 55 journal bytes at n = 1.

    Example:
        >>> zo_momentum(beta=0.5).pace
        2.0

    Reference: ZO-SGD-MMT of arXiv 2402.11592.
    """
    checked(lr=lr, eps=eps, n=n, law=law, schedule=schedule, beta=beta)
    return Method(
        "zo_momentum", Dense(law), TwoSided(n), Central(), Momentum(beta), lr, eps, SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "n": n, "beta": beta, "law": law, "schedule": schedule},
        frozenset({"unbiased", "shift-free"}), pace=1.0 / (1.0 - beta),
    )  # fmt: skip


def zo_momentum_pairs(
    lr: float = 1e-6, eps: float = 1e-3, *, n: int = 1, beta: float = 0.9, keep: int = 30, law: Law = "signs",
    schedule: str = "constant",
) -> Method:  # fmt: skip
    """Momentum without a buffer: every step adds the last `keep` steps' pairs again, weighed by beta^age.

        theta <- theta - lr sum_{k < keep} beta^k sum_i c_{t-k,i} z_{t-k,i}

    zo_momentum but for the tail, of weight beta^keep (0.04 at the defaults), and the order of additions.

    Args:
        lr: step size, in weight per unit of directional derivative.
        eps: radius, in the weights' own units.
        n: directions a step.
        beta: momentum, in [0, 1).
        keep: steps whose pairs a step adds, itself included.
        law: "signs" (their noise is cheap to make again) or "normal".
        schedule: "constant", "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: 2n forwards; no memory; noise of n * keep draws an update; about 10 journal bytes a pair added, 375 in all.

    Example:
        >>> zo_momentum_pairs(keep=10).rule.vectors
        0

    Reference: the rule is ZO-SGD-MMT's, arXiv 2402.11592.
    """
    checked(lr=lr, eps=eps, n=n, law=law, schedule=schedule, beta=beta, keep=keep)
    return Method(
        "zo_momentum_pairs", Dense(law), TwoSided(n), Chain((Central(), PastPairs(beta, keep))), Descent(), lr, eps,
        SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "n": n, "beta": beta, "keep": keep, "law": law, "schedule": schedule},
        frozenset({"shift-free", "additive"}), pace=(1.0 - beta**keep) / (1.0 - beta),
    )  # fmt: skip


def zo_adam(
    lr: float = 1e-4, eps: float = 1e-3, *, n: int = 1, beta1: float = 0.9, beta2: float = 0.999,
    law: Law = "normal", schedule: str = "constant",
) -> Method:  # fmt: skip
    """ZO-Adam: MeZO's estimate into Adam.

    With one draw a step g^2 = c^2 z^2, so Adam's v is nearly one number times a vector of ones: `meazo` keeps that one
    number only.

    Args:
        lr: about the length of a step, in weight.
        eps: radius, in the weights' own units.
        n: directions a step.
        beta1: of the running mean, in [0, 1).
        beta2: of the running square, in [0, 1).
        law: "normal" (the paper) or "signs".
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: 2n forwards; two vectors of the weights' size; 55 journal bytes at n = 1.

    Example:
        >>> zo_adam().rule.vectors
        2

    Reference: ZO-Adam of arXiv 2402.11592; Adam, arXiv 1412.6980.
    """
    checked(lr=lr, eps=eps, n=n, law=law, schedule=schedule, beta1=beta1, beta2=beta2)
    return Method(
        "zo_adam", Dense(law), TwoSided(n), Central(), Adam(beta1, beta2), lr, eps, SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "n": n, "beta1": beta1, "beta2": beta2, "law": law, "schedule": schedule},
        frozenset({"shift-free"}), pace=n**0.5,
    )  # fmt: skip


def zo_adamm(
    lr: float = 1e-4, eps: float = 1e-3, *, n: int = 10, beta1: float = 0.9, beta2: float = 0.5, law: Law = "signs",
    schedule: str = "constant",
) -> Method:  # fmt: skip
    """ZO-AdaMM: one-sided differences into AMSGrad.

        g = 1/n sum_i (L(theta + eps z_i) - L(theta)) / eps z_i
        m <- b1 m + (1-b1) g;  v <- b2 v + (1-b2) g^2;  u <- max(u, v);   theta <- theta - lr m / sqrt(u)

    The paper's directions lie on the unit sphere, with a factor d: signs are sqrt(d) times such a direction, so
    its mu is eps sqrt(d).  Its projection in the metric sqrt(u) is `rules.ProjectedInMetric`, which
    `minimize(constraints=)` puts around this rule.

    Args:
        lr: about the length of a step, in weight.
        eps: radius, in the weights' own units.
        n: directions a step.
        beta1: of the running mean, in [0, 1).
        beta2: of the running square, in [0, 1).
        law: "signs" or "normal".
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: n + 1 forwards; three vectors of the weights' size; about 39 + 16 n journal bytes.

    Example:
        >>> zo_adamm(n=4).probe.forwards
        5

    Reference: arXiv 1910.06513.
    """
    checked(lr=lr, eps=eps, n=n, law=law, schedule=schedule, beta1=beta1, beta2=beta2)
    return Method(
        "zo_adamm", Dense(law), OneSided(n), Forward(), AmsGrad(beta1, beta2), lr, eps, SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "n": n, "beta1": beta1, "beta2": beta2, "law": law, "schedule": schedule},
        frozenset({"shift-free", "scale-free"}), pace=n**0.5,
    )  # fmt: skip


def zo_signsgd(
    lr: float = 1e-4, eps: float = 1e-3, *, n: int = 10, law: Law = "normal", vote: bool = False, schedule: str = "constant",
) -> Method:  # fmt: skip
    """ZO-signSGD: the sign of the estimate, element by element.

        theta <- theta - lr sign( 1/n sum_i (L(theta + eps z_i) - L(theta)) / eps z_i )
        vote:    theta <- theta - lr sign( sum_i sign( (L(theta + eps z_i) - L(theta)) z_i ) )

    One direction says nothing a sign could keep but sign(c) sign(z): n of 10 or more are needed.  (ZO-Bench's code
    of this name takes the sign of c only, and runs it through AdamW.)

    Args:
        lr: what every weight moves by.
        eps: radius, in the weights' own units.
        n: directions a step.
        law: "normal" or "signs" (the paper: the sphere; see zo_adamm).
        vote: the majority of the draws decides each element's sign (the paper's M-vote), so that no draw, however large its
            difference, counts for more than one; along "signs" alone.  An even n can tie: such elements stay.
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range; a vote along normals.

    Cost: n + 1 forwards; no memory; about 39 + 16 n journal bytes.

    Example:
        >>> zo_signsgd().probe.forwards
        11

    Reference: Liu et al., signSGD via zeroth-order oracle, ICLR 2019 (openreview BJe-DsC5Fm).
    """
    checked(lr=lr, eps=eps, n=n, law=law, schedule=schedule)
    if not isinstance(vote, bool):
        raise ValueError(f"vote={vote!r} must be True or False")
    if vote and law != "signs":
        raise ValueError(
            f"vote=True, law={law!r}: votes are along sign vectors; set law='signs', or leave vote out"
        )
    return Method(
        "zo_signsgd", Dense(law), OneSided(n), Chain((Forward(), Votes())) if vote else Forward(), SignDescent(), lr, eps,
        SCHEDULES[schedule](), {"lr": lr, "eps": eps, "n": n, "law": law, "vote": vote, "schedule": schedule},
        frozenset({"shift-free", "scale-free"} | ({"rank-invariant"} if vote else set())), pace=n**0.5,
    )  # fmt: skip


def zo_adamu(lr: float = 1e-6, eps: float = 1e-3, *, schedule: str = "constant") -> Method:
    """ZO-AdaMU: momentum in what is probed, and a step divided by the probe's own size.

        m_t = b1 z1 + (1-b1) z2,  z1 ~ N(0, a),  z2 ~ N(m_{t-1}, 1-a);   c = (L(theta + eps m_t) - L(theta - eps m_t)) / (2 eps)
        theta <- theta - lr c m_t / sqrt(b2 z1^2 + (1-b2) z2^2 + 1e-8)

    a, b1 and b2 are annealed over the run (`directions.remembered`): for its first twentieth this is plain noise.
    The published code remembers sign(c) m_t; the algorithm as printed, followed here, remembers m_t.

    Args:
        lr: step size, in weight per unit of directional derivative.
        eps: radius, in the weights' own units.
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: 2 forwards; one vector of the weights' size; 55 journal bytes; two normals a weight wherever m_t is formed.

    Example:
        >>> zo_adamu().directions.vectors
        1

    Reference: arXiv 2312.15184.
    """
    checked(lr=lr, eps=eps, schedule=schedule)
    return Method(
        "zo_adamu", Remembered(), TwoSided(1), Central(), Descent(), lr, eps, SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "schedule": schedule}, frozenset({"shift-free"}),
    )  # fmt: skip


CARDS = (
    MethodCard("zo_momentum", zo_momentum, "Revisiting Zeroth-Order Optimization for Memory-Efficient LLM Fine-Tuning",
               "2402.11592", "2n", "1 vector", "55 B", "two-sided differences, heavy-ball momentum"),
    MethodCard("zo_momentum_pairs", zo_momentum_pairs,
               "Revisiting Zeroth-Order Optimization for Memory-Efficient LLM Fine-Tuning", "2402.11592",
               "2n", "none", "375 B", "momentum as a list of past pairs"),
    MethodCard("zo_adam", zo_adam, "Revisiting Zeroth-Order Optimization for Memory-Efficient LLM Fine-Tuning",
               "2402.11592", "2n", "2 vectors", "55 B", "two-sided differences into Adam"),
    MethodCard("zo_adamm", zo_adamm, "ZO-AdaMM: Zeroth-Order Adaptive Momentum Method", "1910.06513",
               "n + 1", "3 vectors", "199 B", "one-sided differences into AMSGrad"),
    MethodCard("zo_signsgd", zo_signsgd, "signSGD via Zeroth-Order Oracle", "ICLR 2019",
               "n + 1", "none", "199 B", "the sign of the estimate, element by element"),
    MethodCard("zo_adamu", zo_adamu, "ZO-AdaMU Optimizer: Adapting Perturbation by the Momentum and Uncertainty",
               "2312.15184", "2", "1 vector", "55 B", "momentum in what is probed"),
)  # fmt: skip

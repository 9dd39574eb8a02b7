"""Populations: what evolution strategies and consensus methods do with many particles, in weights form.

OpenAI-ES, consensus hopping.  (EGGROLL, whose members are low-rank, is in `lowrank`.)
"""

from __future__ import annotations

from ..coefficients import CenteredRanks, SoftMin
from ..directions import Dense
from ..method import Method
from ..probes import TwoSided
from ..rules import Descent
from ..schedules import SCHEDULES
from .card import MethodCard, checked


def openai_es(
    lr: float = 1e-3, eps: float = 1e-3, *, n: int = 16, weight_decay: float = 0.0, schedule: str = "constant",
) -> Method:  # fmt: skip
    """OpenAI-ES: n antithetic pairs, of whose 2n losses only the ranks count.

        r = rank of a loss / (2n - 1) - 1/2;   theta <- theta - lr (1/(2n) sum_i (r_i+ - r_i-) z_i + weight_decay theta)

    lr is the published code's step size, which has no 1/sigma: in the paper's theta + alpha/(2n sigma) sum_k F_k eps_k
    over 2n members, alpha = lr eps.  eps is sigma.  The paper steps by Adam:
    dataclasses.replace(openai_es(), rule=rules.Adam()).

    Args:
        lr: step length, in weight: each moves by about 0.3 lr / sqrt(n) a step.
        eps: sigma, radius of a member (the paper's policies: 0.02).
        n: antithetic pairs.
        weight_decay: per unit of lr (the paper's policies: 0.005).
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: 2n forwards, all in a pass where memory allows; no memory; about 31 + 24 n journal bytes.

    Example:
        >>> openai_es(n=4).probe.forwards
        8

    Reference: arXiv 1703.03864.
    """
    checked(lr=lr, eps=eps, n=n, schedule=schedule, weight_decay=weight_decay)
    traits = {"rank-invariant", "scale-free", "shift-free"} | (set() if weight_decay else {"additive"})
    return Method(
        "openai_es", Dense("normal"), TwoSided(n), CenteredRanks(), Descent(weight_decay), lr, eps,
        SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "n": n, "weight_decay": weight_decay, "schedule": schedule},
        frozenset(traits), pace=((2 * n + 1) / (2 * n - 1) / 12) ** 0.5,  # rms of n (r_i+ - r_i-) / (2n), r_i- = -r_i+
    )  # fmt: skip


def consensus(
    lr: float = 1e-5, eps: float = 1e-3, *, n: int = 16, temperature: float = 0.1, schedule: str = "constant",
) -> Method:  # fmt: skip
    """Consensus hopping: to where 2n particles agree, each counting by exp(-loss / temperature).

        w = softmax(-L / T) over theta +- eps z_i;   theta <- theta + lr T / eps sum_i (w_i+ - w_i-) z_i

    With lr = eps^2 / T, as the defaults are, this is the paper's hop to the consensus sum_k w_k x_k of particles
    x_k ~ N(theta, eps^2), drawn in antithetic pairs here so that equal losses move nothing; another lr goes
    lr T / eps^2 of that way.  For a large T, lr is MeZO's and so is the step.

    Args:
        lr: step size, in weight per unit of directional derivative.
        eps: sigma, radius of the particles.
        n: antithetic pairs of particles.
        temperature: T, in units of loss: a difference that counts.  The paper's alpha is 1 / T.
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: 2n forwards, all in a pass where memory allows; no memory; about 31 + 24 n journal bytes.

    Example:
        >>> consensus(temperature=0.02).coefficients.temperature
        0.02

    Reference: arXiv 2306.09778.
    """
    checked(lr=lr, eps=eps, n=n, schedule=schedule, temperature=temperature)
    return Method(
        "consensus", Dense("normal"), TwoSided(n), SoftMin(temperature), Descent(), lr, eps, SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "n": n, "temperature": temperature, "schedule": schedule}, frozenset({"additive", "shift-free"}),
    )  # fmt: skip


CARDS = (
    MethodCard("openai_es", openai_es, "Evolution Strategies as a Scalable Alternative to Reinforcement Learning",
               "1703.03864", "2n", "none", "415 B", "a population of normal members, by the ranks of its losses"),
    MethodCard("consensus", consensus, "Gradient is All You Need?", "2306.09778",
               "2n", "none", "415 B", "hops to a population's mean, weighed by exp(-loss / temperature)"),
)  # fmt: skip

"""Variance reduction over mini-batches: MeZO-SVRG."""

from __future__ import annotations

from ..coefficients import Anchored
from ..directions import Dense
from ..directions.dense import Law
from ..method import Method
from ..probes import AnchoredProbe
from ..rules import Descent
from ..schedules import SCHEDULES
from .card import MethodCard, checked


def mezo_svrg(
    lr: float = 1e-6, eps: float = 1e-3, *, period: int = 2, sample: int = 8, boost: float = 1.0,
    law: Law = "normal", schedule: str = "constant",
) -> Method:  # fmt: skip
    """MeZO-SVRG: mini-batch differences corrected by the same difference at an anchor.

        every `period` steps   theta_bar = theta;   c_full = difference along z_0 on `sample` batches;   theta <- theta - boost lr c_full z_0
        else                   theta <- theta - lr [ (c_t - c_bar_t) z_t + c_full z_0 ]

    c_t and c_bar_t are taken along the same z_t on the same batch, at theta and at theta_bar: else their difference
    reduces nothing.  (The published code's anchor is a second name of the current weights, its two directions differ.)
    The anchor is regenerated from the moves since, and c_full z_0 is a pair: neither costs memory.

    Args:
        lr: step size of mini-batch steps, in weight per unit of directional derivative (the paper's eta_2).
        eps: radius, in the weights' own units.
        period: steps from anchor to anchor (the paper's q, 2).
        sample: batches an anchor's difference is taken over; as many as there are for the paper's full gradient.
        boost: the anchor step's size over lr (eta_1 / eta_2; the paper: 100 to 1000 with 512 examples in all).
        law: "normal" (the paper) or "signs".
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: (2 sample + 4 (period - 1)) / period forwards a step in the mean; no memory; about 75 journal bytes.

    Example:
        >>> mezo_svrg(period=2, sample=8).probe.forwards
        10.0

    Reference: arXiv 2404.08080.
    """
    checked(lr=lr, eps=eps, law=law, schedule=schedule, period=period, sample=sample, boost=boost)
    return Method(
        "mezo_svrg", Dense(law), AnchoredProbe(period, sample), Anchored(boost), Descent(), lr, eps,
        SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "period": period, "sample": sample, "boost": boost, "law": law, "schedule": schedule},
        frozenset({"shift-free", "additive"}),
    )  # fmt: skip


CARDS = (
    MethodCard("mezo_svrg", mezo_svrg, "Variance-reduced Zeroth-Order Methods for Fine-Tuning Language Models",
               "2404.08080", "sample + 2", "none", "75 B",
               "differences corrected by those at an anchor"),
)  # fmt: skip

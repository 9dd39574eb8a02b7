"""Finite sums under a penalty: l1-logistic regression by component queries, where the noise of plain differences stays.

    python -m bench.sums [--quick] [--save] [--json]

Needs scikit-learn.  At the solution the gradient of the smooth part is not 0: a difference along z keeps a noise of
d |grad f|^2 there, and with a constant step plain differences stall; ZPDVR goes down in a straight line without
ever asking along coordinates.  ZIVR's steps are of single components, too many for the two larger problems.
What it is not: the problems (`sums_problems`), how they are run and shown (`contest`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.contest import Contest, Entrant, ends, spread
from bench.sums_problems import PROBLEMS, Problem

FEW = 8  # draws at right angles to each other, which cost their cube


def draws(p: Problem) -> int:
    """Of a step, where a paper leaves them open."""
    return max(1, p.d // 8)


def _few(p: Problem) -> int:
    return min(FEW, draws(p))


def _normal(p: Problem) -> float:
    """The step that is best for the mean of that many normals' slopes."""
    return draws(p) / (p.smooth * (p.d + draws(p) + 1))


def _orthogonal(p: Problem) -> float:
    return _few(p) / (p.smooth * p.d)


def _coordinates(p: Problem) -> float:
    return 1 / (4 * p.smooth)


def _tracked(p: Problem) -> float:
    return 1 / (4 * p.d * p.smooth)


def _period(p: Problem, sweep: int, step: int) -> int:
    """Steps from refresh to refresh, so that they cost as much as it does: points of either."""
    return round(sweep * p.n / (step * p.batch))


CONSTANT = {"schedule": "constant"}

ENTRANTS: dict[str, Entrant] = {
    "zo_sgd": Entrant("zo_sgd", lambda p: {"n": draws(p), "law": "normal", **CONSTANT}, _normal),
    "zo_sgd, cosine": Entrant(
        "zo_sgd", lambda p: {"n": draws(p), "law": "normal", "schedule": "cosine"}, _normal
    ),
    "zo_storm": Entrant("zo_storm", lambda p: {"n": draws(p), **CONSTANT}, _normal),
    "zo_page": Entrant("zo_page", lambda p: {"n": draws(p), "p": p.refresh, **CONSTANT}, _normal),
    "zo_svrg": Entrant("zo_svrg", lambda p: {"n": draws(p), "period": _period(p, 1, 2), **CONSTANT}, _normal),
    "zo_svrg_coord": Entrant(
        "zo_svrg_coord", lambda p: {"period": _period(p, 1, 2), **CONSTANT}, _coordinates
    ),
    "zo_spider_coord": Entrant(
        "zo_spider_coord", lambda p: {"period": _period(p, 1, 2), **CONSTANT}, _coordinates
    ),
    "zo_svrg_coord_rand": Entrant(
        "zo_svrg_coord_rand",
        lambda p: {"n": draws(p), "period": _period(p, p.d + 1, 2 * draws(p) + 2), **CONSTANT},
        _normal,
    ),
    "vr_szd": Entrant(
        "vr_szd",
        lambda p: {"n": _few(p), "period": _period(p, p.d + 1, 2 * _few(p) + 2), **CONSTANT},
        _orthogonal,
    ),
    "zpdvr, p = 1/10": Entrant("zpdvr", lambda p: {"p": 1 / 10, **CONSTANT}, _tracked),
    "zpdvr, p = 1/4": Entrant("zpdvr", lambda p: {"p": 1 / 4, **CONSTANT}, _tracked),
    "zivr": Entrant("zivr", lambda p: CONSTANT, _tracked, batch=lambda p: 1, on=("cancer",)),
}

CONTEST = Contest(
    "sums",
    __doc__.splitlines()[0],
    PROBLEMS,
    ENTRANTS,
    {
        "bound by slopes": lambda cell: spread(ends(cell, "gap")),
        "numbers not 0": lambda cell: spread(ends(cell, "numbers")),
    },
    grid=(0.1, 0.3, 1.0, 3.0, 10.0),
    seeds=(0, 1, 2),
    quick=(0.1, (0,), (1.0, 3.0)),
    eps=1e-7,
    axis="linear",
    base=("zo_sgd", "zo_sgd, cosine"),
)


def section(found: Mapping[str, Any]) -> str:
    """What the page of black boxes says of it."""
    return CONTEST.section(
        found,
        "All have a constant step but for the one that says so, and batches of sqrt n components but for zivr's single ones.",
    )


if __name__ == "__main__":
    CONTEST.main()

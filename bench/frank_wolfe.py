"""Frank-Wolfe by differences on its papers' three experiments, at equal numbers of component queries.

    python -m bench.frank_wolfe [--quick] [--save] [--json]

Needs scikit-learn, whose own data are used.  Every method, and three that project, gets the same budget of evaluations of
single f_i, points outside of batches included.  What it is not: the problems (`frank_problems`), how they are run
and shown (`contest`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.contest import Contest, Entrant, ends, spread
from bench.frank_problems import PROBLEMS, Problem

N = 8  # draws of a step, where a paper leaves them open


def _normal(p: Problem) -> float:
    """The step that is best for the mean of N normals' slopes."""
    return N / (p.smooth * (p.d + N + 1))


ENTRANTS: dict[str, Entrant] = {
    "zscg": Entrant("zscg", lambda p: {"n": N}, lambda p: 1.0),
    "sgffw, I-RDSA": Entrant("sgffw", lambda p: {"n": 6}, lambda p: 1.0),
    "sgffw, RDSA": Entrant("sgffw", lambda p: {"scheme": "rdsa"}, lambda p: 1.0),
    "sgffw, KWSA": Entrant("sgffw", lambda p: {"scheme": "kwsa"}, lambda p: 1.0),
    "fzfw": Entrant("fzfw", lambda p: {"period": p.batch}, lambda p: 0.1),
    "fzcgs": Entrant("fzcgs", lambda p: {"period": p.batch}, lambda p: 1 / (3 * p.smooth)),
    "jaguar": Entrant("jaguar", lambda p: {}, lambda p: 1.0, lambda p: p.n),
    "jaguar_stochastic": Entrant("jaguar_stochastic", lambda p: {"n": N}, lambda p: 1.0),
    "zsfw_dvr": Entrant("zsfw_dvr", lambda p: {"n": N, "p": p.refresh}, lambda p: 1.0),
    "zsfw_dvr, p = 1/2": Entrant("zsfw_dvr", lambda p: {"n": N, "p": 0.5}, lambda p: 1.0),
    "zo_sgd, projected": Entrant(
        "zo_sgd", lambda p: {"n": N, "law": "normal", "schedule": "cosine"}, _normal
    ),
    "zo_spider_coord, projected": Entrant(
        "zo_spider_coord",
        lambda p: {"period": p.batch, "schedule": "constant"},
        lambda p: 1 / (4 * p.smooth),
    ),
    "zpdvr, projected": Entrant(
        "zpdvr", lambda p: {"p": p.refresh, "schedule": "constant"}, lambda p: 1 / (4 * p.d * p.smooth)
    ),
}


def _outside(cell: Mapping[str, Any]) -> str:
    most = max(ends(cell, "outside"))
    return f"{most:.0e}" if most else "0"


CONTEST = Contest(
    "frank_wolfe",
    __doc__.splitlines()[0],
    PROBLEMS,
    ENTRANTS,
    {"Frank-Wolfe gap": lambda cell: spread(ends(cell, "gap")), "outside": _outside},
    grid=(0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
    quick=(0.4, (0, 1), (0.1, 1.0)),
    base=[label for label in ENTRANTS if "projected" in label],
)


def section(found: Mapping[str, Any]) -> str:
    """What the page of black boxes says of it."""
    return CONTEST.section(
        found,
        '"projected": the same kinds of estimates with projected steps, which Frank-Wolfe does without.',
    )


if __name__ == "__main__":
    CONTEST.main()

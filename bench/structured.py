"""Saddle points, manifolds, games and problems in problems: how far from exact answers, by values alone.

    python -m bench.structured [--quick] [--only saddle,pca,...] [--save] [--json]

As `contest` has it: a budget of evaluations for all, step sizes from one grid, other seeds reported.  "on the whole": the
method asks the plain problem that knows nothing of the structure: f of the polar factor, F + 10 G.  "with gradients": told
slopes, a component gradient counted as d + 1 evaluations of that component.
What it is not: the problems (`structured_problems`), the frame (`contest`), the methods with gradients (`sliding`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

from bench import sliding
from bench.contest import Contest, Entrant, ends, spread
from bench.structured_problems import PROBLEMS, Problem

N = 8  # draws of an estimate, all methods
SADDLES, MANIFOLDS, GAMES, LEVELS = (
    ("saddle", "factors"),
    ("pca", "procrustes"),
    ("quadratic", "bilinear", "sum", "similar"),
    ("levels", "ridge"),
)
SUMS = ("sum", "similar")


def _mean(p: Problem) -> float:
    """The step that is best for the mean of N normals' slopes."""
    return N / (p.smooth * (p.d + N + 1))


def _single(p: Problem) -> float:
    return 1.0 / (p.smooth * (p.d + 2))


def _game(p: Problem) -> float:
    return N / (3 * p.smooth * (p.d / 2 + N + 1))


def _told_slopes(unit: Callable[[Any], float], walk: Callable[[Any, float, int], sliding.Walk]) -> Entrant:
    return Entrant("", lambda p: {}, unit, on=("similar",), walk=walk)


PLAIN, DRAWS = {"n": N, "schedule": "constant"}, {"nx": N, "ny": N}
ENTRANTS: dict[str, Entrant] = {
    "zo_ncf": Entrant("zo_ncf", lambda p: {}, lambda p: 1 / p.smooth, on=SADDLES),
    "zo_perturbed": Entrant("zo_perturbed", lambda p: {"n": N}, _mean, on=SADDLES),
    "mezo": Entrant("mezo", lambda p: PLAIN, _mean, on=SADDLES),
    "zo_sgd": Entrant("zo_sgd", lambda p: PLAIN, _mean, on=SADDLES),
    "fd_spectral": Entrant("fd_spectral", lambda p: {}, None, on=SADDLES),
    "zo_riemannian": Entrant("zo_riemannian", lambda p: PLAIN, _mean, on=MANIFOLDS),
    "zo_riemannian, n = 1": Entrant(
        "zo_riemannian", lambda p: {"schedule": "constant"}, _single, on=MANIFOLDS
    ),
    "zo_sgd, on the whole": Entrant("zo_sgd", lambda p: PLAIN, _mean, on=MANIFOLDS),
    "fd_spectral, on the whole": Entrant("fd_spectral", lambda p: {}, None, on=(*MANIFOLDS, *LEVELS)),
    "zo_gda": Entrant("zo_gda", lambda p: {**DRAWS, "ratio": 3.0}, _game, on=GAMES),
    "zo_gdmsa": Entrant("zo_gdmsa", lambda p: {**DRAWS, "ratio": 1.0}, _game, on=GAMES),
    "zo_extragradient": Entrant("zo_extragradient", lambda p: DRAWS, _game, on=GAMES),
    "zo_extragradient, whole sum": Entrant(
        "zo_extragradient", lambda p: DRAWS, _game, lambda p: p.n, on=SUMS
    ),
    "zo_vrgda": Entrant("zo_vrgda", lambda p: {**DRAWS, "ratio": 1.0}, _game, on=SUMS),
    "extragradient, with gradients": _told_slopes(
        lambda p: 1 / p.smooth, lambda p, lr, seed: sliding.extragradient(p.components, p.start(), lr)
    ),
    "svogs, with gradients": _told_slopes(
        lambda p: 1 / p.components.similarity,
        lambda p, lr, seed: sliding.svogs(p.components, p.start(), lr, seed=seed),
    ),
    "zo_bilevel": Entrant(
        "zo_bilevel", lambda p: {"n": N, "eps": 1e-3, "pace": 0.2, "ratio": p.smooth}, _mean, on=LEVELS
    ),
}


def _told(cell: Mapping[str, Any]) -> str:
    """Where the runs of a cell end, besides their error."""
    said = []
    for key, word in (("curvature", "least curvature"), ("below", "&#124;y - y*(x)&#124;")):
        if any(key in r for r in cell["runs"]):
            said.append(f"{word} {spread(ends(cell, key))}")
    if any("gradients" in r for r in cell["runs"]):
        said.append(f"{round(median(r['gradients'] for r in cell['runs'])):,} component gradients")
    diverged = sum(bool(r.get("diverged")) for r in cell["runs"])
    return "; ".join(said + [f"{diverged} diverged"] * bool(diverged))


CONTEST = Contest(
    "structured",
    __doc__.splitlines()[0],
    PROBLEMS,
    ENTRANTS,
    {"slope": lambda cell: spread(ends(cell, "gap")), "where": _told},
    grid=(0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
    quick=(0.2, (0, 1), (0.1, 1.0)),
    base=(
        "mezo",
        "zo_sgd",
        "fd_spectral",
        *(k for k in ENTRANTS if k.endswith((", on the whole", ", with gradients"))),
    ),
    asked="evaluations",
    measure="error",
    slope="slope",
)


def section(found: Mapping[str, Any]) -> str:
    """What the page of black boxes says of it."""
    return CONTEST.section(
        found,
        "The error is exact: the loss above the minimum; of games the squared distance to the saddle; of levels "
        'F(x, y*(x)) above its minimum. "on the whole": a method for plain space, asked f of the polar factor, or F + 10 G. '
        '"with gradients": told slopes, one component\'s gradient counted as d + 1 of its evaluations; svogs (2405.16126) '
        "asks one component many times, and of the others only how they differ from it.",
    )


if __name__ == "__main__":
    CONTEST.main()

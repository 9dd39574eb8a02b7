"""Methods that are plans: every question depends on all answers so far.  What `minimize` takes where nothing is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from ..coefficients import Decided
from ..directions import Coordinate
from ..method import Method
from ..plans import Land, Plan, Settings, Weights, descent, simplex, spectral
from ..probes import Planned
from ..rules import Descent
from ..sets import Set, from_plain, to_plain
from ..sets.regularizers import Penalty
from .card import MethodCard

Sides: TypeAlias = "list[list[float | None]] | None"


def fd_newton(*, bounds: Sequence[Sequence[float | None]] | None = None, budget: int | None = None) -> Method:
    """Quasi-Newton descent by differences along coordinates, coarse ones where the function has ripples.

        g_i = (f(x + r e_i) - f(x - r e_i)) / 2r,   x <- x - t H g,   H from past (s, y), r shrinking: implicit filtering
        smooth at the smallest scale?   forward differences and L-BFGS
        f a sum of functions of one number?   d searches of one number at once

    t is found by values alone.  In a box it begins again, at a uniform point, where nothing gets better.

    Args:
        bounds: (low, high) for each number, None where there is none: no point is asked outside.
        budget: evaluations in all, which say how long a sum is explored.

    Raises:
        ValueError: a setting outside its range.

    Cost: d + 2 evaluations a step or so, 2 (d + 2) coarse ones; memory: 60 vectors; journal: 8 bytes an evaluation and
    16 a number.

    Example:
        >>> fd_newton(bounds=[(0.0, 1.0)] * 4).arguments["bounds"][0]
        [0.0, 1.0]

    Reference: P. Gilmore, C. T. Kelley, An implicit filtering algorithm (SIAM J. Optim. 1995); D. C. Liu, J. Nocedal,
    On the limited memory BFGS method (1989); STEP: S. Langerman, G. Seront, H. Bersini (1994).
    """
    sides = _pairs(bounds)
    probe = Planned(partial(_plan, sides=sides, budget=budget))
    arguments = {"bounds": sides, "budget": budget}
    return Method("fd_newton", Coordinate(), probe, Decided(probe), Descent(), 1.0, 1.0, arguments=arguments)


def _plan(x: np.ndarray, key: int, *, sides: Sides, budget: int | None) -> Plan:
    return descent(x, Settings(*_box(x, sides), key, budget))


def _pairs(bounds: Sequence[Sequence[float | None]] | None) -> Sides:
    sides = None if bounds is None else [list(pair) for pair in bounds]
    if sides is not None and any(len(pair) != 2 for pair in sides):
        raise ValueError(f"bounds={bounds!r:.80}: give pairs (low, high), None where there is no bound")
    return sides


def _box(x: np.ndarray, sides: Sides) -> tuple[np.ndarray, np.ndarray]:
    if sides is None:
        sides = [[None, None]] * x.size
    if len(sides) != x.size:
        raise ValueError(
            f"bounds: {len(sides)} pairs for the {x.size} numbers of the parameters; give one each"
        )
    low = np.array([-np.inf if a is None else a for a, _ in sides], x.dtype)
    high = np.array([np.inf if b is None else b for _, b in sides], x.dtype)
    return low, high


def nelder_mead(
    *, size: float = 0.1, stale: int | None = None, adaptive: bool = True,
    bounds: Sequence[Sequence[float | None]] | None = None,
) -> Method:  # fmt: skip
    """Nelder and Mead's simplex: reflect the worst of d + 1 points through the others, farther or nearer as values say.

    For few numbers, rough functions, and functions that drift while they are searched, such as the score of a run that
    goes on (thresholds of constrained rewards, weights of losses): with `stale`, values that old are asked again.

    Args:
        size: of the first simplex: of each number, or of 1 where it is smaller.
        stale: evaluations after which a value is asked again; None: values last.  Some 2 (d + 1) do.  The simplex then
            stays above a tenth of its first size, and so does the error.
        adaptive: Gao and Han's weights for d numbers, not the plain 1, 2, 1/2, 1/2; the same for d = 2.
        bounds: (low, high) for each number, None where there is none: no point is asked outside.

    Raises:
        ValueError: a setting outside its range.

    Cost: d + 1 evaluations, then 1 or 2 a step, d + 2 where the simplex shrinks; memory: d + 1 vectors; journal: 8 bytes an
    evaluation and 16 a number.

    Example:
        >>> nelder_mead(stale=3).arguments["stale"]
        3

    Reference: J. A. Nelder, R. Mead (1965); F. Gao, L. Han (2012); its use for drifting objectives: arXiv 2310.04373.
    """
    if isinstance(size, bool) or not (isinstance(size, int | float) and 0 < size < float("inf")):
        raise ValueError(f"size={size!r} must be a positive finite number")
    if stale is not None and (isinstance(stale, bool) or not isinstance(stale, int) or stale < 1):
        raise ValueError(f"stale={stale!r} must be a whole number from 1, or None")
    sides = _pairs(bounds)
    probe = Planned(partial(_simplex, sides=sides, size=float(size), stale=stale, adaptive=bool(adaptive)))
    arguments = {"size": size, "stale": stale, "adaptive": adaptive, "bounds": sides}
    return Method(
        "nelder_mead", Coordinate(), probe, Decided(probe), Descent(), 1.0, 1.0, arguments=arguments
    )


def _simplex(
    x: np.ndarray, key: int, *, sides: Sides, size: float, stale: int | None, adaptive: bool
) -> Plan:
    return simplex(x, _box(x, sides), size, Weights.of(x.size) if adaptive else Weights(), stale)


def fd_spectral(
    *, set: Set | Mapping[str, Any] | None = None, penalty: Penalty | Mapping[str, Any] | None = None
) -> Method:
    """Spectral proximal gradients by differences along coordinates: in sets that project, under penalties.

        x <- P_a(x - a g),   a = s's / s'y of the last step, shorter where f + psi rises above its last ten values,
        g forward differences,   P_a the projection, or the penalty's proximal step

    It ends where no way is down.  Under noise: x <- P_{a/k}(x - a g / k).

    Args:
        set: of `zoptim.sets`, or its plain data; it must project.
        penalty: of `zoptim.sets`, or its plain data; either of the two.

    Raises:
        ValueError: a set without a projection; both.

    Cost: d + 2 evaluations a step or so, P_a for each but the sweep's; memory: 4 vectors; journal: 8 bytes an
    evaluation and 16 a number.

    Example:
        >>> from zoptim.sets import L2Ball
        >>> fd_spectral(set=L2Ball(1.0)).arguments["set"]["radius"]
        1.0

    Reference: E. G. Birgin, J. M. Martinez, M. Raydan, Nonmonotone spectral projected gradient methods on convex sets
    (SIAM J. Optim. 2000); S. J. Wright, R. D. Nowak, M. A. T. Figueiredo, Sparse reconstruction by separable
    approximation (2009).
    """
    if set is not None and penalty is not None:
        raise ValueError(
            "set and penalty: a proximal step of both is not at hand; give one, or add the penalty to f"
        )
    within: Set | None = from_plain(dict(set)) if isinstance(set, Mapping) else set
    paid: Penalty | None = from_plain(dict(penalty)) if isinstance(penalty, Mapping) else penalty
    if within is not None:
        within.require("project")
    probe = Planned(
        partial(_spectral, land=Land(partial(_step, within or paid), paid.value if paid else _nothing))
    )
    arguments = {"set": within and to_plain(within), "penalty": paid and to_plain(paid)}
    return Method(
        "fd_spectral", Coordinate(), probe, Decided(probe), Descent(), 1.0, 1.0, arguments=arguments
    )


def _spectral(x: np.ndarray, key: int, *, land: Land) -> Plan:
    return spectral(x, land, key)


def _step(on: Set | Penalty | None, y: np.ndarray, a: float) -> np.ndarray:
    return y if on is None else on.prox(y, a)


def _nothing(x: np.ndarray) -> float:
    return 0.0


CARDS = (
    MethodCard("fd_newton", fd_newton, "An Implicit Filtering Algorithm for Optimization of Functions with Many Local "
               "Minima (SIAM J. Optim. 5, 1995)", "",
               "d + 2", "60 vectors", "8 B an evaluation", "quasi-Newton by differences, coarse to fine"),
    MethodCard("fd_spectral", fd_spectral, "Nonmonotone Spectral Projected Gradient Methods on Convex Sets (SIAM J. Optim. 10, "
               "2000)", "",
               "d + 2", "4 vectors", "8 B an evaluation", "proximal gradients by differences, in a set or under a penalty"),
    MethodCard("nelder_mead", nelder_mead, "A simplex method for function minimization (Computer Journal 7, 1965)", "",
               "1 to d + 2", "d + 1 vectors", "8 B an evaluation", "the simplex, also where the function drifts"),
)  # fmt: skip

"""Methods that are plans: every question depends on all answers so far.  What `minimize` takes where nothing is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..coefficients import Decided
from ..directions import Coordinate
from ..engine import Method
from ..plans import Clip, Plan, Settings, descent, spectral
from ..probes import Planned
from ..rules import Descent
from ..sets import Set, from_plain, to_plain
from .card import MethodCard


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
    sides = None if bounds is None else [list(pair) for pair in bounds]
    if sides is not None and any(len(pair) != 2 for pair in sides):
        raise ValueError(f"bounds={bounds!r:.80}: give pairs (low, high), None where there is no bound")
    probe = Planned(partial(_plan, sides=sides, budget=budget))
    arguments = {"bounds": sides, "budget": budget}
    return Method("fd_newton", Coordinate(), probe, Decided(probe), Descent(), 1.0, 1.0, arguments=arguments)


def _plan(x: np.ndarray, key: int, *, sides: list[list[float | None]] | None, budget: int | None) -> Plan:
    if sides is None:
        sides = [[None, None]] * x.size
    if len(sides) != x.size:
        raise ValueError(
            f"bounds: {len(sides)} pairs for the {x.size} numbers of the parameters; give one each"
        )
    low = np.array([-np.inf if a is None else a for a, _ in sides], x.dtype)
    high = np.array([np.inf if b is None else b for _, b in sides], x.dtype)
    return descent(x, Settings(low, high, key, budget))


def fd_spectral(*, set: Set | Mapping[str, Any]) -> Method:
    """Spectral projected gradient descent by differences along coordinates: for sets that project.

        p = P(x - a g) - x,   x <- P(x + t p),   a = s's / s'y of the last step,   g forward differences

    It ends where no feasible way is down.  Under noise: x <- P(x - H g / k).

    Args:
        set: of `zoptim.sets`, or its plain data; it must project.

    Raises:
        ValueError: a set without a projection.

    Cost: d + 2 evaluations a step or so, a projection for each point of a line search; memory: 4 vectors; journal:
    8 bytes an evaluation and 16 a number.

    Example:
        >>> from zoptim.sets import L2Ball
        >>> fd_spectral(set=L2Ball(1.0)).arguments["set"]["radius"]
        1.0

    Reference: E. G. Birgin, J. M. Martinez, M. Raydan, Nonmonotone spectral projected gradient methods on convex sets
    (SIAM J. Optim. 2000), here with a monotone search.
    """
    within: Set = from_plain(dict(set)) if isinstance(set, Mapping) else set
    within.require("project")
    probe = Planned(partial(_within, project=within.project))
    return Method(
        "fd_spectral",
        Coordinate(),
        probe,
        Decided(probe),
        Descent(),
        1.0,
        1.0,
        arguments={"set": to_plain(within)},
    )


def _within(x: np.ndarray, key: int, *, project: Clip) -> Plan:
    return spectral(x, project, key)


CARDS = (
    MethodCard("fd_newton", fd_newton, "An Implicit Filtering Algorithm for Optimization of Functions with Many Local "
               "Minima (SIAM J. Optim. 5, 1995)", "",
               "d + 2", "60 vectors", "8 B an evaluation", "quasi-Newton by differences, coarse to fine"),
    MethodCard("fd_spectral", fd_spectral, "Nonmonotone Spectral Projected Gradient Methods on Convex Sets (SIAM J. Optim. 10, "
               "2000)", "",
               "d + 2", "4 vectors", "8 B an evaluation", "projected gradients by differences, inside a set"),
)  # fmt: skip

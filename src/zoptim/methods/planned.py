"""Methods that are plans: every question depends on all answers so far.  What `minimize` takes where nothing is named."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from ..coefficients import Decided
from ..directions import Coordinate
from ..engine import Method
from ..plans import Plan, Settings, descent
from ..probes import Planned
from ..rules import Descent
from .card import MethodCard, checked


def fd_newton(
    *, d: int, bounds: Sequence[Sequence[float | None]] | None = None, budget: int | None = None
) -> Method:
    """Quasi-Newton descent by differences along coordinates, coarse ones where the function has ripples.

        g_i = (f(x + r e_i) - f(x - r e_i)) / 2r,   x <- x - t H g,   H from past (s, y), r shrinking: implicit filtering
        smooth at the smallest scale?   forward differences and L-BFGS
        f a sum of functions of one number?   d searches of one number at once

    t is found by values alone.  In a box it begins again, at a uniform point, where nothing gets better.

    Args:
        d: numbers of the parameters.
        bounds: (low, high) for each, None for none: no point is asked outside; or nothing.
        budget: evaluations in all, which say how long a sum is explored.

    Raises:
        ValueError: a setting outside its range.

    Cost: d + 2 evaluations a step or so, 2 (d + 2) coarse ones; memory: 60 vectors; journal: 8 bytes an evaluation and
    16 a number.

    Example:
        >>> fd_newton(d=4).directions.__class__.__name__
        'Coordinate'

    Reference: P. Gilmore, C. T. Kelley, An implicit filtering algorithm (SIAM J. Optim. 1995); D. C. Liu, J. Nocedal,
    On the limited memory BFGS method (1989); STEP: S. Langerman, G. Seront, H. Bersini (1994).
    """
    checked(d=d)
    sides = [(None, None)] * d if bounds is None else [tuple(pair) for pair in bounds]
    if len(sides) != d or any(len(pair) != 2 for pair in sides):
        raise ValueError(f"bounds={bounds!r:.80}: give {d} pairs (low, high), None where there is no bound")
    low = np.array([-np.inf if a is None else a for a, _ in sides], np.float64)
    high = np.array([np.inf if b is None else b for _, b in sides], np.float64)
    probe = Planned(partial(_plan, low=low, high=high, budget=budget), d + 2.0)
    arguments = {"d": d, "bounds": None if bounds is None else [list(pair) for pair in sides], "budget": budget}
    return Method("fd_newton", Coordinate(), probe, Decided(probe), Descent(), 1.0, 1.0, arguments=arguments)


def _plan(x: np.ndarray, key: int, *, low: np.ndarray, high: np.ndarray, budget: int | None) -> Plan:
    if x.size != low.size:
        raise ValueError(f"d={low.size}: the parameters have {x.size} numbers")
    return descent(x, Settings(low.astype(x.dtype), high.astype(x.dtype), key, budget))


CARDS = (
    MethodCard("fd_newton", fd_newton, "An Implicit Filtering Algorithm for Optimization of Functions with Many Local "
               "Minima (SIAM J. Optim. 5, 1995)", "",
               "d + 2", "60 vectors", "8 B an evaluation", "quasi-Newton by differences, coarse to fine"),
)  # fmt: skip

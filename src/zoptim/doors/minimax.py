"""Two players in one call: `zoptim.minimax(f, x0, y0)` and `zoptim.bilevel(upper, lower, x0, y0)`.

    minimax   min over x of max over y of f(x, y)
    bilevel   min over x of upper(x, y*(x)),   y*(x) = argmin over y of lower(x, y)

The loop, the counting and the result are `minimize`'s; `Search(x0, method, y0=y0)` is asked and told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..method import Method
from ..probes import Levels
from .answers import caller
from .ground import GAMES, LEVELS, SHARED
from .minimize import searched
from .players import Players
from .results import Result
from .search import Search


def minimax(
    fun: Callable[..., Any], x0: Any, y0: Any, args: tuple[Any, ...] = (), method: str | Method = "auto", *, bounds: Any = None,
    constraints: Any = None, y_bounds: Any = None, y_constraints: Any = None, budget: int | None = None,
    callback: Callable[[Result], Any] | None = None, seed: int = 0, vectorized: bool = False, workers: Any = 1, n: int = 0,
    batch: int = 1, failures: str = "raise", output: str = "", settings: Mapping[str, Any] | None = None,
    journal: str | Path | None = None,
) -> Result:  # fmt: skip
    """A game by evaluations alone: x lowers f, y raises it.

    Args:
        fun: fun(x, y, *args), one number; x and y have x0's and y0's shape.
        x0, y0: the starts, of any shape, float32 or float64; they are not changed.
        args: further arguments of fun, a tuple or the only one.
        method: "zo_extragradient", "zo_gda", "zo_gdmsa", "zo_vrgda" (of a sum), a Method of theirs, or "auto": the first, with
            up to 8 draws.
        bounds, constraints, y_bounds, y_constraints: as of `minimize`, for each player: no point is asked outside.
        budget: evaluations in all, never exceeded; None: 100 (d + 1), d numbers in both.
        callback: called after every step with the result so far; True, or StopIteration raised, ends the search.
        seed: the same seed, the same points.
        vectorized: fun takes (m, *shape) points of each and returns (m,).
        workers: processes, a map, or an executor that evaluate the points of a round.
        n: fun is a finite sum of n components, asked as fun(x, y, i, *args) on components i (b,): their mean, or (b,).
        batch: components a point is asked on, each counted.
        failures: "raise" where fun raises or is not finite; "skip" the step.
        output: the "last" iterate, the "average" of iterates, or a "random" one.
        settings: of the named method, e.g. {"lr": 0.1, "ratio": 2.0}: its lr is not looked for.
        journal: a new file to keep the steps in; None: in memory.

    Returns:
        x, y, fun (f there), nfev, nit, success, status (1 budget spent, 2 ended by callback, 3 by Ctrl-C), message, trace.

    Raises:
        TypeError, ValueError: an argument, or an answer of fun, that is none of these.

    Cost: as of `minimize`; a step asks 2 draws' worth of points or more, see the method.

    Example:
        >>> found = minimax(lambda x, y: float(x[0] * y[0]), [1.0], [1.0], budget=2000, settings={"lr": 0.2})
        >>> bool(abs(found.x[0]) + abs(found.y[0]) < 0.02)
        True

    Reference: arXiv 2001.07819.
    """
    search = Search(
        x0, method, bounds=bounds, constraints=constraints, y0=y0, y_bounds=y_bounds, y_constraints=y_constraints,
        budget=_budget(budget, x0, y0), seed=seed, n=n, batch=batch, failures=failures, output=output, settings=settings, journal=journal,
    )  # fmt: skip
    _fits(search, "minimax", GAMES)
    ask = caller(
        _Apart((fun,), search.ground), args, vectorized=vectorized, workers=workers, failures=failures
    )
    return searched(ask, callback, search)


def bilevel(
    upper: Callable[..., Any], lower: Callable[..., Any], x0: Any, y0: Any, args: tuple[Any, ...] = (),
    method: str | Method = "auto", *, bounds: Any = None, constraints: Any = None, y_bounds: Any = None, y_constraints: Any = None,
    budget: int | None = None, callback: Callable[[Result], Any] | None = None, seed: int = 0, vectorized: bool = False,
    workers: Any = 1, failures: str = "raise", output: str = "", settings: Mapping[str, Any] | None = None,
    journal: str | Path | None = None,
) -> Result:  # fmt: skip
    """A problem in a problem, by evaluations of both functions alone.

    Args:
        upper, lower: F(x, y, *args), lowered by x at the y that lowers G(x, y, *args).
        x0, y0: the starts.
        args: further arguments of both, a tuple or the only one.
        method: "zo_bilevel", a Method made by it, or "auto": that with up to 8 draws a step.
        bounds, constraints, y_bounds, y_constraints: as of `minimize`, for each: no point is asked outside.
        budget: evaluations of both together, never exceeded; None: 100 (d + 1), d numbers in both.
        callback, seed, vectorized, workers, failures, output, settings, journal: as of `minimax`.

    Returns:
        x, y, fun (F there), nfev (of both), nit (of all three kinds), success, status, message, trace (of F alone).

    Raises:
        TypeError, ValueError: an argument, or an answer of either function, that is none of these.

    Cost: as of `minimize`, and one vector.

    Example:
        >>> F = lambda x, y: float((y[0] - 1.0) ** 2)
        >>> G = lambda x, y: float((y[0] - 2.0 * x[0]) ** 2)
        >>> found = bilevel(F, G, [0.0], [0.0], budget=20_000, settings={"pace": 0.03})
        >>> bool(abs(found.x[0] - 0.5) < 0.05)
        True

    Reference: arXiv 2404.00158.
    """
    if isinstance(method, str) and method == "auto":
        method, settings = "zo_bilevel", {"n": max(1, min(SHARED, np.size(y0))), **(settings or {})}
    search = Search(
        x0, method, bounds=bounds, constraints=constraints,
        y0=y0, y_bounds=y_bounds, y_constraints=y_constraints, budget=_budget(budget, x0, y0), seed=seed, failures=failures, output=output,
        settings=settings, journal=journal,
    )  # fmt: skip
    _fits(search, "bilevel", LEVELS)
    ask = caller(
        _Apart((upper, lower), search.ground),
        args,
        vectorized=vectorized,
        workers=workers,
        failures=failures,
    )
    return searched(ask, callback, search)


def _budget(budget: int | None, x0: Any, y0: Any) -> int:
    if y0 is None:
        raise TypeError("y0=None: give the start of the second player; one alone is zoptim.minimize(f, x0)")
    return 100 * (np.size(x0) + np.size(y0) + 1) if budget is None else budget


def _fits(search: Search, door: str, names: frozenset[str]) -> None:
    method = search.talk.method
    if isinstance(method.probe, Levels) != (names is LEVELS):
        raise ValueError(f"method={method.name!r}: {door} is for {', '.join(sorted(names))}")


class _Apart:
    """Functions of x and y as one of both in a row, (d,) or (m, d); an object, so that a pool can pickle it.

    Args:
        funs: one, or two of which the first component asked says which.
    """

    def __init__(self, funs: tuple[Callable[..., Any], ...], ground: Any) -> None:
        for fun in funs:
            if not callable(fun):
                raise TypeError(f"fun={fun!r:.60}: give a function of x and y")
        assert isinstance(ground, Players)
        self.funs, self.ground = funs, ground

    def __call__(self, p: np.ndarray, *rest: Any) -> Any:
        if len(self.funs) == 1:
            return self.funs[0](*self.ground.split(p), *rest)
        return self.funs[int(rest[0][0])](*self.ground.split(p), *rest[1:])

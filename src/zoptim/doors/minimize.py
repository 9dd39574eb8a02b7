"""`zoptim.minimize(fun, x0)`: a function and no gradient, from two variables to millions.

A loop over `search.Search`, with a function to call.  Result fields are SciPy's.  numpy alone is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..method import Method
from ..protocols import Manifold
from .account import whole_number
from .answers import caller
from .lagrangian import Lagrangian, solve
from .problem import start
from .programs import DENSE, RESTLESS, Programs
from .queried import Told, parted
from .results import STOPPED, Result, interrupted
from .search import Search


def minimize(
    fun: Callable[..., Any], x0: Any, args: tuple[Any, ...] = (), method: str | Method = "auto", *, bounds: Any = None,
    constraints: Any = None, penalty: Any = None, budget: int | None = None, callback: Callable[[Result], Any] | None = None, seed: int = 0,
    vectorized: bool = False, workers: Any = 1, n: int = 0, batch: int = 1, failures: str = "raise",
    output: str = "", settings: Mapping[str, Any] | None = None, journal: str | Path | None = None,
    target: float | None = None, tol: float | None = None, manifold: Manifold | None = None,
) -> Result:  # fmt: skip
    """Minimize a function by evaluations alone.

    Args:
        fun: fun(x, *args), one number, lower is better; x has x0's shape, one number alone (1,).
        x0: the start, of any shape, float32 or float64; it is not changed.
        args: further arguments of fun, a tuple or the only one.
        method: a name of the shelf, a Method, or "auto".
        bounds: SciPy's Bounds, pairs (low, high), or one pair for all; no point is asked outside.
        constraints: a set of `zoptim.sets`, SciPy's LinearConstraint, or a list of them: no point is asked outside; and
            SciPy's NonlinearConstraint or dicts, which only queries tell: the best feasible point is returned.
        penalty: of `zoptim.sets`, such as L1(0.1): fun + penalty is minimized, by proximal steps, and is what is reported.
        budget: evaluations in all, never exceeded; None: 100 (d + 1).
        callback: called after every step with the result so far; True, or StopIteration raised, ends the search.
        seed: the same seed, the same points.
        vectorized: fun takes (m, *shape) points and returns (m,).
        workers: processes, a map, or an executor that evaluate the points of a round.
        n: fun is a finite sum of n components, asked as fun(x, i, *args) on components i (b,): their mean, or (b,).
        batch: components a point is asked on, each counted.
        failures: "raise" where fun raises or is not finite; "skip" the step; "penalize" the point.
        output: "best" of the points asked (not of a sum), the "last" iterate (of a sum), their "average", or a
            "random" one.
        settings: of the named method, e.g. {"lr": 0.1, "eps": 1e-4, "n": 4}.
        journal: a new file to keep the steps in; None: in memory.
        target: end at a value this low.
        tol: end where the best value fell by no more than tol * max(1, |best|) within 100 + 10 d evaluations.
        manifold: of `zoptim.manifolds`, such as Sphere(): x0 and every point asked lie on it.

    Returns:
        x, fun, nfev, nit, success, status (0 target reached or nothing more to ask, 1 budget spent, 2 ended by callback,
        3 by Ctrl-C: what is known then, success False), message, trace.

    Raises:
        TypeError, ValueError: an argument, or an answer of fun, that is none of these.

    Cost: nothing but numpy; a step's directions are regenerated, so d numbers a point are all the memory.

    Example:
        >>> result = minimize(lambda x: ((x - 1) ** 2).sum(), [0.0, 0.0], method="mezo", budget=200)
        >>> result.fun < 1e-3, result.nfev
        (True, 200)
    """
    if callback is not None and not callable(callback):
        raise TypeError(f"callback={callback!r:.60}: give a function of the result so far")
    ask = caller(fun, args, vectorized=vectorized, workers=workers, failures=failures)
    kept, queried = parted(constraints)
    budget = 100 * (start(x0).size + 1) if budget is None else budget

    def made(x: Any, share: int | None) -> Search:
        return Search(
            x, method, bounds=bounds, constraints=kept, penalty=penalty, budget=share, seed=seed, n=n, batch=batch,
            failures=failures, output=output, settings=settings, journal=journal, target=target, tol=tol, manifold=manifold,
        )  # fmt: skip

    if not queried:
        return searched(ask, callback, made(x0, budget))
    beside = {
        "n": n or None,
        "penalty": penalty,
        "journal": journal,
        "target": target,
        "output": output or None,
        "manifold": manifold,
    }
    for name, given in beside.items():
        if given is not None:
            raise ValueError(
                f"{name}={given!r:.40}: not beside constraints that only queries tell; leave it out"
            )
    x, budget = start(x0), whole_number("budget", budget, 1)
    least = 8 * (x.size + 2)
    if budget < least:
        raise ValueError(
            f"budget={budget} is too small for constraints that only queries tell: give {least} or more"
        )
    made(x, budget)  # refuses what is wrong
    told, before = Told(ask, queried, failures != "raise"), None
    if method == "auto" and not settings and not kept and x.size <= DENSE:
        before = Programs(told, x, bounds, failures)
        found = before.run(budget, lambda result: callback is not None and _ends(callback, result))
        if found.status != 1 or budget - found.nfev < least:
            return found
        x = before.x
    lagrangian = Lagrangian(told)
    found = solve(
        lagrangian, lambda x, share: searched(lagrangian, callback, made(x, share)), x, budget, least
    )
    if before is not None:
        found.update(nit=found.nit + before.steps, message=f"{found.message}; {RESTLESS}")
    return found


def searched(ask: Callable[..., Any], callback: Callable[[Result], Any] | None, search: Search) -> Result:
    """The loop itself; Ctrl-C ends it with the result so far."""
    try:
        while not search.done:
            before = 0 if callback is None else search.steps
            search.tell(ask(search.ask(), search.components))
            if callback is not None and search.steps > before and _ends(callback, search.result()):
                search.stop("ended by the callback")
                callback = None
    except KeyboardInterrupt:
        search.stop(STOPPED)
        return interrupted(search.result())
    except Exception:
        if search.talk.run is not None:
            search.talk.run.journal.close()  # what was done can be opened at once
        raise
    return search.result()


def _ends(callback: Callable[[Result], Any], result: Result) -> bool:
    try:
        return bool(callback(result))
    except StopIteration:
        return True

"""A shelf method as SciPy's: `scipy.optimize.minimize(fun, x0, method=zoptim.scipy("mezo"))`.

Not here: the search (`minimize`); scipy is imported when the method is called, by whoever calls it through SciPy.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from ..method import Method
from .minimize import minimize
from .results import Result


def scipy(
    method: str | Method = "auto", *, budget: int | None = None, seed: int = 0, failures: str = "raise",
    settings: Mapping[str, Any] | None = None,
) -> Callable[..., Any]:  # fmt: skip
    """What `scipy.optimize.minimize` takes as `method`; its bounds, constraints, tol, callback and options["maxfev"] are heard.

    Args:
        method: a name of the shelf, a Method, or "auto".
        budget: evaluations in all, unless options={"maxfev": ...} says; None: 100 (d + 1).
        seed: of the directions.
        failures, settings: as in `zoptim.minimize`.

    Example:
        >>> from scipy.optimize import minimize
        >>> found = minimize(lambda x: x @ x, [1.0, 2.0], method=scipy("mezo", budget=200))
        >>> type(found).__name__, bool(found.fun < 1e-3)
        ('OptimizeResult', True)
    """

    def run(
        fun: Callable[..., Any], x0: Any, args: tuple[Any, ...] = (), *, bounds: Any = None, constraints: Any = (),
        callback: Callable[..., Any] | None = None, tol: float | None = None, maxfev: int | None = None,
        jac: Any = None, hess: Any = None, hessp: Any = None, **other: Any,
    ) -> Any:  # fmt: skip
        from scipy.optimize import OptimizeResult  # type: ignore[import-untyped, unused-ignore]

        if jac is not None or hess is not None or hessp is not None:
            warnings.warn(
                "zoptim does not use gradient information (jac, hess)", RuntimeWarning, stacklevel=3
            )
        if other:  # SciPy hands a method all options by their names
            raise TypeError(
                f"options: {', '.join(other)} is not heard; give maxfev alone, evaluations in all"
            )
        found = minimize(
            fun, x0, args, method, bounds=bounds, constraints=constraints, budget=budget if maxfev is None else maxfev, seed=seed, failures=failures, tol=tol,
            settings=settings, callback=None if callback is None else _heard(callback, OptimizeResult),
        )  # fmt: skip
        return OptimizeResult(found)

    return run


def _heard(callback: Callable[..., Any], result_type: type) -> Callable[[Result], Any]:
    """SciPy's two callbacks: of intermediate_result by that name, else of x."""
    if set(inspect.signature(callback).parameters) == {"intermediate_result"}:
        return lambda result: callback(intermediate_result=result_type(result))
    return lambda result: callback(result.x)

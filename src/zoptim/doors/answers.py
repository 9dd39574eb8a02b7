"""A user's function, asked at points: what it may return, what is wrong with what it returned, and who calls it.

    fun(x)       one number                               fun(X), vectorized: (m,) for X (m, ...)
    fun(x, i)    on components i (b,) of a finite sum: their mean, or (b,) numbers

Not here: what a failed evaluation does to a step (`search`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..method import Method
from ..processes import spread

FAILURES = ("raise", "skip", "penalize")


def number(answer: Any, where: str = "the objective") -> float:
    """One answer as a float, perhaps not finite.

    Raises:
        TypeError: None, text, complex numbers, or no number.
        ValueError: several numbers.

    Example:
        >>> number([2.0])
        2.0
    """
    if isinstance(answer, float):  # numpy's, too
        return float(answer)
    if answer is None:
        raise TypeError(f"{where} returned None: return the value, a number")
    try:
        value = np.asarray(answer)
    except (TypeError, ValueError):
        raise TypeError(f"{where} returned {answer!r:.60}: return one number") from None
    if value.dtype.kind == "c":
        raise TypeError(
            f"{where} returned the complex {answer!r:.60}: return a real number, e.g. its modulus"
        )
    if value.dtype.kind not in "fiub":
        raise TypeError(f"{where} returned {answer!r:.60} ({type(answer).__name__}): return one number")
    if value.size != 1:
        raise ValueError(f"{where} returned shape {value.shape}: return one number, lower is better")
    return float(value.reshape(()))


def mean(answer: Any, b: int, where: str) -> float:
    """An answer on b components: their mean, given as such or as (b,) numbers."""
    if np.ndim(answer) == 1 and len(answer) == b > 1:
        return (
            float(np.mean([number(a, where) for a in answer]))
            if np.asarray(answer).dtype.kind not in "fiu"
            else float(np.mean(answer, dtype=np.float64))
        )
    if np.size(answer) != 1:
        raise ValueError(
            f"{where} returned shape {np.shape(answer)} for {b} components: return their mean, or ({b},) numbers"
        )
    return number(answer, where)


def column(answer: Any, m: int, where: str = "the objective") -> np.ndarray:
    """A vectorized function's answers, (m,) float64."""
    shape = np.shape(answer)
    if shape not in ((m,), (m, 1)):
        raise ValueError(f"{where} returned shape {shape} for {m} points: return ({m},), one number a point")
    values = np.asarray(answer)
    if values.dtype.kind in "fiu":
        return values.reshape(m).astype(np.float64)
    return np.array([number(a, where) for a in values.reshape(m)])


def further(args: Any) -> tuple[Any, ...]:
    """Further arguments of a function as SciPy takes them: a tuple, or the only one.

    Raises:
        TypeError: a method, which in SciPy, too, comes after them.
    """
    if isinstance(args, str | Method):
        raise TypeError(
            f"args={args!r:.60}: further arguments of fun go here; name a method as method={args!r:.60}"
        )
    return args if isinstance(args, tuple) else (args,)


def caller(
    fun: Callable[..., Any], args: Any, *, vectorized: bool, workers: Any, failures: str
) -> Callable[[np.ndarray, Sequence[np.ndarray] | None], np.ndarray]:
    """A function of points (m, ...) and their components that answers (m,), NaN where `fun` raised and may.

    Raises:
        ValueError: no such policy or workers, or workers for a vectorized function.
    """
    if not callable(fun):
        raise TypeError(f"fun={fun!r}: give a function of x")
    if failures not in FAILURES:
        raise ValueError(f"failures={failures!r} must be one of {', '.join(FAILURES)}")
    forks = isinstance(workers, int) and not isinstance(workers, bool)
    run = getattr(workers, "map", workers)  # an executor's map, or a map
    if (forks and workers < 1) or not (forks or callable(run)):
        raise ValueError(f"workers={workers!r}: give a number of processes from 1, a map, or an executor")
    if vectorized and not (forks and workers == 1):
        raise ValueError("vectorized=True: one call answers for all points, so leave workers at 1")
    once = _Once(fun, further(args), failures != "raise")

    def ask(x: np.ndarray, components: Sequence[np.ndarray] | None) -> np.ndarray:
        if vectorized:
            return once.together(x, components)
        if forks and workers == 1 and components is None:
            return np.array([once.at(row) for row in x])
        jobs = [(row, None) for row in x] if components is None else list(zip(x, components, strict=True))
        if forks and workers == 1:
            return np.array([once(job) for job in jobs])
        if forks:
            return np.array(spread(once, jobs, workers))
        return np.array(list(run(once, jobs)))

    return ask


class _Once:
    """One evaluation; an object, so that a pool can pickle it."""

    def __init__(self, fun: Callable[..., Any], args: tuple[Any, ...], forgive: bool) -> None:
        self.fun, self.args, self.forgive = fun, args, forgive

    def __call__(self, job: tuple[np.ndarray, np.ndarray | None]) -> float:
        x, i = job
        if i is None:
            return self.at(x)
        try:
            answer = self.fun(x, i, *self.args)
        except Exception as error:
            return self._forgiven(error)
        return mean(answer, len(i), "the objective")

    def at(self, x: np.ndarray) -> float:
        """The function itself."""
        try:
            answer = self.fun(x, *self.args)
        except Exception as error:
            return self._forgiven(error)
        return answer if type(answer) is float else number(answer)

    def together(self, x: np.ndarray, components: Sequence[np.ndarray] | None) -> np.ndarray:
        try:
            if components is None:
                return column(self._ask(x), len(x))
            if any(len(i) != len(components[0]) or (i != components[0]).any() for i in components):
                return np.concatenate(
                    [column(self._ask(x[p : p + 1], i), 1) for p, i in enumerate(components)]
                )
            return column(self._ask(x, components[0]), len(x))
        except _Raised as error:
            self._forgiven(error.args[0])
            return np.full(len(x), np.nan)

    def _ask(self, *point: Any) -> Any:
        try:
            return self.fun(*point, *self.args)
        except Exception as error:
            raise _Raised(error) from error

    def _forgiven(self, error: Exception) -> float:
        if not self.forgive:
            error.add_note(
                "zoptim: the objective raised; failures='skip' or 'penalize' goes on without that point"
            )
            raise error
        return float("nan")


class _Raised(Exception):
    """What a vectorized function raised."""


def as_told(values: Any, m: int) -> np.ndarray:
    """Values as told, (m,) float64, NaN for None."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiu" and values.shape == (m,):
        return values.astype(np.float64)
    ordered = hasattr(values, "__len__") and not isinstance(values, str | set | frozenset | Mapping)
    single = isinstance(values, np.ndarray) and values.ndim == 0
    count = len(values) if ordered and not single else None
    if count != m:
        said = f"no list of {m} values" if count is None else f"{count} values"
        raise ValueError(f"tell: {said} for {m} points; give one value each, NaN where it failed")
    return np.array([math.nan if v is None else number(v, "tell: an evaluation") for v in values])

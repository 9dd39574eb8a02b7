"""Where a search may ask, and what it pays for being there: bounds, sets, linear constraints, a penalty.

    points     every point asked is moved to the nearest one of the region
    steps      the rule's step, then the nearest point of the region less the probes' reach, where it has room for that
               (in the rule's own metric where both offer it); with a penalty, a proximal step

Not here: the sets (`zoptim.sets`), constraints that only queries tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..method import Method
from ..protocols import Rule, Starts
from ..radii import radius, scale_of
from ..rules import Descent, Projected, ProjectedInMetric, Proximal
from ..sets import Affine, Box, HalfSpace, Intersection, Set, from_plain, to_plain
from ..sets.regularizers import Penalty
from .problem import Bounds

REACH = 4.4  # the largest normal the stream has; signs reach 1
MARGIN = 4.0  # steps of a forward difference
SEEN = 40  # characters of a value in an error


@dataclass(frozen=True, eq=False)
class Region:
    """Any of: bounds; a set, within the bounds too; a penalty."""

    bounds: Bounds | None = None
    set: Set | None = None
    penalty: Penalty | None = None

    @classmethod
    def of(cls, bounds: Any, constraints: Any, penalty: Any, x: np.ndarray) -> Region:
        """From what `minimize` was given.

        Raises:
            TypeError, ValueError: neither sets nor linear; several that do not all project; x outside; a penalty beside any.
        """
        box = None if bounds is None else Bounds.of(bounds, x)
        sets = _sets(constraints, x.size)
        for one in sets:
            if one.size not in (None, x.size):
                raise ValueError(
                    f"constraints: {type(one).__name__} has points of {one.size} numbers, x0 has {x.size}"
                )
            if not one.contains(x.ravel()):
                where = "set.project(x0)" if "project" in one.offers else "set.lmo(x0)"
                raise ValueError(
                    f"x0 lies outside {type(one).__name__} of the constraints: start inside, e.g. at {where}"
                )
        if penalty is not None and not isinstance(penalty, Penalty):
            hint = "; a set is given as constraints=" if isinstance(penalty, Set) else ""
            raise TypeError(f"penalty={penalty!r:.{SEEN}}: give one of zoptim.sets, such as L1(0.1){hint}")
        if penalty is not None and (sets or box):
            raise ValueError(
                "penalty: its proximal step knows no bounds or constraints; give it alone, or add it to fun"
            )
        if sets and box:
            sets = [Box(box.low, box.high), *sets]
        if len(sets) > 1:
            for one in sets:
                one.require("project")
        whole = None if not sets else sets[0] if len(sets) == 1 else Intersection(tuple(sets))
        if len(sets) > 1 and whole is not None:
            whole.project(x.ravel())  # they meet, or this says so
        return cls(box, whole, penalty)

    @property
    def free(self) -> bool:
        """Whether steps come to rest by themselves, as far as this goes."""
        return self.bounds is None and self.set is None and self.penalty is None

    def holds(self, x: np.ndarray) -> bool:
        """Whether x (d,) is in the region."""
        b = self.bounds
        inside = b is None or bool(((b.low <= x) & (x <= b.high)).all())
        return inside and (self.set is None or bool(self.set.contains(x)))

    def clip(self, x: np.ndarray) -> np.ndarray:
        """The nearest points of the region to x (m, d), in place."""
        if self.set is not None and "project" in self.set.offers:
            for row in x:
                if self.set.excess(row) > 0.0:
                    row[:] = self.set.project(row)
        return x if self.bounds is None else self.bounds.clip(x)

    def lands(self, x: np.ndarray, budget: int | None = None) -> dict[str, Any]:
        """What methods may be told at a start x (d,), by their settings' names; None where there is none.

        The set, or the box where there is no other, less a margin in which the smallest differences stay.
        """
        margin = MARGIN * radius(x.dtype, scale_of(x), "one")
        bounds = None if self.bounds is None else self.bounds.pairs()
        return {
            "d": x.size, "budget": budget, "bounds": bounds, "set": self._within(margin, x.size), "penalty": self.penalty,
        }  # fmt: skip

    def _within(self, distance: float, d: int) -> Set | None:
        """Where to hold x so that probes of that length stay in the region, where it has room for that."""
        if self.set is not None:
            return _inner(self.set, distance, d)
        if self.bounds is None:
            return None
        box = self.bounds.inner(distance)
        return Box(box.low, box.high)

    def value(self, x: np.ndarray) -> float:
        """What is paid at x."""
        return 0.0 if self.penalty is None else self.penalty.value(x)

    def hold(self, method: Method, x: np.ndarray) -> Method:
        """The method with steps that stay in the region or pay for where they lead; x (d,), its start, moved inside.

        Raises:
            ValueError: the method has no place for it.
        """
        told = method.arguments
        if isinstance(method.probe, Starts) or told.get("set"):  # it sees to what it was told by itself
            given = (("constraints", self.set, ("set",)), ("bounds", self.bounds, ("bounds", "set")),
                     ("penalty", self.penalty, ("penalty",)))  # fmt: skip
            for name, held, settings in given:
                if held is not None and not any(told.get(key) for key in settings):
                    raise ValueError(
                        f"method={method.name}: it was not told of {name}; name a method of steps, such as zo_sgd or mezo, "
                        "or leave the choice to method='auto'"
                    )
            self.clip(x[None])  # by rounding, a start may lie outside
            return method
        if getattr(method.rule, "bends", False) and not self.free:
            raise ValueError(
                f"method={method.name}: its steps are of another geometry than projections, and keep to a Simplex or to "
                "nothing; name another, such as zo_sgd, or leave the method out"
            )
        if self.set is not None:
            self.set.require("project")
        if self.penalty is not None:
            if not (isinstance(method.rule, Descent) and method.rule.weight_decay == 0.0):
                raise ValueError(
                    f"method={method.name}: it moves by {type(method.rule).__name__}, and a penalty needs plain descent, "
                    "as of mezo, zo_sgd or zpdvr"
                )
            return replace(method, rule=Proximal(self.penalty))
        reach = 1.0 if getattr(method.directions, "law", "normal") == "signs" else REACH
        inner = self._within(reach * method.eps, x.size)
        if inner is None:
            return method
        x[:] = inner.project(x)
        return replace(method, rule=_projected(method.rule, inner))

    # -- as plain data ---------------------------------------------------------------------------------

    def plain(self) -> dict[str, Any]:
        """For a state."""
        return {
            "bounds": None if self.bounds is None else self.bounds.pairs(),
            "set": None if self.set is None else to_plain(self.set),
            "penalty": None if self.penalty is None else to_plain(self.penalty),
        }

    @staticmethod
    def arguments(data: Mapping[str, Any]) -> dict[str, Any]:
        """What a search was given, from `plain`."""
        made = {name: None if data[name] is None else from_plain(data[name]) for name in ("set", "penalty")}
        return {"bounds": data["bounds"], "constraints": made["set"], "penalty": made["penalty"]}


def _projected(rule: Rule, inner: Set) -> Rule:
    measured = hasattr(rule, "metric") and "metric" in inner.offers
    return ProjectedInMetric(rule, inner) if measured else Projected(rule, inner)  # type: ignore[arg-type]


def _inner(of: Set, distance: float, d: int) -> Set:
    """Where to hold x so that probes stay inside; the set itself where it has no room for that."""
    if "inner" not in of.offers:
        return of
    try:
        inner = of.inner(distance, d)
        inner.project(np.zeros(d))  # an intersection may turn out empty
    except ValueError:
        return of
    return inner


def _sets(given: Any, d: int) -> list[Set]:
    """Sets of what `constraints` may be: a set, SciPy's LinearConstraint or Bounds, or several."""
    if given is None:
        return []
    if isinstance(given, Set):
        return [given]
    if isinstance(given, Penalty):
        raise TypeError(f"constraints={given!r:.{SEEN}} is a penalty: give it as penalty=")
    if hasattr(given, "A") and hasattr(given, "lb") and hasattr(given, "ub"):
        a = given.A.toarray() if hasattr(given.A, "toarray") else given.A  # SciPy's sparse ones
        return _linear(np.atleast_2d(np.asarray(a, np.float64)), given.lb, given.ub, d)
    if hasattr(given, "lb") and hasattr(given, "ub") and not hasattr(given, "fun"):
        low, high = (np.broadcast_to(np.asarray(side, np.float64), d) for side in (given.lb, given.ub))
        return [Box(low, high)]
    if callable(given) or hasattr(given, "fun") or isinstance(given, Mapping):
        raise ValueError(
            "constraints: what only queries tell is given to `minimize`, as SciPy's NonlinearConstraint or "
            "{'type': 'ineq', 'fun': g} (g >= 0); else give a set of zoptim.sets or linear constraints"
        )
    if isinstance(given, Sequence) and not isinstance(given, str):
        return [one for part in given for one in _sets(part, d)]
    raise TypeError(
        f"constraints={given!r:.{SEEN}}: give a set of zoptim.sets, SciPy's LinearConstraint, or a list of them"
    )


def _linear(a: np.ndarray, lb: Any, ub: Any, d: int) -> list[Set]:
    """lb <= A x <= ub: equations in one set, half-spaces for the rest."""
    if a.ndim != 2 or a.shape[1] != d:
        raise ValueError(f"constraints: A has shape {a.shape}; give (k, {d}), a column for each number of x0")
    low, high = (np.broadcast_to(np.asarray(side, np.float64), len(a)) for side in (lb, ub))
    if not (low <= high).all():
        raise ValueError(f"constraints: lb={lb} is not below ub={ub}: give lb <= A x <= ub")
    if not a.any(axis=1).all():
        raise ValueError("constraints: a row of A is 0, which says nothing of x; leave it out")
    equal = low == high
    found: list[Set] = [Affine(a[equal], low[equal])] if equal.any() else []
    for row, below, above in zip(a[~equal], low[~equal], high[~equal], strict=True):
        found += [HalfSpace(row, float(above))] if np.isfinite(above) else []
        found += [HalfSpace(-row, float(-below))] if np.isfinite(below) else []
    return found

"""Contests of methods on finite sums: the same budget of component queries for all, each with its best of one grid of steps.

    problem    f = mean of n components, on a set or under a penalty, from x = 0; losses are computed aside
    entrant    a method, its settings and the step size its paper would take, the unit of the grid
    cell       (problem, entrant): tuned by the last value on a seed that is not reported, then run on those that are

With --save a cell is written when it is done, and a killed run goes on where it stopped.  What it is not: the contests
(`frank_wolfe`, `sums`), the drawing (`contest_figure`).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from bench import common, contest_figure
from bench.sections import grid
from zoptim.doors.search import Search

Array = np.ndarray[Any, np.dtype[np.float64]]
POINTS = 24  # of a curve
FAR = 1e3  # times the loss at the start: diverged


class Now(NamedTuple):
    """A moment of a run."""

    spent: int  # queries
    steps: int
    place: Callable[[], Array]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """f = mean of n components, from x = 0.

    Args:
        values: (m, d) points and (b,) components to (m, b) values.
        slope: (d,) to the gradient of f.
        smooth: about the largest curvature of f, the unit of step sizes.
        budget: component queries of a run.
        best: the least loss where f is convex, and the bound with which it is certified; NaN where it is not known.
    """

    name: str
    n: int
    d: int
    values: Callable[[Array, np.ndarray[Any, Any]], Array]
    slope: Callable[[Array], Array]
    smooth: float
    budget: int
    best: float = math.nan
    certified: float = math.nan

    def loss(self, x: Array) -> float:
        """What is minimized, uncounted."""
        return float(self.values(x[None], np.arange(self.n)).mean())

    def gap(self, x: Array) -> float:
        """A bound on what x lacks, from slopes, uncounted."""
        raise NotImplementedError

    def where(self) -> Mapping[str, Any]:
        """`constraints` or `penalty`, as a search takes them."""
        raise NotImplementedError

    def seen(self, x: Array) -> Mapping[str, float]:
        """What is said of where a run ended, besides its loss and gap."""
        raise NotImplementedError

    def start(self) -> Array:
        """(d,) where all begin."""
        return np.zeros(self.d)

    def search(self, entrant: Entrant, settings: Mapping[str, Any], budget: int, seed: int) -> Search:
        """A run that asks nothing yet."""
        return Search(
            self.start(), entrant.method, **self.where(), budget=budget, seed=seed, n=self.n, batch=entrant.batch(self),
            failures="skip", settings=settings,
        )  # fmt: skip

    def answers(self, x: Array, parts: Sequence[np.ndarray[Any, Any]] | None) -> Array:
        """Means over the components asked; the points of a question are asked on the same."""
        assert parts is not None and all(np.array_equal(i, parts[0]) for i in parts)
        return np.asarray(self.values(x, parts[0]).mean(axis=1))

    def course(self, entrant: Entrant, settings: Mapping[str, Any], budget: int, seed: int) -> Iterator[Now]:
        """A run from before its first step until the budget is spent."""
        if entrant.walk is None:
            search = self.search(entrant, settings, budget, seed)
            yield Now(search.spent, search.steps, search.talk.place)
            while not search.done:
                search.tell(self.answers(search.ask().reshape(-1, self.d), search.components))
                yield Now(search.spent, search.steps, search.talk.place)
            return
        yield Now(0, 0, self.start)
        for k, (gradients, z) in enumerate(entrant.walk(self, settings["lr"], seed), 1):
            if gradients * (self.d + 1) > budget:
                return
            yield Now(gradients * (self.d + 1), k, partial(np.asarray, z))

    @property
    def batch(self) -> int:
        """The square root of n, which most papers take."""
        return math.isqrt(self.n)

    @property
    def refresh(self) -> float:
        """Chance of one, at which refreshes cost about as much as the steps between."""
        return self.batch / (self.n + self.batch)


def accelerated(p: Problem, land: Callable[[Array, float], Array], until: float, most: int = 20_000) -> Array:
    """Nesterov's gradient steps, each ended by `land(x, step size)`, with restarts, until the gap says that it is there."""
    x = y = np.zeros(p.d)
    k = 0
    for t in range(most):
        new = land(y - p.slope(y) / p.smooth, 1.0 / p.smooth)
        k = 0 if (y - new) @ (new - x) > 0 else k + 1
        x, y = new, new + k / (k + 3) * (new - x)
        if t % 100 == 99 and p.gap(x) < until:
            break
    return x


@dataclass(frozen=True)
class Entrant:
    """A method as it is run.

    Args:
        unit: the lr its paper would take; None: it has none to be tuned.
        batch: components a point, if not the problem's.
        on: names of the problems it is for; none: all.
        walk: problem, lr and seed to (component gradients so far, place) step by step: what is told gradients, each counted
            as d + 1 component queries, what forward differences would ask; None: the search of that method.
    """

    method: str
    settings: Callable[[Any], Mapping[str, Any]]
    unit: Callable[[Any], float] | None
    batch: Callable[[Any], int] = lambda p: int(p.batch)
    on: Sequence[str] = ()
    walk: Callable[[Any, float, int], Iterator[tuple[int, Array]]] | None = None


@dataclass(frozen=True)
class Contest:
    """Problems, entrants and the common conditions.

    Args:
        name: of the bench.
        what: its first line.
        axis: of queries, along which a curve's points lie evenly: "log" or "linear".
        columns: of the table, after the loss: heading, and what it says of a cell.
        base: of entrants' labels, those that are drawn as what is compared with.
        asked: what a budget counts.
        measure: what a loss above the least possible is called.
        slope: what a gap is called.
        quick: share of the budgets, seeds and grid of a quick run.
    """

    name: str
    what: str
    problems: Mapping[str, Callable[[], Problem]]
    entrants: Mapping[str, Entrant]
    columns: Mapping[str, Callable[[Mapping[str, Any]], str]]
    grid: Sequence[float]
    quick: tuple[float, Sequence[int], Sequence[float]]
    seeds: Sequence[int] = (0, 1, 2, 3, 4)
    tuned: int = 100
    eps: float = 1e-6
    axis: str = "log"
    base: Sequence[str] = ()
    asked: str = "component queries"
    measure: str = "loss - min"
    slope: str = "gap"

    def marks(self, budget: int) -> list[int]:
        """Queries at which a run is looked at."""
        shares = [k / (POINTS - 1) for k in range(POINTS)]
        return [round(budget * (s if self.axis == "linear" else 10 ** (-3 * (1 - s)))) for s in shares]

    def run(self, p: Problem, entrant: Entrant, factor: float, seed: int, budget: int) -> dict[str, Any]:
        """One search from x = 0: its queries, losses and gaps along the way, and where it ended."""
        tuned = {} if entrant.unit is None else {"lr": factor * entrant.unit(p), "eps": self.eps}
        marks, far = self.marks(budget), FAR * abs(p.loss(p.start()))
        curve: list[tuple[int, float, float]] = []
        fine, now = True, Now(0, 0, p.start)

        def look(now: Now) -> bool:
            x = now.place()
            loss = p.loss(x)
            fine = loss < far  # not so where it is NaN
            curve.append((now.spent, loss, p.gap(x)) if fine else (now.spent, far, far))
            return fine

        for now in p.course(entrant, {**tuned, **entrant.settings(p)}, budget, seed):
            if marks and now.spent >= marks[0]:
                fine = look(now)
                marks = [m for m in marks if m > now.spent]
            if not fine:
                break
        if not curve or curve[-1][0] != now.spent:
            fine = look(now)
        return {
            "queries": [q for q, _, _ in curve],
            "loss": [loss for _, loss, _ in curve],
            "gap": [gap for _, _, gap in curve],
            "steps": now.steps,
            **({} if entrant.walk is None else {"gradients": now.spent // (p.d + 1)}),
            **(p.seen(now.place()) if fine else {"diverged": True}),
        }

    def cell(
        self, p: Problem, entrant: Entrant, budget: int, factors: Sequence[float], seeds: Sequence[int]
    ) -> dict[str, Any]:
        """Tuned, then run."""
        began = time.process_time()
        factors = factors if entrant.unit is not None else (1.0,)
        try:
            last = {f: self.run(p, entrant, f, self.tuned, budget)["loss"][-1] for f in factors}
        except ValueError as error:  # the budget has no room for a step
            return {"error": str(error)}
        chosen = min(last, key=lambda f: last[f])
        runs = [self.run(p, entrant, chosen, seed, budget) for seed in seeds]
        return {
            "factor": chosen, "tuned": {f"{f:g}": loss for f, loss in last.items()}, "runs": runs,
            "cpu_seconds": round(time.process_time() - began, 2),
        }  # fmt: skip

    # -- the page --------------------------------------------------------------------------------------

    def table(self, found: Mapping[str, Any]) -> str:
        """A table a problem: what was reached with the whole budget, the median and the range of the seeds."""
        parts = []
        for name, problem in found["problems"].items():
            what = self.measure if problem["best"] is not None else "loss"
            rows = []
            for label, one in problem["cells"].items():
                if "error" in one:
                    rows.append((label, "", *[""] * len(self.columns), "", "", one["error"]))
                    continue
                losses = above(problem, [r["loss"][-1] for r in one["runs"]])
                steps = statistics.median(r["steps"] for r in one["runs"])
                said = [say(one) for say in self.columns.values()]
                rows.append(
                    (
                        label,
                        spread(losses),
                        *said,
                        f"{steps:.10g}",
                        f"{one['factor']:g}" * (len(one["tuned"]) > 1),
                        "",
                    )
                )
            rows.sort(key=lambda row: float(row[1].split()[0]) if row[1] else math.inf)
            head = ("method", what, *self.columns, "steps", "lr / unit", "")
            if not any(row[-1] for row in rows):
                head, rows = head[:-1], [row[:-1] for row in rows]
            known = f"; the minimum {problem['best']:.12g}" if problem["best"] else ""
            size = f"d = {problem['d']}" + f", n = {problem['n']}" * bool(problem["n"])
            parts.append(
                f"**{name}**, {size}, {problem['budget']:,} {self.asked}; at the start: {what.split()[0]} "
                f"{problem['start'][0]:.4g}, {self.slope} {problem['start'][1]:.4g}{known}\n\n{grid(head, rows)}"
            )
        return "\n".join(parts)

    def section(self, found: Mapping[str, Any], note: str) -> str:
        """What the page of black boxes says of it."""
        quick = " A quick run: a part of the budgets and seeds." if found["quick"] else ""
        return (
            f"{self.what}{quick} Medians over {len(found['seeds'])} seeds, least and largest in parentheses, the best "
            f"first. lr is the best of {len(found['grid'])} multiples of each paper's, on another seed. {note}\n\n"
            f"![{self.measure} against {self.asked}](../bench/results/{self.name}.svg)\n\n{self.table(found)}\n"
        )

    # -- the command -----------------------------------------------------------------------------------

    def main(self) -> None:
        """Reads the command line, runs what is not there yet, saves and prints."""
        parser = argparse.ArgumentParser(prog=f"python -m bench.{self.name}", description=self.what)
        parser.add_argument(
            "--quick", action="store_true", help="a share of the budgets, seeds and step sizes"
        )
        parser.add_argument("--only", default="", help="names of problems, by commas")
        parser.add_argument(
            "--save", action="store_true", help="into bench/results, cell by cell; go on with what is there"
        )
        parser.add_argument("--json", action="store_true")
        options = parser.parse_args()
        began = time.perf_counter()
        share, seeds, factors = self.quick if options.quick else (1.0, self.seeds, self.grid)
        frame = {"quick": options.quick, "seeds": list(seeds), "grid": list(factors), "eps": self.eps}
        found = common.stamp(
            {
                "what": self.what,
                **frame,
                "axis": self.axis,
                "base": list(self.base),
                "asked": self.asked,
                "measure": self.measure,
                "problems": {},
            }
        )
        path = common.RESULTS / f"{self.name}.json"
        if options.save and path.is_file():
            before = json.loads(path.read_text())
            if all(before.get(k) == v for k, v in frame.items()):
                found["problems"] = before["problems"]
                began -= before.get("duration_seconds", 0)  # of all parts together
        for name in options.only.split(",") if options.only else self.problems:
            self._problem(found, self.problems[name](), share, options.save)
        if options.save:
            (common.RESULTS / f"{self.name}.svg").write_text(contest_figure.draw(found))
        common.finish(self.name, found, began, options, self.table)

    def _problem(self, found: dict[str, Any], p: Problem, share: float, save: bool) -> None:
        budget, zero = round(share * p.budget), p.start()
        here = found["problems"].setdefault(p.name, {
            "n": p.n, "d": p.d, "budget": budget, "start": [p.loss(zero), p.gap(zero)],
            "best": None if math.isnan(p.best) else p.best,
            "certified": None if math.isnan(p.best) else p.certified, "cells": {},
        })  # fmt: skip
        for label, entrant in self.entrants.items():
            if label not in here["cells"] and p.name in (entrant.on or (p.name,)):
                here["cells"][label] = self.cell(p, entrant, budget, found["grid"], found["seeds"])
                if save:
                    common.save(self.name, found)


def above(problem: Mapping[str, Any], losses: Sequence[float]) -> list[float]:
    """Losses less the least possible, where that is known."""
    best = problem["best"]
    return [loss - best for loss in losses] if best is not None else list(losses)


def spread(values: Sequence[float]) -> str:
    """Median (least .. largest)."""
    return f"{statistics.median(values):.3g} ({min(values):.2g} .. {max(values):.2g})"


def ends(cell: Mapping[str, Any], key: str) -> list[float]:
    """What the runs of a cell say at their ends."""
    last = [r.get(key, math.nan) for r in cell["runs"]]
    return [v[-1] if isinstance(v, list) else v for v in last]

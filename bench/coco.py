"""COCO's bbob and bbob-largescale at 30 evaluations a dimension: the share of targets that each entrant reaches.

    python -m bench.coco [--dims 5,20,...] [--only NAME,...] [--quick] [--page]

Needs `pip install coco-experiment cma nevergrad torchzero==0.4.4 scipy`.  A cell is a dimension and an entrant over
24 functions and 3 instances, a file in bench/results/coco/, written whole; a killed bench goes on where it stopped, a
cell that failed is tried again.  As many cells at once as there are cores.

    share = reached (function, instance, target) / all of them,  51 targets a problem (`coco_problem`)

The files keep the evaluation at which each target was first reached; ecdf.svg beside them draws it.
What it is not: the problems (`coco_problem`), the entrants (`coco_entrants`), the drawing (`coco_figure`).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

from bench import coco_entrants, coco_figure, coco_problem, common
from bench.coco_entrants import ENTRANTS
from bench.coco_problem import BUDGET, FUNCTIONS, INSTANCES, SUITES, TARGETS, Counted

FOLDER = "coco"  # in bench/results
DIMS = tuple(SUITES)
SECONDS = 8.0  # an entrant's own time a problem: what it needs for all its cells fits in two hours
QUICK_FUNCTIONS, QUICK_INSTANCES = (1, 2, 8, 15, 21), (1,)


class Plan(NamedTuple):
    """Which cells, on which problems; `results`: the folder of the cells."""

    results: Path
    dims: tuple[int, ...] = DIMS
    only: tuple[str, ...] = ()
    functions: tuple[int, ...] = FUNCTIONS
    instances: tuple[int, ...] = INSTANCES
    seconds: float = SECONDS

    def cells(self) -> list[tuple[int, str]]:
        """The largest dimension first: the cores end together."""
        return [(d, name) for d in sorted(self.dims, reverse=True) for name in self.only or ENTRANTS]

    def path(self, dim: int, name: str) -> Path:
        return self.results / f"d{dim:04d}-{name}.json"

    def result(self, dim: int, name: str) -> dict[str, Any] | None:
        path = self.path(dim, name)
        return json.loads(path.read_text()) if path.is_file() else None

    def missing(self) -> Iterator[tuple[int, str]]:
        for cell in self.cells():
            found = self.result(*cell)
            if found is None or "error" in found:
                yield cell

    def save(self, dim: int, name: str, found: Mapping[str, Any]) -> None:
        """Whole or not at all; a line a problem."""
        self.results.mkdir(parents=True, exist_ok=True)
        lines = [f'  "{key}": {json.dumps(value)}' for key, value in found.get("problems", {}).items()]
        head = json.dumps({key: value for key, value in found.items() if key != "problems"}, indent=1)
        body = head.removesuffix("\n}") + ',\n "problems": {\n' + ",\n".join(lines) + "\n }\n}\n"
        part = self.path(dim, name).with_suffix(".part")
        part.write_text(body)
        os.replace(part, self.path(dim, name))


def share(found: Mapping[str, Any], budget: float = BUDGET) -> float:
    """Of all (function, instance, target), those reached within `budget` evaluations a dimension."""
    reached = [sum(hit <= budget * found["dim"] for hit in p["hits"]) for p in found["problems"].values()]
    return sum(reached) / (TARGETS * len(reached))


def cell(plan: Plan, dim: int, name: str) -> str:
    """Run one cell and write its file; a line about it."""
    start = time.process_time()
    about = {"dim": dim, "entrant": name, "budget": BUDGET * dim, "seconds_allowed": plan.seconds}
    try:
        found = {
            p.name: coco_entrants.run(name, Counted(p, BUDGET * dim, plan.seconds))
            for p in coco_problem.problems(dim, plan.functions, plan.instances)
        }
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        plan.save(dim, name, {**about, "error": said, "trace": traceback.format_exc()[-1500:]})
        return f"{dim} {name}: {said}"
    spent = round(time.process_time() - start, 1)
    result = {**about, "cpu_seconds": spent, "problems": found}
    plan.save(dim, name, common.stamp({"share": round(share(result), 4), **result}))
    capped = sum(p["capped"] for p in found.values())
    return f"{dim} {name}: share {share(result):.3f}, capped {capped} of {len(found)}, {spent} s"


def run(plan: Plan) -> None:
    """All that is missing, a cell a core."""
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as cores:
        for done in as_completed([cores.submit(cell, plan, *which) for which in plan.missing()]):
            print(time.strftime("%H:%M:%S"), done.result(), flush=True)


def table(plan: Plan) -> str:
    """Shares, entrants by dimensions; * where an entrant's time was capped on some problem."""
    lines = ["| entrant | " + " | ".join(map(str, plan.dims)) + " |", "|---" * (len(plan.dims) + 1) + "|"]
    for name in plan.only or ENTRANTS:
        found = [plan.result(dim, name) for dim in plan.dims]
        lines.append(f"| {name} | " + " | ".join(map(_entry, found)) + " |")
    return "\n".join(lines)


def saved(plan: Plan | None = None) -> dict[str, Any] | None:
    """All cells on disk, and what the page says of where they were measured; None without any."""
    plan = plan or Plan(common.RESULTS / FOLDER)
    there = [found for which in plan.cells() if (found := plan.result(*which)) and "error" not in found]
    if not there:
        return None
    last = max(there, key=lambda found: str(found["date"]))
    return {
        "plan": plan, "cells": there, "date": last["date"], "machine": last["machine"], "command": "python -m bench.coco",
        "missing": len(list(plan.missing())),
    }  # fmt: skip


def section(found: Mapping[str, Any]) -> str:
    """What the page of black boxes says of it."""
    plan: Plan = found["plan"]
    wanting = (
        f" {found['missing']} of {len(plan.cells())} cells are not measured yet." if found["missing"] else ""
    )
    hours = sum(cell["cpu_seconds"] for cell in found["cells"]) / 3600
    return f"""Share of (function, instance, target) reached within {BUDGET} evaluations a dimension: `bbob` to 20 dimensions, `bbob-largescale`
beyond, instances {", ".join(map(str, plan.instances))}, {TARGETS} targets a problem, evenly spaced in logarithm from f(x0) - f_opt down to 1e-8 of it. `zoptim` is
`minimize(f, x0, bounds=..., budget=...)` with nothing else said. An entrant has {plan.seconds:g} s of CPU time of its own a problem,
evaluations excepted; * marks one that used it up on some problem. {hours:.1f} CPU hours in all.{wanting}

{table(plan)}

{beside(plan)}

![Shares against evaluations a dimension](../bench/results/coco/ecdf.svg)
"""


def beside(plan: Plan) -> str:
    """Where `zoptim` stands, in words."""
    said = []
    for dim in plan.dims:
        shares = {
            name: share(found)
            for name in ENTRANTS
            if (found := plan.result(dim, name)) and "error" not in found
        }
        ours = shares.pop("zoptim", None)
        if ours is None or not shares:
            continue
        ahead = sorted((name for name in shares if shares[name] > ours), key=lambda name: -shares[name])
        better = ", ".join(f"{name} {shares[name]:.3f}" for name in ahead)
        said.append(
            f"d = {dim}: " + (f"**behind** {better}" if ahead else f"the largest share of {len(shares) + 1}")
        )
    return "; ".join(said) + "."


def _entry(found: Mapping[str, Any] | None) -> str:
    if not found or "error" in found:
        return "error" if found else ""
    return f"{share(found):.3f}" + "*" * any(p["capped"] for p in found["problems"].values())


def plan_of(words: Sequence[str] | None = None) -> Plan:
    parser = argparse.ArgumentParser(prog="python -m bench.coco", description=__doc__.splitlines()[0])
    parser.add_argument("--dims", default=",".join(map(str, DIMS)), help="with commas")
    parser.add_argument("--only", default="", help="entrants, with commas")
    parser.add_argument("--quick", action="store_true", help="a few functions of one instance, to try it")
    parser.add_argument("--page", action="store_true", help="run nothing, show and draw what is there")
    parser.add_argument("--results", type=Path, default=None)
    options = parser.parse_args(words)
    dims = tuple(int(d) for d in options.dims.split(","))
    only = tuple(filter(None, options.only.split(",")))
    for known, given in ((DIMS, dims), (tuple(ENTRANTS), only)):
        if unknown := [word for word in given if word not in known]:
            parser.error(f"{unknown[0]} is none of {', '.join(map(str, known))}")
    folder = options.results or common.RESULTS / (FOLDER + "-quick" * options.quick)
    plan = Plan(folder, dims, only)
    return plan._replace(functions=QUICK_FUNCTIONS, instances=QUICK_INSTANCES) if options.quick else plan


def main() -> None:
    plan = plan_of()
    if "--page" not in sys.argv[1:]:
        run(plan)
    found = {cell: result for cell in plan.cells() if (result := plan.result(*cell))}
    if drawn := coco_figure.draw(found):
        (plan.results / "ecdf.svg").write_text(drawn)
    print(table(plan))


if __name__ == "__main__":
    main()

"""The comparison: every method of the shelf on the same model, tasks and budget, cell by cell.

    python -m bench.shelf [--dry-run] [--only METHOD,...] [--task NAME] [--quick] [--page]

For each task and method: the same grid of four step sizes on seed 0, then two more seeds at the best on dev (the
grid's own counts as one).  A few methods again with all weights.  Each cell is a small file in
bench/results/shelf/, written at once; a killed bench goes on where it stopped, a cell that fails is recorded with its
error (`--retry` runs those again).  A worker a task, whose cells share the model and the cached prefix; as many at once
as there are cores, of one thread each; then, alone, a fresh process a method for memory.  New methods of the shelf
are picked up by themselves.

    factor 0.1, 0.32, 1, 3.2 times the lr that `zoptim.lm.calibrate` finds for the method: nobody's favourite is
    tuned harder, nothing but lr is tuned, and calibration counts as forwards

What it is not: which cells there are (`shelf_plan`), one cell (`shelf_cell`), gradients (`first_order`), the page
(`shelf_page`).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from bench import common, first_order, shelf_cell, shelf_page
from bench.first_order import BASELINES
from bench.shelf_cell import TASKS, Lab
from bench.shelf_plan import ALL, LAST, QUANTIZED, Plan
from zoptim import methods

PAGE = Path(__file__).parent.parent / "docs" / "comparison.md"
FOLDER = "shelf"  # in bench/results
EVALUATIONS = {LAST: 10, QUANTIZED: 10, ALL: 4}
WATCHING = 1.25  # a cell's time over its forwards': dev and test
MEMORY_STEPS, MEMORY_EXAMPLES = 8, 256


def work(plan: Plan, scope: str, task: str, folder: Path) -> None:
    """A worker: all missing cells of a lab, one after another."""
    tried: set[str] = set()
    lab = None
    while cell := next((c for c in plan.missing(scope, task) if c.name not in tried), None):
        tried.add(cell.name)
        lab = lab or Lab(scope, task, plan.model, folder, batch=cell.batch, ratings=plan.ratings, threads=1)
        about = {"cell": cell._asdict()}
        try:
            course = first_order.course if cell.method in BASELINES else shelf_cell.course
            found = lab.run(cell, EVALUATIONS[scope], course)
            said = f"test {found['test']['accuracy']:.3f}, {found['cpu_seconds']:.0f} s"
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()[-1500:]}
            said = found["error"]
        plan.save(cell.name, {**about, **found})
        print(f"{time.strftime('%H:%M:%S')} {cell.name}: {said}", flush=True)
    if lab:
        lab.close()


def memory(plan: Plan, scope: str, method: str, folder: Path) -> dict[str, Any]:
    """Peak resident bytes of a few steps in this process, above what is loaded, and seconds a forward."""
    cell = plan.cell(scope, plan.tasks[0], method, 1.0, 0)
    lab = Lab(
        scope, cell.task, plan.model, folder, batch=cell.batch, ratings=plan.ratings, limit=MEMORY_EXAMPLES
    )
    trial = first_order.trial if method in BASELINES else shelf_cell.trial
    loaded = common.reset_peak()
    seconds = trial(lab, cell, MEMORY_STEPS)
    found = {"loaded": loaded, "peak": common.peak(), "seconds_per_forward": seconds}
    lab.close()
    return found


def measure_memory(plan: Plan) -> None:
    """A fresh process a method for what a step needs at its peak."""
    for scope in dict.fromkeys(scope for scope, _ in plan.labs()):
        for method in [*plan.names(scope), *(BASELINES if scope == ALL and not plan.only else ())]:
            name = f"memory-{scope}-{method}"
            if plan.result(name) is not None:
                continue
            try:
                found = common.fresh("bench.shelf", [*passed(plan), "--memory", scope, method])
            except RuntimeError as error:
                found = {"error": str(error)[-1500:]}
            plan.save(name, {"scope": scope, "method": method, **found})
            print(f"{name}: {found.get('peak', 0) / 1e6:.0f} MB", flush=True)


def run(plan: Plan) -> None:
    """Everything that is missing: a lab's worker on every core, then memory, alone."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as cores:
        for done in as_completed([cores.submit(fill, plan, scope, task) for scope, task in plan.labs()]):
            done.result()
    measure_memory(plan)


def fill(plan: Plan, scope: str, task: str) -> None:
    """All of a lab; a worker that dies has its cell recorded as failed and is started again."""
    while cell := next(plan.missing(scope, task), None):
        command = [sys.executable, "-m", "bench.shelf", *passed(plan), "--worker", scope, task]
        code = subprocess.run(command, check=False).returncode
        if code == 0:
            break
        if code > 0 or code == -signal.SIGINT:  # it could not open the lab, or was asked to stop
            raise SystemExit(code if code > 0 else 130)
        if next(plan.missing(scope, task), None) == cell:  # twice the same, or its first: the cell's fault
            plan.save(cell.name, {"cell": cell._asdict(), "error": f"the worker ended with {code}"})


def passed(plan: Plan) -> list[str]:
    """The plan as arguments of a child."""
    words = ["--results", str(plan.results), "--model", plan.model, "--task", *plan.tasks]
    words += ["--forwards", str(plan.forwards), "--all-forwards", str(plan.all_forwards)]
    words += ["--seeds", str(plan.seeds), "--batch", str(plan.batch)]
    words += ["--only", ",".join(plan.only)] if plan.only else []
    words += ["--ratings", str(plan.ratings)] if plan.ratings else []
    return words + (["--retry"] if plan.retry else [])


def estimate(plan: Plan) -> str:
    """The missing cells, and the hours they will take: by the seconds that a few steps of a method took, if measured."""
    lines, total = [], 0.0
    for scope, task in plan.labs():
        cells = list(plan.missing(scope, task))
        if not cells:
            continue
        known = {m: found for m in plan.names(scope) if (found := plan.result(f"memory-{scope}-{m}"))}
        paces = {m: found["seconds_per_forward"] for m, found in known.items() if "error" not in found}
        if not paces:
            given = [*passed(plan), "--memory", scope, "mezo"]
            paces = {"mezo": common.fresh("bench.shelf", given)["seconds_per_forward"]}
        usual = statistics.median(paces.values())
        unknown = [m for m in plan.names(scope) if plan.best(scope, task, m) is None] if scope != ALL else []
        methods_of = [c.method for c in cells] + unknown * (plan.seeds - 1)
        forwards = plan.all_forwards if scope == ALL else plan.forwards
        hours = sum(paces.get(m, usual) for m in methods_of) * forwards * WATCHING / 3600
        lines += [f"  {cell.name}" for cell in cells]
        lines.append(
            f"{scope}, {task}: {len(methods_of)} cells, {1000 * usual:.0f} ms a forward, {hours:.1f} hours"
        )
        total += hours
    return "\n".join([*lines, f"in all about {total:.1f} hours"])


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.shelf", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--dry-run", action="store_true", help="list the missing cells and estimate the hours"
    )
    parser.add_argument(
        "--page", action="store_true", help="only write docs/comparison.md from what is there"
    )
    parser.add_argument("--quick", action="store_true", help="tiny budgets, to try the machinery")
    parser.add_argument("--only", default="", help="methods, with commas")
    parser.add_argument("--task", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--retry", action="store_true", help="run failed cells again")
    parser.add_argument("--model", default="packaged:smollm2-135m")
    parser.add_argument("--ratings", type=Path, help="a file like the packaged reviews, in its place")
    parser.add_argument("--results", type=Path, default=common.RESULTS / FOLDER)
    parser.add_argument("--forwards", type=int, default=2000)
    parser.add_argument("--all-forwards", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    return parser


def plan_of(options: argparse.Namespace) -> Plan:
    """What the arguments ask for; `passed` is its inverse."""
    quick = options.quick
    return Plan(
        options.results, options.model, options.ratings, tuple(options.task),
        tuple(filter(None, options.only.split(","))), 160 if quick else options.forwards, options.batch,
        100 if quick else options.all_forwards, min(options.batch, 8), options.seeds, options.retry,
    )  # fmt: skip


def main() -> None:
    parser = arguments()
    options = parser.parse_args()
    plan = plan_of(options)
    for name in plan.only:
        if name not in methods.SHELF and name not in BASELINES:
            parser.error(f"--only {name}: no such method{methods.hint(name, [*methods.SHELF, *BASELINES])}")
    with tempfile.TemporaryDirectory(prefix="zoptim-shelf-") as folder:
        if options.worker:
            return work(plan, *options.worker, Path(folder))
        if options.memory:
            return print(json.dumps(memory(plan, *options.memory, Path(folder))))
    if options.dry_run:
        return print(estimate(plan))
    if not options.page:
        run(plan)
    if plan.results == common.RESULTS / FOLDER and not options.quick:
        shelf_page.write(plan, PAGE, common.RESULTS / "shelf.svg")
        print(f"wrote {PAGE}")
    else:  # tried elsewhere: the committed page is not touched
        shelf_page.write(plan, plan.results / "comparison.md", plan.results / "shelf.svg")
        print(f"wrote {plan.results / 'comparison.md'}")


if __name__ == "__main__":
    main()

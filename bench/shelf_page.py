"""docs/comparison.md and its figure, from the cells in bench/results/shelf and nothing else.

    render(plan) -> the page and the drawing

A method is judged by the mean test accuracy of its seeds at the step size that was best on dev, beside the untouched
model and beside MeZO.  What it is not: a measurement, nor a choice: those are `shelf`'s.

    helped: more than 2 sd over the untouched model;  beside MeZO: more than 2 sqrt(2/n) sd apart, n seeds,
    sd the root mean square over methods of their seeds' standard deviation
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench import shelf_figure
from bench.first_order import BASELINES, STEP
from bench.shelf_cell import SCHEDULE, TASKS, UNMEASURED, Cell
from bench.shelf_plan import ALL, ALL_FACTORS, DEEP, FACTORS, LAST, QUANTIZED, SCALES, Plan
from zoptim import methods
from zoptim.lm.config import Config
from zoptim.probes.slopes import Tangents

REFERENCE = "mezo"
WEIGHTS = {
    LAST: "the last block",
    QUANTIZED: "the scales and norms of the last block, all of the model's layers in 4 bits",
    ALL: "all weights",
}


class Standing(NamedTuple):
    """A method on a task: its cells at the best step size, or why there are none."""

    method: str
    cells: list[dict[str, Any]]
    factor: float | None
    edge: str  # "", "lowest" or "highest" of the grid
    failed: int
    wanting: int  # cells of the grid that are not there
    error: str = ""

    @property
    def accuracies(self) -> list[float]:
        return [c["test"]["accuracy"] for c in self.cells]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.accuracies)

    @property
    def sd(self) -> float:
        return statistics.stdev(self.accuracies) if len(self.cells) > 1 else math.nan


def standing(plan: Plan, scope: str, task: str, method: str) -> Standing:
    """What is on disk of it."""
    grid = plan.grid(scope, task, method)
    found = [plan.result(cell.name) for cell in grid]
    errors = [r["error"] for r in found if r and "error" in r]
    best = plan.best(scope, task, method)
    wanting = sum(r is None for r in found)
    if best is None:
        return Standing(method, [], None, "", len(errors), wanting, errors[0] if errors else "")
    factors = [c.factor for c in grid]
    edge = {factors[0]: "lowest", factors[-1]: "highest"}.get(best.factor, "")
    runs = [plan.result(name) for name in _seeds(best, 1 if scope == ALL else plan.seeds)]
    return Standing(
        method, [r for r in runs if r and "error" not in r], best.factor, edge, len(errors), wanting,
    )  # fmt: skip


def _seeds(best: Cell, seeds: int) -> list[str]:
    return [best._replace(seed=seed).name for seed in range(seeds)]


def course(s: Standing) -> list[Any]:
    """What tells one method's runs from another's: every loss seen on the way."""
    return [(p["train_loss"], p["dev"]["loss"]) for c in s.cells for p in c["curve"]]


def spread(standings: Sequence[Standing]) -> float:
    """sd of one run: root mean square over methods, since three seeds of one tell little."""
    squares = [s.sd**2 for s in standings if not math.isnan(s.sd)]
    return math.sqrt(statistics.fmean(squares)) if squares else math.nan


def verdict(s: Standing, reference: Standing | None, before: float, sd: float) -> str:
    """One word on a method that has cells."""
    if not s.cells:
        return "failed" if s.failed else "not run yet"
    noise = 0.0 if math.isnan(sd) else sd
    if reference and s.method != reference.method and reference.cells and course(s) == course(reference):
        return "is MeZO here"
    if s.mean <= before + 2 * noise:
        return "did not help"
    if math.isnan(sd):
        return "one run"
    if reference is None or not reference.cells or s.method == reference.method:
        return "helped"
    near = 2 * noise * math.sqrt(1 / len(s.cells) + 1 / len(reference.cells))
    gap = s.mean - reference.mean
    return "better than MeZO" if gap > near else "worse than MeZO" if gap < -near else "like MeZO"


# -- the page ------------------------------------------------------------------------------------------


def render(plan: Plan) -> tuple[str, str]:
    """The page, and the figure as SVG ("" while there is nothing to draw)."""
    parts = [_intro(plan)]
    tables = {lab: [standing(plan, *lab, m) for m in plan.names(lab[0])] for lab in plan.labs()}
    drawing = shelf_figure.draw(tables, {m: _memory(plan, LAST, m) for m in plan.names(LAST)})
    if drawing:
        parts.append(
            "![Accuracy against forwards, against seconds, and peak memory](../bench/results/shelf.svg)\n"
        )
    parts += filter(None, [_default(plan, tables)])
    for (scope, task), standings in tables.items():
        parts.append(_section(plan, scope, task, standings))
    parts.append(_conditions([c for table in tables.values() for s in table for c in s.cells]))
    return "\n".join(parts), drawing


def _intro(plan: Plan) -> str:
    grid = ", ".join(f"{f:g}" for f in FACTORS)
    own = (*UNMEASURED, *(m for m in methods.SHELF if derivatives(m) == "with gradients"))
    return f"""# The methods beside each other

Every method of the shelf trains the last block of {plan.model.removeprefix("packaged:")} (its frozen prefix cached) with the same
{plan.forwards:,} forwards of {plan.batch} examples, on two tasks. Made by `python -m bench.shelf`; every run lies in
`bench/results/shelf/`, this page is rendered from there (`python -m bench.shelf --page`) and not edited by hand.

* **What is tuned:** the step size and nothing else, over {grid} times what `--lr auto` measures for the method (that measuring
  counts as forwards; {", ".join(f"`{m}`" for m in own)}: the shelf's own lr, whatever the column is called; the radius is measured likewise). The grid is run with seed 0, the best on dev gets {plan.seeds - 1} more seeds; nothing
  is chosen by test. Other settings are the shelf's defaults, schedules are {SCHEDULE} for all. Where the best lies at an end of the
  grid, the table says so: more might be had further out, for most two-sided methods by sign. A place that a method holds may be one its
  calibration found and others' did not.
* **What is nearly the same:** `zo_sgd`, `rgf` and `rsgf` take the same steps here, `mezo` and `two_point` and the three HiZOOs nearly so:
  their curvature hardly moves in runs this short. They count as methods of their own all the same.
* **What is counted:** forwards = examples asked / batch size; a method that asks more data at an anchor pays for it. Whole steps up to
  that many, so a step of 201 forwards ends earlier.
  AdamW, LoRA and SGD pay {STEP} forwards a step (a backward is about two) and have the same grid around a usual step size.
* **CPU s** are of calibration and training, evaluation excluded, in one thread; several cells ran at once, one a core.
  **Memory** is the peak of a few steps in a process of its own, alone, above the loaded model, **ms a forward** the time of
  such a step's forwards with two threads: one trial of four steps, rough, the first of its kind warming up.
* {" and ".join(f"`{m}`" for m in SCALES if m != REFERENCE)} moves the scales of quantized layers and has a table of its own;
  {" and ".join(f"`{m}`" for m in DEEP)} needs a block before the last and is among the runs of all weights.
* **Verdict:** *is MeZO here*: the very same losses; *did not help*: not 2 sd above the untouched model; *better* or *worse than MeZO*: 2 standard errors apart, the
  spread pooled over the methods of a table; *one run*: no telling.
"""


def _section(plan: Plan, scope: str, task: str, standings: Sequence[Standing]) -> str:
    """Heading, plain words, table."""
    weights = WEIGHTS[scope]
    forwards, batch = (plan.all_forwards, plan.all_batch) if scope == ALL else (plan.forwards, plan.batch)
    lines = [f"## {TASKS[task].says[0].upper()}{TASKS[task].says[1:]}; {weights} trained\n"]
    done = [s for s in standings if s.cells]
    before = done[0].cells[0]["before"]["test"]["accuracy"] if done else math.nan
    sd = spread(standings)
    reference = next((s for s in standings if s.method == REFERENCE), None)
    said = {s.method: verdict(s, reference, before, sd) for s in standings}
    if scope == ALL:
        lines.append(
            f"{forwards:,} forwards of {batch} examples, one seed, factors {' and '.join(f'{f:g}' for f in ALL_FACTORS)}.\n"
        )
    if done:
        spoken = "" if math.isnan(sd) else f"; sd of one run {sd:.4f}"
        lines.append(f"Untouched model: {before:.3f} on test{spoken}.\n")
        alone = "One run each, so none is told from another here.\n"
        lines.append(alone if math.isnan(sd) else _plain_words(said) + "\n")
    lines += [
        "| method | test accuracy | runs | dev | lr | x auto | forwards/step | CPU s | ms a forward | MB over loaded | verdict |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    order = sorted(standings, key=lambda s: -s.mean if s.cells else 1.0)
    lines += [_row(plan, scope, s, said[s.method]) for s in order]
    held = {BASELINES[m].says: _memory(plan, scope, m) for m in BASELINES} if scope == ALL else {}
    if any(held.values()):
        said_of = ", ".join(f"{name} {mb:,.0f} MB" for name, mb in held.items() if mb is not None)
        lines.append(f"\nWith gradients, memory over the loaded model alone was measured: {said_of}.")
    failures = [f"* `{s.method}`: {s.error}" for s in standings if s.error]
    return "\n".join(
        [*lines, *(["\nFailed in every cell of the grid:\n", *failures] if failures else []), ""]
    )


def derivatives(method: str) -> str:
    """What a method takes besides forwards, in words; "" for most."""
    made = methods.build(method, {}) if method in methods.SHELF else None
    if made is None:
        return ""
    return "with gradients" if made.first else "with exact slopes" if isinstance(made.probe, Tangents) else ""


def _default(plan: Plan, tables: Mapping[tuple[str, str], Sequence[Standing]]) -> str:
    """How `finetune`'s default stands among the methods of forwards alone: means over the tasks of the last block."""
    tasks = [table for (scope, _), table in tables.items() if scope == LAST]
    scores: dict[str, list[float]] = {}
    for s in (s for table in tasks for s in table if s.cells and s.method not in BASELINES):
        if not derivatives(s.method):
            scores.setdefault(s.method, []).append(s.mean)
    means = {m: statistics.fmean(found) for m, found in scores.items() if len(found) == len(tasks)}
    default = Config.__dataclass_fields__["method"].default
    if default not in means:
        return ""
    order = sorted(means, key=lambda m: -means[m])
    error = math.sqrt(statistics.fmean(spread(table) ** 2 for table in tasks) / len(tasks) / plan.seeds)
    return (
        f"**What follows for the default.** Of {len(order)} methods that take forwards alone, by the mean over both tasks "
        f"(standard error about {error:.3f}): {', '.join(f'`{m}` {means[m]:.3f}' for m in order[:5])}. `zoptim finetune` takes "
        f"`{default}` unless told otherwise, number {order.index(default) + 1} of them.\n"
    )


def _plain_words(said: dict[str, str]) -> str:
    """Which methods did not help, said also where there is none, and which did more or less than MeZO."""
    ours = {m: v for m, v in said.items() if m not in BASELINES}
    words = []
    for want, lead in (
        ("did not help", "**Did not help** (no better than the untouched model)"),
        ("worse than MeZO", "**Worse than MeZO** at the same forwards"),
        ("like MeZO", "**No different from MeZO** within noise"),
        (
            "is MeZO here",
            "**The same steps as MeZO** here (what makes the method is not there: one block, nothing quantized)",
        ),
        ("better than MeZO", "**Better than MeZO**"),
    ):
        names = [f"`{m}`{_aside(m)}" for m, v in ours.items() if v == want]
        if names or want == "did not help":
            words.append(f"{lead}: {', '.join(names) or 'none'}.")
    return " ".join(words)


def _aside(method: str) -> str:
    return f" ({known})" if (known := derivatives(method)) else ""


def _row(plan: Plan, scope: str, s: Standing, said: str) -> str:
    """A line of the table."""
    name = BASELINES[s.method].says if s.method in BASELINES else f"`{s.method}`{_aside(s.method)}"
    held = _memory(plan, scope, s.method)
    memory = "" if held is None else f"{held:.0f}"
    if not s.cells:
        return f"| {name} |  | 0 |  |  |  |  |  |  | {memory} | {said} |"
    first = s.cells[0]
    cpu = statistics.median(c["cpu_seconds"] for c in s.cells)
    pace = (plan.result(f"memory-{scope}-{s.method}") or {}).get("seconds_per_forward")
    took = "" if pace is None else f"{1000 * pace:.0f}"
    sd = "" if math.isnan(s.sd) else f" ± {s.sd:.3f}"
    dev = statistics.fmean(c["dev"]["accuracy"] for c in s.cells)
    edge = f" ({s.edge})" if s.edge else ""
    return (
        f"| {name} | {s.mean:.3f}{sd} | {len(s.cells)} | {dev:.3f} | {first['lr']:.2g} | {s.factor:g}{edge} "
        f"| {first['a_step']:g} | {cpu:.0f} | {took} | {memory} | {said} |"
    )


def _memory(plan: Plan, scope: str, method: str) -> float | None:
    """MB above the loaded model at the peak."""
    found = plan.result(f"memory-{scope}-{method}")
    return None if found is None or "peak" not in found else (found["peak"] - found["loaded"]) / 1e6


def _conditions(cells: Sequence[dict[str, Any]]) -> str:
    """When and where, from the runs."""
    if not cells:
        return "Nothing is measured yet: `python -m bench.shelf` does it.\n"
    dates = sorted(c["date"][:10] for c in cells)
    at = [c["machine"] for c in cells]
    where = sorted(
        {f"{m['cpu']}, {m['cores']} cores, {m['ram_gb']} GB, torch {m['torch']}, {m['kernels']}" for m in at}
    )
    loads = [m["load_average"][0] for m in at]
    threads = sorted({c["threads"] for c in cells})
    return (
        f"<sub>{dates[0]} to {dates[-1]}; {'; '.join(where)}; threads {', '.join(map(str, threads))}; load average when "
        f"written: median {statistics.median(loads):.1f}, highest {max(loads):.1f}.</sub>\n"
    )


def write(plan: Plan, page: Path, figure: Path) -> None:
    """Both files."""
    text, drawing = render(plan)
    page.write_text(text)
    if drawing:
        figure.write_text(drawing)

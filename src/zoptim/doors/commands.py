"""What the commands do: each turns its words into one call, and imports what it needs then.

A function's argument is the parsed line; its result is plain values (shown by `table` or `answers`, or as JSON) or
text.  Not here: the words (`words`), errors and exit codes (`cli`).
"""

from __future__ import annotations

import argparse
import json
import os
from inspect import signature
from pathlib import Path
from typing import Any

BALL = {"set": "L2Ball", "radius": 1.0, "center": 0.0}  # for methods that are to be told a set


def finetune(args: argparse.Namespace) -> Any:
    from ..lm.config import Config
    from ..lm.errors import UsageError

    flags = {name: getattr(args, name) for name in Config.names() if getattr(args, name, None) is not None}
    if args.resume:
        if args.dry_run or args.config:
            given = "--dry-run" if args.dry_run else "--config"
            raise UsageError(f"{given} does not go with --resume: a run's settings are in its journal")
        return resume(args)
    config = (
        Config.from_file(args.config, flags) if args.config else Config.from_dict(flags, where="command line")
    )
    from ..lm.asked import check

    check(config)  # before anything heavy is imported
    _quiet_libraries()
    if args.dry_run:
        from ..lm.forecast import forecast

        return forecast(config)
    from ..lm import finetune as job

    return job.finetune(config, quiet=args.quiet)


def resume(args: argparse.Namespace) -> Any:
    from ..lm.config import Config
    from ..lm.runs import find_run

    run_ = find_run(args.resume)
    flags = {name: getattr(args, name) for name in Config.names() if getattr(args, name, None) is not None}
    checked = {name: _check(Config, name, value) for name, value in flags.items()}
    _quiet_libraries()
    from ..lm import finetune as job

    return job.resume(run_, quiet=args.quiet, **checked)


def _check(config: Any, name: str, value: Any) -> Any:
    """One flag checked by itself, as `Config` would."""
    field = next(f for group in config.grouped().values() for f in group if f.name == name)
    return field.metadata["check"](name, value)


def predict(args: argparse.Namespace) -> Any:
    from ..lm.errors import UsageError

    texts = list(args.texts)
    if args.file:
        texts += [line for line in args.file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not texts:
        raise UsageError("texts: give at least one, or --file FILE")
    _quiet_libraries()
    from ..lm.evaluate import predict as job

    return job(_run(args), texts, args.at)


def evaluate(args: argparse.Namespace) -> Any:
    _quiet_libraries()
    from ..lm.evaluate import evaluate as job

    return job(_run(args), args.split, args.at)


def sharpness(args: argparse.Namespace) -> Any:
    _quiet_libraries()
    from ..lm.sharpness import sharpness as job

    given = {name: getattr(args, name) for name in ("probes", "examples", "radius")}
    return job(_run(args), at=args.at, split=args.split, **{k: v for k, v in given.items() if v is not None})


def export(args: argparse.Namespace) -> Any:
    _quiet_libraries()
    from ..lm.replay import export as job

    return job(_run(args), args.out, args.at)


def replay(args: argparse.Namespace) -> Any:
    _quiet_libraries()
    from ..lm.replay import replay as job

    return job(_run(args), args.out, args.at)


def undo(args: argparse.Namespace) -> Any:
    _quiet_libraries()
    from ..lm.replay import undo as job

    return job(_run(args), args.steps)


def log(args: argparse.Namespace) -> Any:
    """The journal as a table, or as JSON lines."""
    from ..journal import Journal, JournalError
    from ..lm.errors import RunError

    try:
        journal = Journal.read(_run(args) / "journal.zoj")
    except JournalError as error:
        raise RunError(str(error)) from None
    records = list(journal.records)[-args.last if args.last else None :]
    rows = [
        {
            "t": r.t, "kind": r.kind, "lr": r.lr, "loss": r.losses[0] if r.losses else None, "terms": len(r.terms),
            "size": sum(c * c for _, c in r.terms) ** 0.5, "reason": r.reason,
        }
        for r in records
    ]  # fmt: skip
    if args.json:
        return "\n".join(json.dumps(row) for row in rows)
    lines = [f"{'t':>7}  {'kind':5}  {'lr':>10}  {'loss':>9}  {'terms':>5}  {'|coefs|':>9}  reason"]
    for row in rows:
        loss = "" if row["loss"] is None else f"{row['loss']:.4g}"
        lines.append(
            f"{row['t']:>7}  {row['kind']:5}  {row['lr']:>10.3g}  {loss:>9}  {row['terms']:>5}  {row['size']:>9.3g}  {row['reason']}"
        )
    return "\n".join(lines)


def report(args: argparse.Namespace) -> Any:
    from ..lm.report import write

    return {"report": str(write(_run(args)))}


def runs(args: argparse.Namespace) -> Any:
    from ..lm.runs import as_dicts, compare, table

    rows = compare(args.directory)
    return json.dumps(as_dicts(rows), indent=1) if args.json else table(rows)


def methods(args: argparse.Namespace) -> Any:
    from inspect import getdoc

    from ..methods import BLACK_BOXES, SHELF, hint

    cards = {**SHELF, **BLACK_BOXES}
    if args.name is None:
        if args.json:
            return [told(card) for card in cards.values()]
        models = shelf_table(SHELF.values(), "zoptim finetune --method NAME --set KEY=VALUE")
        boxes = shelf_table(
            BLACK_BOXES.values(),
            "in Python zoptim.minimize (minimax, bilevel) with method='NAME', settings={...}",
        )
        return f"{models}\n\nfor black boxes alone (docs/minimize.md):\n\n{boxes}"
    if args.name not in cards:
        raise ValueError(
            f"method={args.name!r} is not on the shelf{hint(args.name, cards)}; zoptim methods lists it"
        )
    card = cards[args.name]
    source = f"{card.paper} ({card.arxiv})" if card.arxiv else card.paper
    settings = {
        k: v.default if v.default is not v.empty else None for k, v in signature(card.make).parameters.items()
    }
    if args.json:
        return {**told(card), "settings": settings}
    paragraphs = (getdoc(card.make) or "").split("\n\n")  # what it raises and examples are a programmer's
    about = "\n\n".join(p for p in paragraphs if not p.startswith(("Raises:", "Example:", "Reference:")))
    usual = ", ".join(f"{k}={v}" for k, v in settings.items())
    if card.name in BLACK_BOXES:
        return f"{source}\n\n{about}\n\nDefaults: {usual}"
    mine = [k for k in settings if k not in ("lr", "eps")]
    also = " --quantize int4" if card.name == "qzo" else ""
    run = f"zoptim finetune --method {card.name}{also}" + (
        f" --set {mine[0]}={settings[mine[0]]}" if mine else ""
    )
    return f"{source}\n\n{about}\n\nDefaults: {usual}\n\n{run} ...   (lr and eps: --lr, --eps)"


def told(card: Any) -> dict[str, Any]:
    """A shelf entry as plain values."""
    needed = {
        k: BALL if k == "set" else 2
        for k, v in signature(card.make).parameters.items()
        if v.default is v.empty
    }
    method = card.make(**needed)
    linear = "yes" if method.additive else "in a step" if method.rule.linear else "no"
    return {**{k: v for k, v in card._asdict().items() if k != "make"}, "linear": linear}


def shelf_table(cards: Any, run: str) -> str:
    """The shelf, one entry a line, and how one is run."""
    names = ("name", "forwards", "memory", "journal", "linear", "arxiv", "summary")
    heads = ("method", "forwards", "memory", "journal", "linear", "paper", "what it does")
    rows = [heads, *([str(told(card)[name]) for name in names] for card in cards)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(names))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    notes = [
        "forwards are a step's, n being its directions; journal bytes a step's at the defaults; memory is beside the weights",
        "linear: steps commute, so that journals may be merged; 'in a step' keeps numbers from step to step",
        f"zoptim methods NAME explains one; {run} runs it",
    ]
    return "\n".join([*lines, "", *notes])


def doctor(args: argparse.Namespace) -> Any:
    from .doctor import brief, examine

    found = examine()
    if not (found["known_answers"] and found["kernels_equal_specification"]):
        from ..lm.errors import RunError

        raise RunError(f"{brief(found)}; reinstall, or set ZOPTIM_KERNELS=reference, and please report it")
    return brief(found) if args.brief else found


def _run(args: argparse.Namespace) -> Path:
    from ..lm.runs import find_run

    return find_run(args.run)


def _quiet_libraries() -> None:
    """Hub libraries speak of tokens, telemetry and updates; a person fine-tuning did not ask."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


# -- results as text ------------------------------------------------------------------------------------------


def table(result: dict[str, Any]) -> str:
    """Plain values, one a line; nested ones are left to --json."""
    flat = {k: v for k, v in result.items() if not isinstance(v, dict | list)}
    width = max(map(len, flat), default=0)
    return "\n".join(f"{k:<{width}}  {_value(v)}" for k, v in flat.items())


def answers(rows: list[dict[str, Any]]) -> str:
    """One prediction a line: the answer, its probability, the text."""
    return "\n".join(
        "  ".join([r["answer"], *([f"{r['p']:.2f}"] if "p" in r else []), r["text"]]) for r in rows
    )


def _value(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)

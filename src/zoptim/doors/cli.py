"""The command line: `zoptim COMMAND ...`.

A door only: it turns words into calls and results into text.  Nothing heavy is imported before a command needs
it.  Exit codes: 0 done, 1 the run failed, 2 the request cannot be served, 130 Ctrl-C.  stdout is data, stderr is
for people; `--debug` (or ZOPTIM_DEBUG=1) shows tracebacks.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from .. import __version__

INTERRUPTED = 130
MAY_CHANGE = (
    "steps", "forwards", "minutes", "patience", "eval_every", "points_per_pass", "cache_gb", "window_gb"
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the `zoptim` command."""
    sys.path.insert(0, os.getcwd())  # --objective python:mine:function means mine.py right here
    sys.exit(run(list(sys.argv[1:] if argv is None else argv)))


def run(argv: list[str]) -> int:
    """Do what the words say; returns the exit code."""
    debug = "--debug" in argv or os.environ.get("ZOPTIM_DEBUG") == "1"
    try:
        args = _parser().parse_args([a for a in argv if a != "--debug"])
        result = args.do(args)
        _print(result, args)
        return 0
    except SystemExit as stop:
        return int(stop.code or 0)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left: that is fine
        return 0
    except (OSError, ValueError, RuntimeError) as error:
        if debug:
            raise
        print(f"zoptim: {error}", file=sys.stderr)
        return int(getattr(error, "exit_code", 2 if isinstance(error, ValueError) else 1))
    except ModuleNotFoundError as error:
        if debug or (error.name or "").partition(".")[0] == "zoptim":
            raise
        print(f"zoptim: {error.name} is not installed; pip install 'zoptim[lm]' brings it", file=sys.stderr)
        return 1
    except Exception as error:
        if debug:
            raise
        said = str(error).partition("\n")[0]
        print(f"zoptim: {type(error).__name__}: {said} (unforeseen; --debug shows where)", file=sys.stderr)
        return 1


def _print(result: Any, args: argparse.Namespace) -> None:
    if result is None:
        return
    if isinstance(result, str):
        print(result)
    elif getattr(args, "json", False):
        print(json.dumps(result, indent=1, ensure_ascii=False))
    else:
        print(args.show(result))


# -- the words ----------------------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """argparse that names the closest command or flag when it is given one it does not know."""

    def error(self, message: str) -> NoReturn:
        known = [o for a in self._actions for o in a.option_strings]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                known += list(action.choices)
        words = message.split(": ")[-1].split()
        given = words[0].strip("'") if words else ""
        if "argument COMMAND: invalid choice" in message:
            given = message.split("'")[1]
            message = f"there is no command {given!r}"
        hint = self._meant(given.split("=")[0], known) if given else ""
        hint = f"did you mean {hint}?" if hint else f"see {self.prog} --help"
        print(f"{self.prog}: {message.replace(' (choose from ', '; choose from (')}; {hint}", file=sys.stderr)
        sys.exit(2)

    def _meant(self, given: str, known: Sequence[str]) -> str:
        """The flag or command probably meant, also by another tool's name for it; "" if none is near."""
        if given.startswith("--") and "--method" in known:
            from ..lm.config import ELSEWHERE

            plain = given[2:].lower().replace("-", "_")
            near = get_close_matches(plain, ELSEWHERE, 1, 0.8)
            flag = "--" + ELSEWHERE[near[0]].replace("_", "-") if near else ""
            flag = "--set" if flag == "--settings" else flag
            if flag in known and not get_close_matches(given, known, 1, 0.8):
                return flag
        return next(iter(get_close_matches(given, known, 1, 0.5)), "")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, rest = self.parse_known_args(args, namespace)
        if rest:
            part = next((a for a in self._actions if isinstance(a, argparse._SubParsersAction)), None)
            inner = part.choices.get(args[0]) if part and args else None
            (inner or self).error(f"unknown argument: {rest[0]}")
        return found


def _parser() -> Parser:
    parser = Parser(
        prog="zoptim",
        description="Improve anything you can run, by forward passes only.",
        epilog="Start with: zoptim finetune --task packaged:movie-reviews --out runs/first",
    )
    parser.add_argument("--version", action="version", version=f"zoptim {__version__}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    parser.set_defaults(do=lambda args: parser.format_help().rstrip())
    _finetune(
        _command(
            commands, "finetune", finetune, "fine-tune a language model by forward passes", _FINETUNE, table
        )
    )
    _resume(
        _command(
            commands,
            "resume",
            resume,
            "continue an interrupted run where its journal ends, with the same bits",
            "example:\n  zoptim resume runs/mine\n  zoptim resume runs/mine --minutes 10",
            table,
        )
    )
    run_commands: list[tuple[str, Callable[..., Any], str, str, Callable[[Any], str]]] = [
        (
            "predict",
            predict,
            "what a run answers to new texts",
            "zoptim predict RUN 'a joy from start to end'",
            answers,
        ),
        ("eval", evaluate, "loss and accuracy of a run on a split", "zoptim eval RUN --split test", table),
        (
            "export",
            export,
            "write a run's weights as plain transformers (or PEFT) loads them",
            "zoptim export RUN my-model",
            table,
        ),
        (
            "replay",
            replay,
            "rebuild a run's weights from base and journal, without a forward",
            "zoptim replay RUN --out DIR",
            table,
        ),
        ("undo", undo, "take the last steps of a run back", "zoptim undo RUN --steps 50", table),
        ("log", log, "what is in a run's journal", "zoptim log RUN --last 20", str),
        ("report", report, "write report.html anew", "zoptim report RUN", table),
    ]
    for name, do, summary, example, show in run_commands:
        command = _command(commands, name, do, summary, f"example:\n  {example}", show)
        command.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
        if name in ("predict", "eval", "export", "replay"):
            command.add_argument("--at", type=_at, help="best (on dev), last, or a step number")
        if name == "predict":
            command.add_argument("texts", nargs="*", metavar="TEXT")
            command.add_argument("--file", type=Path, help="one text a line")
        if name == "eval":
            command.add_argument("--split", default="test", choices=("train", "dev", "test"))
        if name == "export":
            command.add_argument("out", type=Path, metavar="DIR", help="a new folder")
        if name == "replay":
            command.add_argument("--out", type=Path, metavar="DIR", help="write the weights here")
        if name == "undo":
            command.add_argument("--steps", type=int, required=True, metavar="K")
        if name == "log":
            command.add_argument("--last", type=int, metavar="N", help="only the last N records")
    runs_ = _command(
        commands, "runs", runs, "compare the runs in a folder", "example:\n  zoptim runs runs", str
    )
    runs_.add_argument("directory", type=Path, nargs="?", default=Path("runs"), metavar="DIR")
    methods_ = _command(
        commands,
        "methods",
        methods,
        "the methods there are; NAME explains one",
        "example:\n  zoptim methods fzoo",
        str,
    )
    methods_.add_argument("name", nargs="?", metavar="NAME")
    doctor_ = _command(
        commands, "doctor", doctor, "what this installation is and whether it computes right", "", table
    )
    doctor_.add_argument("--brief", action="store_true", help="one line")
    return parser


_FINETUNE = """examples:
  zoptim finetune --task packaged:movie-reviews --out runs/reviews
  zoptim finetune --data mine.csv --template '{text} It was' --candidates ' terrible, great' --out runs/mine
  zoptim finetune --model ./my-model --data qa.jsonl --completion answer --template 'Q: {question} A:'
  zoptim finetune --config run.yaml --seed 1 --out runs/again
  zoptim finetune --resume runs/mine"""


def _command(
    commands: Any, name: str, do: Callable[..., Any], summary: str, epilog: str, show: Callable[[Any], str]
) -> Parser:
    command: Parser = commands.add_parser(
        name, help=summary, description=summary[0].upper() + summary[1:] + ".", epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    command.add_argument("--json", action="store_true", help="the result as JSON")
    command.set_defaults(do=do, show=show)
    return command


def _finetune(command: Parser) -> None:
    from ..lm.config import GROUPS, Config

    command.add_argument(
        "--config", type=Path, metavar="FILE", help="settings from a YAML file; flags override it"
    )
    command.add_argument("--resume", type=Path, metavar="RUN", help="continue an interrupted run")
    command.add_argument("--dry-run", action="store_true", help="say what it would take, then stop")
    command.add_argument("--quiet", action="store_true", help="no progress")
    for group, members in Config.grouped().items():
        section = command.add_argument_group(GROUPS[group])
        for f in members:
            told = f.metadata["help"]
            if f.name == "settings":
                section.add_argument(
                    "--set", dest="settings", action="append", metavar="KEY=VALUE", help=told
                )
                continue
            if isinstance(f.default, bool):
                section.add_argument(
                    "--" + f.name.replace("_", "-"), dest=f.name, action="store_const", const=True, help=told
                )
                continue
            usual = "" if f.default in (None, "") or str(f.default) == "auto" else f" [{f.default}]"
            flag = "--" + f.name.replace("_", "-")
            bare = {"nargs": "?", "const": f.metadata["bare"]} if "bare" in f.metadata else {}
            section.add_argument(
                flag,
                dest=f.name,
                metavar=f.metadata["metavar"],
                help=(told + usual).replace("%", "%%"),
                **bare,
            )


def _resume(command: Parser) -> None:
    from ..lm.config import Config

    command.add_argument("resume", type=Path, metavar="RUN", help="the run's folder")
    command.add_argument("--quiet", action="store_true", help="no progress")
    section = command.add_argument_group("what may change")
    for f in (f for members in Config.grouped().values() for f in members if f.name in MAY_CHANGE):
        flag = "--" + f.name.replace("_", "-")
        told = f.metadata["help"].replace("%", "%%")
        section.add_argument(flag, dest=f.name, metavar=f.metadata["metavar"], help=told)


def _at(text: str) -> str | int:
    if text in ("best", "last"):
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} must be best, last, or a step number") from None


# -- the commands ---------------------------------------------------------------------------------------------


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
    from inspect import getdoc, signature

    from ..methods import SHELF, hint

    if args.name is None:
        if args.json:
            return [{k: v for k, v in card._asdict().items() if k != "make"} for card in SHELF.values()]
        lines = [f"{'method':8} {'forwards':9} {'memory':7} {'journal':8} {'arXiv':11} what it does"]
        lines += [
            f"{c.name:8} {c.forwards:9} {c.memory:7} {c.journal:8} {c.arxiv:11} {c.summary}"
            for c in SHELF.values()
        ]
        return "\n".join([*lines, "", "zoptim methods NAME explains one; --set KEY=VALUE changes a setting"])
    if args.name not in SHELF:
        raise ValueError(f"method={args.name!r} is not on the shelf{hint(args.name, SHELF)}")
    card = SHELF[args.name]
    return f"{card.name}{signature(card.make)}\n{card.paper} (arXiv {card.arxiv})\n\n{getdoc(card.make)}"


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


if __name__ == "__main__":
    main()

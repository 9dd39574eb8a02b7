"""The words of the command line: every command, its flags, its help; the closest one where a word is unknown.

What a flag of `finetune` means comes from `lm.fields`, never from here.  Not here: what a command does (`commands`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from .. import __version__
from .commands import (
    answers,
    doctor,
    evaluate,
    export,
    finetune,
    log,
    methods,
    predict,
    replay,
    report,
    resume,
    runs,
    sharpness,
    table,
    undo,
)


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
            from ..lm.fields import ELSEWHERE

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


def parser() -> Parser:
    """All commands and their flags."""
    words = Parser(
        prog="zoptim",
        description="Improve anything you can run, by forward passes only.",
        epilog="Start with: zoptim finetune --task packaged:movie-reviews --out runs/first",
    )
    words.add_argument("--version", action="version", version=f"zoptim {__version__}")
    words.add_argument("--debug", action="store_true", help="show tracebacks")
    commands = words.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    words.set_defaults(do=lambda args: words.format_help().rstrip())
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
            "sharpness",
            sharpness,
            "the trace of the Hessian of a run's loss, by forward passes",
            "zoptim sharpness RUN --probes 128",
            table,
        ),
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
            "rebuild a run's weights from base and journal, without a forward (gradients are taken again)",
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
        if name in ("predict", "eval", "sharpness", "export", "replay"):
            command.add_argument("--at", type=_at, help="best (on dev), last, or a step number")
        if name == "predict":
            command.add_argument("texts", nargs="*", metavar="TEXT")
            command.add_argument("--file", type=Path, help="one text a line")
        if name == "eval":
            command.add_argument("--split", default="test", choices=("train", "dev", "test"))
        if name == "sharpness":
            _sharpness(command)
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
    return words


_FINETUNE = """examples:
  zoptim finetune --task packaged:movie-reviews --out runs/reviews
  zoptim finetune --data mine.csv --template '{text} It was' --candidates ' terrible, great' --out runs/mine
  zoptim finetune --model ./my-model --data qa.jsonl --completion answer --template 'Q: {question} A:'
  zoptim finetune --model ./my-llama --dtype bfloat16 --stream --train all --data mine.csv --template '{text} It was' \\
      --candidates ' terrible, great' --out runs/streamed
  zoptim finetune --task packaged:movie-reviews --method hizoo --set n=4 --set alpha=1e-6 --out runs/hizoo
  zoptim finetune --task packaged:movie-reviews --method qzo --quantize int4 --out runs/int4
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
    from ..lm.config import Config
    from ..lm.fields import GROUPS

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
            usual = "" if f.default in (None, "") else f" [{f.default}]"
            flag = "--" + f.name.replace("_", "-")
            bare = {"nargs": "?", "const": f.metadata["bare"]} if "bare" in f.metadata else {}
            section.add_argument(
                flag,
                dest=f.name,
                metavar=f.metadata["metavar"],
                help=(told + usual).replace("%", "%%"),
                **bare,
            )


def _sharpness(command: Parser) -> None:
    command.add_argument("--split", default="train", choices=("train", "dev"))
    command.add_argument("--probes", type=int, metavar="N", help="random directions, two forwards each [64]")
    command.add_argument("--examples", type=int, metavar="N", help="of the split, at most [256]")
    command.add_argument(
        "--radius", type=float, metavar="X", help="how far is looked, in weight; else chosen by measuring"
    )


def _resume(command: Parser) -> None:
    from ..lm.config import Config
    from ..lm.fields import MAY_CHANGE

    command.add_argument("resume", type=Path, metavar="RUN", help="the run's folder")
    command.add_argument("--quiet", action="store_true", help="no progress")
    section = command.add_argument_group("what may change")
    for f in (f for members in Config.grouped().values() for f in members if f.name in MAY_CHANGE):
        flag = "--" + f.name.replace("_", "-")
        told = f.metadata["help"].replace("%", "%%")
        if isinstance(f.default, bool):
            section.add_argument(
                flag, dest=f.name, action=argparse.BooleanOptionalAction, default=None, help=told
            )
        else:
            section.add_argument(flag, dest=f.name, metavar=f.metadata["metavar"], help=told)


def _at(text: str) -> str | int:
    if text in ("best", "last"):
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} must be best, last, or a step number") from None

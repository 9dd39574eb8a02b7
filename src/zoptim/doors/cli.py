"""The command line: `zoptim COMMAND ...`.

A door only: `words` knows what may be written, `commands` what is then called; here results become text and
errors a line and an exit code.  Nothing heavy is imported before a command needs it.  Exit codes: 0 done, 1 the
run failed, 2 the request cannot be served, 130 Ctrl-C.  stdout is data, stderr is for people; `--debug` (or
ZOPTIM_DEBUG=1) shows tracebacks.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from .words import parser

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the `zoptim` command."""
    sys.path.insert(0, os.getcwd())  # --objective python:mine:function means mine.py right here
    sys.exit(run(list(sys.argv[1:] if argv is None else argv)))


def run(argv: list[str]) -> int:
    """Do what the words say; returns the exit code."""
    debug = "--debug" in argv or os.environ.get("ZOPTIM_DEBUG") == "1"
    try:
        args = parser().parse_args([a for a in argv if a != "--debug"])
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


if __name__ == "__main__":
    main()

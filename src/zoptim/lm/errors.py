"""What can go wrong with a run, as one line that names the argument, the value and the remedy.

Two kinds only: `UsageError` (the request cannot be served: exit code 2) and `RunError` (the request
was sound, the run failed: exit code 1).  Not here: bugs, which stay ordinary exceptions.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UsageError(ValueError):
    """The request cannot be served as it stands; the message says what to change."""

    exit_code = 2


class RunError(RuntimeError):
    """A sound request failed while it ran; the message says what happened and what is kept."""

    exit_code = 1


def closest(name: str, known: Iterable[str]) -> str:
    """The end of an error message about an unknown name: the nearest known ones, else all of them.

    Example:
        >>> closest("fzo", ["mezo", "fzoo"])
        'did you mean "fzoo" or "mezo"?'
        >>> closest("adam", ["mezo", "fzoo"])
        'known: fzoo, mezo'
    """
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.55)
    if near:
        return "did you mean " + " or ".join(f'"{n}"' for n in near) + "?"
    return "known: " + ", ".join(names)

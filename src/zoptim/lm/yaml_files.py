"""YAML files of settings: a mapping of plain values, read and written; PyYAML is imported when one is.

Not here: what the settings mean (`fields.py`).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from zoptim.lm.errors import UsageError


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, as plain values.

    Raises:
        UsageError: no such file, not YAML (with the line), or not a mapping.
    """
    yaml = _yaml()
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        folder = path.parent
        there = [p.name for p in folder.iterdir()] if folder.is_dir() else []
        near = difflib.get_close_matches(path.name, there, n=1)
        hint = f'did you mean "{folder / near[0]}"?' if near else "check the path"
        raise UsageError(f"config={str(path)!r}: no such file; {hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"config={str(path)!r}: cannot be read ({error}); give a YAML file") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or "not YAML"
        raise UsageError(f"config={str(path)!r}{line}: {what}; write it as name: value lines") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UsageError(f"config={str(path)!r}: holds no settings; write it as name: value lines")
    return values


def yaml_text(values: Mapping[str, Any]) -> str:
    """`values` as lines of `name: value`, in their order."""
    text: str = _yaml().safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=10**6)
    return text


def _yaml() -> Any:
    try:
        return import_module("yaml")
    except ImportError:
        raise UsageError("config: YAML needs PyYAML; install it with: pip install 'zoptim[lm]'") from None

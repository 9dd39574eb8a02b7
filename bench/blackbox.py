"""docs/blackbox.md, from bench/results and nothing else: what `minimize` and its methods reach, proof by proof.

    python -m bench.blackbox [--check]

A section a bench, each by the bench's own `section(found)`; what is not measured yet says which command does it.
`--check` writes nothing and fails where the committed page is another one.  Not here: any measurement; performance
(`page`), the shelf on a language model (`shelf_page`).
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bench import coco, common

PAGE = Path(__file__).parent.parent / "docs" / "blackbox.md"

INTRO = """# Black boxes, measured

What `zoptim.minimize` and the methods for sums, sets, games and manifolds reach, beside others in the same run. Every number is
read from `bench/results/`; each section names the command that measures it again. Rendered by `python -m bench.blackbox`, not
edited by hand. What loses is shown like what wins.
"""


class Section(NamedTuple):
    """A bench and its heading; its module has `section(found)`."""

    name: str
    title: str
    command: str


SECTIONS = (
    Section("coco", "COCO: 24 functions at 30 evaluations a dimension", "python -m bench.coco"),
    Section("sums", "Finite sums under a penalty", "python -m bench.sums --save"),
    Section(
        "frank_wolfe", "Sets with a linear minimum only: Frank-Wolfe", "python -m bench.frank_wolfe --save"
    ),
    Section(
        "structured",
        "Saddles, manifolds, games and problems in problems, against exact answers",
        "python -m bench.structured --save",
    ),
    Section(
        "constrained",
        "Constraints that only queries tell: problems of Hock and Schittkowski",
        "python -m bench.constrained --save",
    ),
    Section("overhead", "What a point costs beside the function", "python -m bench.overhead --save"),
)


def result(name: str) -> dict[str, Any] | None:
    """What a bench has saved; of COCO, whose cells are files, all of them."""
    if name == "coco":
        return coco.saved()
    path = common.RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def conditions(name: str, found: Mapping[str, Any]) -> str:
    """Command, date, machine."""
    at = found.get("machine", {})
    where = [
        f"{at[key]}{unit}" for key, unit in (("cpu", ""), ("cores", " cores"), ("kernels", "")) if key in at
    ]
    where += [f"{library} {at[library]}" for library in ("numpy", "python") if library in at]
    took = f", {found['duration_seconds']:,} s" if "duration_seconds" in found else ""
    command = found.get("command", f"python -m bench.{name}")
    return f"`{command}` on {found['date'][:10]}{took}.\n<sub>{'; '.join(where)}</sub>\n"


def render() -> str:
    """The page."""
    parts = [INTRO]
    for name, title, command in SECTIONS:
        parts.append(f"## {title}\n")
        found = result(name)
        if found is None:
            parts.append(f"Not measured yet: `{command}` does it.\n")
            continue
        parts += [importlib.import_module(f"bench.{name}").section(found), conditions(name, found)]
    return "\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.blackbox", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail where the page would change"
    )
    text = render()
    if parser.parse_args().check:
        same = PAGE.is_file() and PAGE.read_text() == text
        print("the page is what the results say" if same else f"not what the results say: {PAGE}")
        return 0 if same else 1
    PAGE.write_text(text)
    print(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""docs/performance.md and its plots, from bench/results/*.json and nothing else.

    python -m bench.page [--check]

A section a bench: what it asks, the command, when and where, a table, a plot (bench/results/NAME.svg).  What is not
measured yet says which command measures it.  The sections of step, memory and peers are in `sections.py`;
a bench that has `plot(result, path)` draws itself; anything else is shown as the tables its JSON holds.
`--check` writes nothing and fails where the committed page is another one.  Not here: any measurement.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from bench import common, others, sections

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"

INTRO = """# Performance

What a step costs here, beside what it is made of, the least this machine could take, MeZO as its authors published it,
and other packages. Every number is read from `bench/results/*.json`; `make bench` measures all of it again and
renders this page (`python -m bench.page`), so it is not edited by hand. What loses is shown like what wins.

A ratio is a median over interleaved rounds of one process, so it may be compared between machines; seconds may not.
"""


class Section(NamedTuple):
    """A result and how it is shown; `module` is the bench that makes it."""

    name: str
    title: str
    module: str
    says: str
    body: Callable[[dict[str, Any]], str]
    chart: Callable[[dict[str, Any]], str] | None = None


SECTIONS = (
    Section("step", "A step", "step",
            "A whole step (points, update, record) over the forwards it asks: as anyone would run them (*plain*), and "
            "computing only what is scored (*lean*). All weights of the model are trained.",
            sections.step, sections.step_chart),
    Section("memory", "Memory", "memory",
            "Highest resident memory after loading, two-sided and nine-point steps beside one inference forward on "
            "the same batch, each in fresh processes.", sections.memory, sections.memory_chart),
    Section("kernels", "Kernels", "kernels",
            "Noise made and added to weights in place, over a plain `w.add_(other)` of the same size.",
            others.kernels, others.kernels_chart),
    Section("precision", "Precision", "precision",
            "What half-precision weights lose when a step walks in them, and what arrives of small updates.",
            others.precision),
    Section("stream", "Bigger than memory", "stream",
            "A checkpoint trained through a window of memory, beside the same model resident.", others.stream,
            others.stream_chart),
    Section("replay", "Replay and journal", "replay",
            "Weights rebuilt from a journal, without a forward.", others.replay, others.replay_chart),
    Section("peers", "Beside other packages", "peers",
            "One two-point step of each, in turn with ours in one process, on the same model, batch and question.",
            sections.peers, sections.peers_chart),
    Section("step", "Threads", "step", "The same steps at each number of threads.", sections.threads,
            sections.threads_chart),
    Section("noise", "The noise itself", "noise_battery",
            "A battery of statistical tests on the stream; adjusted p-values, small is bad.", sections.generic),
)  # fmt: skip


def result(name: str) -> dict[str, Any] | None:
    """bench/results/NAME.json, if it is there."""
    path = common.RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def plot_name(section: Section) -> str:
    """The plot's file: NAME.svg; the threads' is their own."""
    return "threads.svg" if section.title == "Threads" else f"{section.name}.svg"


def drawn(section: Section, found: dict[str, Any]) -> str:
    """The section's SVG, or nothing."""
    module = importlib.import_module(f"bench.{section.module}")
    if hasattr(module, "plot"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "plot.svg"
            module.plot(found, path)
            return path.read_text()
    return section.chart(found) if section.chart else ""


def conditions(section: Section, found: dict[str, Any]) -> str:
    """Command, date, machine, in one line."""
    command = found.get("command", f"python -m bench.{section.module} --json --save")
    at = found.get("machine", {})
    where = [
        str(at[key]) + unit for key, unit in (("cpu", ""), ("cores", " cores"), ("kernels", "")) if key in at
    ]
    where += [f"{name} {at[name]}" for name in ("torch", "transformers", "python") if name in at]
    if "load_average" in at:
        where.append(f"load average {at['load_average'][0]} when written")
    took = f", {found['duration_seconds']} s" if "duration_seconds" in found else ""
    date = found.get("date", "")[:10] or "an unknown date"
    said = f"\n<sub>{'; '.join(where)}</sub>" if where else ""
    return f"`{command}` on {date}{took}.{said}"


def render() -> tuple[str, dict[str, str]]:
    """The page, and the plots by file name."""
    parts, plots = [INTRO], {}
    parts.append(sections.targets(result("step"), result("memory"), result("kernels")))
    for section in SECTIONS:
        parts.append(f"## {section.title}\n\n{section.says}\n")
        found = result(section.name)
        if found is None:
            parts.append(f"Not measured yet: `python -m bench.{section.module} --json --save` does it.\n")
            continue
        svg = drawn(section, found)
        if svg:
            plots[plot_name(section)] = svg
            parts.append(f"![{section.title}](../bench/results/{plot_name(section)})\n")
        parts.append(section.body(found))
        parts.append(conditions(section, found) + "\n")
    return "\n".join(parts), plots


def differing() -> list[str]:
    """Files that are not what the results render to."""
    page, plots = render()
    wanted = {PAGE: page, **{common.RESULTS / name: svg for name, svg in plots.items()}}
    return [str(path) for path, text in wanted.items() if not path.is_file() or path.read_text() != text]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.page", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail where the page would change"
    )
    options = parser.parse_args()
    if options.check:
        stale = differing()
        print(
            "\n".join(f"not what the results say: {path}" for path in stale)
            or "the page is what the results say"
        )
        return 1 if stale else 0
    page, plots = render()
    PAGE.write_text(page)
    for name, svg in plots.items():
        (common.RESULTS / name).write_text(svg)
    print(f"wrote {PAGE} and {len(plots)} plots")
    return 0


if __name__ == "__main__":
    sys.exit(main())

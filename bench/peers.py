"""Packages on PyPI that take zeroth-order or evolution steps on a CPU, beside ours in one process each.

    python -m bench.peers --json --save [--repeats 3] [--only torchzero]

Every peer is installed at a pinned version into bench/.peers/NAME, without its dependencies and apart from this
environment, and imported from there by a fresh process that also holds zoptim: the same torch, model, batch, two
points and question.  Its step and ours take turns; the ratio is the median over rounds.  Peak memory comes from a
second fresh process.  A peer that refuses is listed with its error.  How each is called: `peer_steps.py`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from bench import common, peer_steps
from bench.cases import FULL, PUBLISHED, TWO_SIDED, Subject

PLACE = Path(__file__).parent / ".peers"


class Peer(NamedTuple):
    """What is installed, and the name of the call in `peer_steps.STEPS`."""

    name: str
    folder: str
    needs: tuple[str, ...]
    note: str = ""


_TORCHZERO = ("torchzero==0.4.4", "scipy==1.17.1")  # it imports scipy without declaring it
PEERS = (
    Peer(PUBLISHED, "", (), "the plain edition in bench/mezo_published.py"),
    Peer(
        "torchzero MeZO", "torchzero", _TORCHZERO, "installs without scipy, which it imports: added by hand"
    ),
    Peer("torchzero SPSA", "torchzero", _TORCHZERO, "keeps the perturbation instead of drawing it again"),
    Peer("eggroll-es", "eggroll-es", ("eggroll-es==0.2.0",), "rank 1, the cheapest (its default is 8)"),
    Peer("torcheggroll", "torcheggroll", ("torcheggroll==0.2.0",), "rank 1, the cheapest (its default is 4)"),
)


def install(peer: Peer) -> str:
    """Its folder, filled once; pip's own message where that fails.

    Raises:
        RuntimeError: it cannot be installed.
    """
    if not peer.folder:
        return ""
    place = PLACE / peer.folder
    done, wanted = place / "installed.txt", "\n".join(peer.needs)
    if not (done.is_file() and done.read_text() == wanted):
        shutil.rmtree(place, ignore_errors=True)
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--target",
            str(place),
            *peer.needs,
        ]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode:
            said = [line for line in ran.stderr.splitlines() if line.startswith("ERROR")]
            raise RuntimeError(said[-1] if said else "pip failed")
        done.write_text(wanted)
    return str(place)


def child(options: argparse.Namespace) -> dict[str, Any]:
    """In the peer's process: clocks of both in turn, or its peak alone."""
    with tempfile.TemporaryDirectory() as folder:
        calls = Subject(options.model).on(FULL, Path(folder))
        ours = calls.step(TWO_SIDED)
        loaded = common.reset_peak()
        try:
            theirs = ours if options.child == "zoptim" else peer_steps.STEPS[options.child](calls)
            theirs()
        except Exception as error:  # whatever a stranger raises is its answer
            return {"refused": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
        if options.peak:
            theirs()  # the second finds what the first left behind
            return {"loaded": loaded, "peak": common.peak()}
        cases: dict[str, Callable[[], object]] = {"ours": ours, "theirs": theirs}
        ours()
        found = common.interleaved(cases, options.repeats, warmup=0)
    return {
        "seconds": found["theirs"]["seconds"],
        "cpu_seconds": found["theirs"]["cpu_seconds"],
        "ours_seconds": found["ours"]["seconds"],
        "times_ours": common.ratio(found["theirs"], found["ours"]),
        "times_ours_cpu": common.ratio(found["theirs"], found["ours"], clock="all_cpu_seconds"),
        "all_seconds": {name: values["all_seconds"] for name, values in found.items()},
    }


def measure(peer: Peer, options: argparse.Namespace) -> dict[str, Any]:
    """One row: its time and peak, or why there is none."""
    row = {"name": peer.name, "version": peer.needs[0] if peer.needs else "", "note": peer.note}
    given = ["--child", peer.name, "--model", options.model, "--repeats", str(options.repeats)]
    try:
        path = install(peer)
        row |= common.fresh("bench.peers", given, path=path)
        if "refused" not in row:
            row |= common.fresh("bench.peers", [*given, "--peak"], path=path)
    except RuntimeError as error:
        row["refused"] = str(error).strip().splitlines()[-1][:300]
    return row


def table(result: dict[str, Any]) -> str:
    """For people."""
    lines = [f"{'two points':20}{'seconds':>9}{'ours':>8}{'times ours':>12}{'peak MB':>9}"]
    for row in result["rows"]:
        if "refused" in row:
            lines.append(f"{row['name']:20} refused: {row['refused']}")
            continue
        lines.append(
            f"{row['name']:20}{row['seconds']:9.2f}{row['ours_seconds']:8.2f}{row['times_ours']:12.2f}"
            f"{row['peak'] / 1e6:9.0f}"
        )
    return "\n".join(lines)


def main() -> None:
    names = [peer.name for peer in PEERS]
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="packaged:smollm2-135m")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="PEER")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--save", action="store_true", help="write bench/results/peers.json")
    parser.add_argument("--child", choices=(*names, "zoptim"), help=argparse.SUPPRESS)
    parser.add_argument("--peak", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(options)))
        return
    start = time.perf_counter()
    ours = common.fresh("bench.peers", ["--child", "zoptim", "--model", options.model, "--peak"])
    rows = [measure(peer, options) for peer in PEERS if peer.name in options.only]
    for row in rows:
        if "peak" in row:
            row["peak_times_ours"] = round(row["peak"] / ours["peak"], 3)
    settings = {"model": options.model, "repeats": options.repeats, "batch": str(FULL), "points": 2}
    result = common.stamp({"settings": settings, "ours": {"name": TWO_SIDED, **ours}, "rows": rows})
    common.finish("peers", result, start, options, table)


if __name__ == "__main__":
    main()

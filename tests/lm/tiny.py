"""Small random models and a small tokenizer, built without a network: what the language tests run on."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

KINDS = ("llama", "gpt2", "opt", "qwen2")

SENTENCES = [
    "a warm and funny film about nothing and everything . It was great",
    "the plot creaks like an old ship and nobody seems to mind . It was terrible",
    "an astonishing debut , patient and precise . It was great",
    "ninety minutes of shouting , and then the sequel . It was terrible",
    "Question: is the sky green ? Yes or No ?\nAnswer: No",
    "Question: what is two plus two ?\nAnswer: four",
]
CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


@lru_cache(maxsize=1)
def _trained() -> str:
    """A byte-level BPE of about 400 tokens, as JSON."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES * 4, trainer)
    return str(tokenizer.to_str())


def tokenizer(*, bos: bool = False, pad: bool = False, chat: bool = False) -> Any:
    """A fast tokenizer; `bos`: it puts <s> in front, as Llama's and OPT's do."""
    from tokenizers import Tokenizer, processors
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer.from_str(_trained())
    if bos:
        inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    made = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>")
    if pad:
        made.pad_token = "</s>"
    if chat:
        made.chat_template = CHAT
    return made


def model(kind: str = "llama", *, layers: int = 3, tied: bool = True, seed: int = 0) -> Any:
    """A random model of one of `KINDS`, float32, eval mode; the same for the same seed."""
    import torch
    import transformers

    size = len(tokenizer())
    shape: dict[str, Any] = {
        "vocab_size": size,
        "tie_word_embeddings": tied,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    wide = {"hidden_size": 32, "num_hidden_layers": layers, "num_attention_heads": 4}
    configs = {
        "llama": lambda: transformers.LlamaConfig(
            **shape, **wide, intermediate_size=48, num_key_value_heads=2, max_position_embeddings=128
        ),
        "qwen2": lambda: transformers.Qwen2Config(
            **shape, **wide, intermediate_size=48, num_key_value_heads=2, max_position_embeddings=128
        ),
        "gpt2": lambda: transformers.GPT2Config(
            **shape, n_embd=32, n_layer=layers, n_head=4, n_positions=128
        ),
        "opt": lambda: transformers.OPTConfig(
            **shape, **wide, ffn_dim=48, word_embed_proj_dim=32, max_position_embeddings=128
        ),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = transformers.AutoModelForCausalLM.from_config(configs[kind]())
    return made.float().eval().requires_grad_(False)


def save(folder: Path, kind: str = "llama", *, chat: bool = False, bos: bool = False, **shape: Any) -> Path:
    """A saved model with its tokenizer, as `--model FOLDER` takes it."""
    model(kind, **shape).save_pretrained(folder)
    tokenizer(chat=chat, bos=bos).save_pretrained(folder)
    return folder


def gguf(path: Path) -> Path:
    """A tiny Llama as a GGUF file, its matrices in 8-bit blocks, with its tokenizer."""
    import json

    import gguf as format
    import numpy as np

    inner = json.loads(_trained())["model"]
    size, wide, deep = len(inner["vocab"]), 64, 2
    writer = format.GGUFWriter(path, "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(wide)
    writer.add_block_count(deep)
    writer.add_feed_forward_length(96)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(size)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(sorted(inner["vocab"], key=inner["vocab"].__getitem__))
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in inner["merges"]])
    writer.add_token_types([3] * 3 + [1] * (size - 3))
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(False)
    draw = np.random.default_rng(0)

    def put(name: str, *shape: int) -> None:
        values = draw.standard_normal(shape).astype(np.float32) * 0.1
        if len(shape) == 1:
            writer.add_tensor(name, values + 1)
        else:
            kind = format.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, format.quants.quantize(values, kind), raw_dtype=kind)

    put("token_embd.weight", size, wide)
    put("output_norm.weight", wide)
    for k in range(deep):
        for name, rows in {"attn_q": wide, "attn_k": 32, "attn_v": 32, "attn_output": wide}.items():
            put(f"blk.{k}.{name}.weight", rows, wide)
        for name, rows in {"ffn_gate": 96, "ffn_up": 96, "ffn_down": wide}.items():
            put(f"blk.{k}.{name}.weight", rows, wide + 96 - rows)
        put(f"blk.{k}.attn_norm.weight", wide)
        put(f"blk.{k}.ffn_norm.weight", wide)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path

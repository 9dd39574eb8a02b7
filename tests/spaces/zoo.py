"""Tiny random models of many architectures, made without a download, and one question for each kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

IDS = torch.from_numpy(np.random.default_rng(0).integers(4, 50, (3, 8)))
MASK = torch.ones_like(IDS)
MASK[1, 5:] = 0  # a padded batch
LABELS = torch.tensor([0, 2, 1])
PIXELS = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 3, 8, 8)))

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 34}
WIDE = {**SIZES, "intermediate_size": 24}
GROUPED = {**WIDE, "num_key_value_heads": 1}
HEADS = {**GROUPED, "head_dim": 8}
EXPERTS = {**GROUPED, "num_experts_per_tok": 2, "experts_implementation": "eager"}
GPT = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}
BART = {
    "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "max_position_embeddings": 32, "decoder_start_token_id": 1,
}  # fmt: skip
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 1}

LM, CLASSES, PAIRS = "CausalLM", "SequenceClassification", "Seq2SeqLM"
CONFIGS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("Llama", LM, GROUPED),
    "mistral": ("Mistral", LM, {**GROUPED, "sliding_window": 4}),
    "qwen2": ("Qwen2", LM, {**GROUPED, "tie_word_embeddings": True}),
    "qwen3": ("Qwen3", LM, HEADS),
    "gemma": ("Gemma", LM, HEADS),
    "gemma2": ("Gemma2", LM, HEADS),
    "gemma3": ("Gemma3Text", LM, HEADS),
    "phi": ("Phi", LM, WIDE),
    "phi3": ("Phi3", LM, GROUPED),
    "neox": ("GPTNeoX", LM, WIDE),
    "gptj": ("GPTJ", LM, {**GPT, "rotary_dim": 4}),
    "gpt2": ("GPT2", LM, GPT),
    "opt": ("OPT", LM, {**SIZES, "ffn_dim": 24, "word_embed_proj_dim": 8}),
    "bloom": ("Bloom", LM, {"hidden_size": 16, "n_layer": 2, "n_head": 2}),
    "falcon": ("Falcon", LM, {k: v for k, v in SIZES.items() if k != "max_position_embeddings"}),
    "olmo2": ("Olmo2", LM, WIDE),
    "mixtral": ("Mixtral", LM, {**EXPERTS, "num_local_experts": 4}),
    "qwen3moe": ("Qwen3Moe", LM, {**EXPERTS, "num_experts": 4, "moe_intermediate_size": 8, "head_dim": 8}),
    "gptoss": ("GptOss", LM, {**EXPERTS, "num_local_experts": 4, "head_dim": 8, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}),
    "bert": ("Bert", CLASSES, WIDE),
    "roberta": ("Roberta", CLASSES, WIDE),
    "distilbert": ("DistilBert", CLASSES, {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24}),
    "albert": ("Albert", CLASSES, {**WIDE, "embedding_size": 8}),
    "gpt2, classes": ("GPT2", CLASSES, GPT),
    "t5": ("T5", PAIRS, T5),
    "bart": ("Bart", PAIRS, BART),
    "debertav2": ("DebertaV2", CLASSES, {**WIDE, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]}),
    "mamba": ("Mamba", LM, {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4}),
}  # fmt: skip


def language_model(name: str) -> nn.Module:
    import transformers

    kind, head, how = CONFIGS[name]
    common = {"vocab_size": 50, "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3}
    if head == CLASSES:
        common["num_labels"] = 3
    config = getattr(transformers, f"{kind}Config")(**{**common, **how})
    torch.manual_seed(0)
    model: nn.Module = getattr(transformers, f"AutoModelFor{head}").from_config(config)
    return model


class Convolutions(nn.Module):
    """Every kind a small CNN has; `ears` hears what the picture's rows say."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect")
        self.norm, self.pool = nn.BatchNorm2d(8), nn.MaxPool2d(2)
        self.depth = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.point = nn.Conv2d(8, 6, 1, stride=2)
        self.ears, self.up = nn.Conv1d(6, 5, 2), nn.ConvTranspose1d(5, 4, 2)
        self.head = nn.Linear(4, 3)
        self.norm.running_mean.uniform_(-1, 1)  # type: ignore[union-attr, operator]
        self.norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr, operator]

    def forward(self, x: Any) -> Any:
        x = self.point(torch.relu(self.depth(self.pool(torch.relu(self.norm(self.stem(x)))))))
        return self.head(self.up(self.ears(x.flatten(2))).mean(2))


def build(name: str) -> nn.Module:
    if name != "convolutions":
        return language_model(name)
    torch.manual_seed(0)
    return Convolutions()


def question(name: str, model: nn.Module) -> Callable[[Any], Any]:
    """(view) -> per-item losses (m, B) of a padded batch."""

    def ask(view: Any) -> Any:
        dtype = next(model.parameters()).dtype
        if name == "convolutions":
            return _classes(view, model(view.expand(PIXELS.to(dtype))))
        given: dict[str, Any] = {"input_ids": view.expand(IDS), "attention_mask": view.expand(MASK)}
        head = CONFIGS[name][1]
        if head == CLASSES:
            return _classes(view, model(**given).logits)
        if head == PAIRS:
            given["decoder_input_ids"] = view.expand(IDS)
        logits = model(**given, use_cache=False).logits.double()
        picked = view.expand(IDS[:, 1:])[..., None]
        logp = torch.log_softmax(logits[:, :-1], -1).gather(-1, picked)[..., 0]
        return -view.split((logp * view.expand(MASK[:, 1:])).sum(-1)).numpy()

    return ask


def _classes(view: Any, logits: Any) -> Any:
    logp = torch.log_softmax(logits.double(), -1)
    return -view.split(logp.gather(-1, view.expand(LABELS)[:, None])[:, 0]).numpy()

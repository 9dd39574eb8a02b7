"""Names of weights: which parameters `--train PATTERN` means, where the blocks are, exact digests.

A tensor that several modules share (tied weights) has several names; its canonical name is the first
of them in sorted order, and it is listed and counted once. Not here: opening models (`models.py`),
changing weights (`engine`).
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable
from contextlib import nullcontext
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from zoptim.lm.errors import UsageError

if TYPE_CHECKING:
    from torch.nn import Module, Parameter

WORDS = {
    "all": "every floating-point parameter (of the adapter, if there is one)",
    "last-block": "the last transformer block",
    "adapter": "what --adapter added",
    "final-norm": "the normalisation between the last block and the head: a few hundred numbers",
    "norms": "weights and biases of normalisation layers",
    "scales": "the scales of quantised layers (--quantize)",
}


def parameters(model: Module) -> dict[str, tuple[Parameter, tuple[str, ...]]]:
    """What may be trained, once each: canonical name -> (parameter, all its names), sorted by name.

    With an adapter these are the adapter's parameters alone: only they are exported.
    """
    names: dict[int, list[str]] = {}
    tensors: dict[int, Parameter] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
        tensors[id(parameter)] = parameter
    found = {min(aliases): (tensors[key], tuple(sorted(aliases))) for key, aliases in names.items()}
    if hasattr(model, "peft_config"):
        found = {name: entry for name, entry in found.items() if entry[0].requires_grad}
    return dict(sorted(found.items()))


def select(model: Module, patterns: str | Iterable[str]) -> list[tuple[str, Parameter]]:
    """The parameters a list of patterns means, by canonical name, in sorted order.

    A pattern is a word of `WORDS`, a name with wildcards (`*`, `?`, `[..]`, matched against the whole
    name, any alias), or the name of a module, which means everything in it. `!` before a pattern takes
    away; when nothing but exclusions is given, they are taken from `all`. With an adapter, all of this is
    about the adapter's parameters: `last-block` means those in the last block.

    Args:
        model: with its adapter, if any.
        patterns: a list, or one text with commas: `"last-block,*norm*,!*bias"`.

    Raises:
        UsageError: a pattern matches nothing, or nothing is left.

    Example:
        ``select(model, "last-block,!*mlp*")``
    """
    listed = patterns.split(",") if isinstance(patterns, str) else list(patterns)
    listed = [p.strip() for p in listed if p.strip()]
    known = parameters(model)
    wanted: set[str] = set() if any(not p.startswith("!") for p in listed) else _match(model, known, "all")
    for pattern in listed:
        if not pattern.startswith("!"):
            wanted |= _match(model, known, pattern)
    for pattern in listed:
        if pattern.startswith("!"):
            wanted -= _match(model, known, pattern[1:].strip())
    if not listed or not wanted:
        raise UsageError(f"train={','.join(listed)!r}: nothing is left to train; start with 'all'")
    return [(name, parameter) for name, (parameter, _) in known.items() if name in wanted]


def _match(model: Module, known: dict[str, tuple[Parameter, tuple[str, ...]]], pattern: str) -> set[str]:
    """Canonical names that one pattern means; refuses one that means none."""
    floating = {n for n, (p, _) in known.items() if p.is_floating_point()}
    if pattern == "all":
        found = floating
    elif pattern == "adapter":
        found = floating if hasattr(model, "peft_config") else set()
    elif pattern == "norms":
        owners = {n for n, m in model.named_modules() if "norm" in type(m).__name__.lower()}
        found = {n for n in floating if any(a.rpartition(".")[0] in owners for a in known[n][1])}
    elif pattern == "scales":
        owners = {n for n, m in model.named_modules() if type(m).__name__ == "QuantLinear"}
        found = {n for n in floating if n.endswith(".scales") and n.rpartition(".")[0] in owners}
    elif pattern == "final-norm":
        found = _final_norm(model, known)
    else:
        if pattern == "last-block":
            name, members = block_list(model)
            pattern = f"{name}.{len(members) - 1}"
        found = {n for n in floating if any(_is(alias, pattern) for alias in known[n][1])}
    if found:
        return found
    if pattern == "adapter":
        raise UsageError("train='adapter': the model has no adapter; add one with --adapter lora")
    if pattern == "scales":
        raise UsageError("train='scales': nothing that may be trained is quantised; add --quantize int4")
    raise UsageError(f"train={pattern!r}: matches no parameter; {_hint(pattern, known)}")


def _final_norm(model: Module, known: dict[str, tuple[Parameter, tuple[str, ...]]]) -> set[str]:
    """Vectors outside the blocks that belong to a normalisation, those of embeddings left out."""
    try:
        inside = block_list(model)[0] + "."
    except UsageError:
        return set()
    owners = {n for n, m in model.named_modules() if "norm" in type(m).__name__.lower() and "embed" not in n}
    return {
        n for n, (p, aliases) in known.items()
        if p.dim() == 1 and not n.startswith(inside) and any(a.rpartition(".")[0] in owners for a in aliases)
    }  # fmt: skip


def _is(name: str, pattern: str) -> bool:
    return name == pattern or name.startswith(pattern + ".") or fnmatchcase(name, pattern)


def _hint(pattern: str, known: dict[str, tuple[Parameter, tuple[str, ...]]]) -> str:
    """Near names where there are any, else examples, and the words."""
    bare = pattern.strip("*")
    inside = [n for n in known if bare and bare in n]
    if inside:
        return f"names are matched whole: try '*{bare}*' (as in {inside[0]})"
    near = difflib.get_close_matches(pattern, WORDS, n=1, cutoff=0.6)
    near += difflib.get_close_matches(bare, known, n=2, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(f'"{n}"' for n in near) + "?"
    names = list(known)
    some = ", ".join([names[0], names[len(names) // 2], names[-1]])
    return f"names look like {some}; words: {', '.join(WORDS)}"


def blocks(model: Module) -> Any:
    """The model's transformer blocks, in order, as the ModuleList that holds them.

    The longest list of modules of one class; lists inside another list's members (experts of a
    block) do not count.

    Raises:
        UsageError: the model has no such list.
    """
    return block_list(model)[1]


def block_list(model: Module) -> tuple[str, Any]:
    """The name of the blocks' ModuleList in the model, and the list: see `blocks`."""
    import torch

    lists = [(n, m) for n, m in model.named_modules() if isinstance(m, torch.nn.ModuleList) and len(m)]
    outer = [(n, m) for n, m in lists if not any(n.startswith(o + ".") for o, _ in lists)]
    alike = [(n, m) for n, m in outer if len({type(member) for member in m}) == 1]
    if not alike:
        raise UsageError(f"model={type(model).__name__}: no list of blocks found; use a decoder-only model")
    return max(alike, key=lambda pair: len(pair[1]))


def context_limit(model: Module) -> int | None:
    """The most tokens the model's positions allow, where its config says."""
    limit = getattr(model.config, "max_position_embeddings", None)
    return limit if isinstance(limit, int) and limit > 0 else None


def weights_digest(model: Module, stream: Any = None) -> str:
    """sha256 over the exact bits of a model: parameters and persistent buffers, each once.

    Fed, in order of canonical name: `name dtype 2x3`, a newline, the raw little-endian bytes.

    Args:
        model: with its weights, or on a stream.
        stream: the `spaces.streamed.Streamed` whose model it is, if it is one: tensors come by one at a time.

    Cost: reads every weight once; 0.6 s a GB where the processor has SHA instructions.
    """
    import torch

    kept = set(model.state_dict(keep_vars=True))
    named = model.named_parameters(remove_duplicate=False) if stream is None else stream.tensors()
    tensors: list[tuple[str, torch.Tensor]] = list(named)
    tensors += [(n, b) for n, b in model.named_buffers(remove_duplicate=False) if n in kept]
    seen: set[int] = set()
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors, key=lambda pair: pair[0]):
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        shape = "x".join(map(str, tensor.shape))
        digest.update(f"{name} {str(tensor.dtype).removeprefix('torch.')} {shape}\n".encode())
        with nullcontext(tensor) if stream is None else stream.reading(tensor) as values:
            flat = values.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()

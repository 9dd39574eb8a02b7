"""Tensors wherever they are in a module's arguments and answers: in tuples, lists and mappings, named or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor


def tensors(x: Any) -> Iterator[Tensor]:
    """All of them, in order."""
    if isinstance(x, Tensor):
        yield x
    elif isinstance(x, tuple | list | dict):
        for value in x.values() if isinstance(x, dict) else x:
            yield from tensors(value)


def each(x: Any, change: Callable[[Any], Any]) -> Any:
    """`change` of every entry of a tuple, list or mapping, in a container of the same kind."""
    if isinstance(x, Mapping):
        values = {key: change(value) for key, value in x.items()}
        return values if type(x) is dict else type(x)(**values)
    return type(x)(*map(change, x)) if hasattr(x, "_fields") else type(x)(map(change, x))


def each_tensor(x: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """`change` of every tensor in tuples, lists and dicts; whatever else as it is."""
    if isinstance(x, Tensor):
        return change(x)
    return each(x, lambda value: each_tensor(value, change)) if isinstance(x, tuple | list | dict) else x

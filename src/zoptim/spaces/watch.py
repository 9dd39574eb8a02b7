"""Watching a forward from outside: where does a model use a trained parameter other than by calling its module?

    Reads      notes every trained tensor that reaches a torch function outside the layer handlers
    Lookups    runs an embedding's own forward with its table lookup replaced by another

Both are torch function modes: they see calls made from Python, not what compiled code does inside.  Not here:
what is done about a read (`module.check`), how a lookup is computed at several points (`layers`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# What says nothing about values.  Properties arrive as the `__get__` of their descriptor.
HARMLESS = {
    getattr(Tensor, name).__get__
    for name in ("device", "dtype", "shape", "ndim", "requires_grad", "is_cuda", "layout", "grad")
} | {
    Tensor.dim, Tensor.size, Tensor.numel, Tensor.is_floating_point, Tensor.element_size, Tensor.is_contiguous,
    Tensor.stride,
}  # fmt: skip


class ReadDirectly(Exception):
    """An embedding's forward used its table for something else than a lookup."""


def _held(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Any]:
    for value in (*args, *kwargs.values()):
        if isinstance(value, tuple | list):
            yield from value
        else:
            yield value


class Reads(TorchFunctionMode):
    """`found`: owners of which a tensor was read while not `paused` by a layer handler."""

    def __init__(self) -> None:
        super().__init__()
        self._owners: dict[int, set[nn.Module]] = {}  # by the tensor's `id`, as long as it lives
        self._depth = 0
        self.found: set[nn.Module] = set()

    def watch(self, tensor: Tensor, owner: nn.Module) -> None:
        self._owners.setdefault(id(tensor), set()).add(owner)

    def forget(self, tensor: Tensor) -> None:
        """It is about to go; another may get its `id`."""
        self._owners.pop(id(tensor), None)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not self._depth and func not in HARMLESS:
            for x in _held(args, kwargs):
                if isinstance(x, Tensor):
                    self.found |= self._owners.get(id(x), set())
        return func(*args, **kwargs)

    @contextmanager
    def paused(self) -> Iterator[None]:
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1


class Lookups(TorchFunctionMode):
    """Inside the block `functional.embedding` with this very table is `lookup(ids)`.

    Raises:
        ReadDirectly: any other function is given the table: it would see unperturbed numbers.
    """

    def __init__(self, table: Tensor, lookup: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._table, self._lookup = table, lookup

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if any(x is self._table for x in _held(args, kwargs)):
            if func is nn.functional.embedding:
                return self._lookup(args[0] if args else kwargs["input"])
            if func not in HARMLESS:
                raise ReadDirectly
        return func(*args, **kwargs)

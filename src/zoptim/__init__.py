"""Zeroth-order optimization: improve anything you can run, by forward passes only.

    function    zoptim.minimize(fun, x0)            anything that only answers questions; zoptim.Search asks and is told
    games       zoptim.minimax(fun, x0, y0)         x lowers, y raises; zoptim.bilevel(upper, lower, x0, y0)
    studies     zoptim.OptunaSampler()              trials of Optuna; zoptim.NevergradOptimizer() likewise
    method      zoptim.mezo, zoptim.fzoo            the shelf: one function a paper
    model       zoptim.finetune(config)             a language model, as the command does
    own loop    zoptim.Optimizer(model, method)     torch.optim-shaped
    inside      zoptim.blackbox_layer(f, seed=0)    a function without derivatives inside a torch network
    sharpness   zoptim.hessian_trace(space, f)      the trace of the Hessian, from losses

Importing zoptim imports neither torch nor transformers; names are fetched when they are first used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .doors.blackbox_layer import blackbox_layer
    from .doors.minimax import bilevel, minimax
    from .doors.minimize import minimize
    from .doors.nevergrad_optimizer import NevergradOptimizer
    from .doors.optimizer import Optimizer
    from .doors.optuna_sampler import OptunaSampler
    from .doors.scipy_method import scipy
    from .doors.search import Search
    from .engine import Run
    from .journal import Journal
    from .lm.config import Config
    from .lm.finetune import finetune, resume
    from .method import Method
    from .methods import fzoo, lozo, mezo
    from .sharpness import hessian_trace
    from .testing import check_method

_WHERE = {
    "mezo": "methods", "fzoo": "methods", "lozo": "methods",
    "Config": "lm.config", "finetune": "lm.finetune", "resume": "lm.finetune",
    "minimize": "doors.minimize", "minimax": "doors.minimax", "bilevel": "doors.minimax", "Search": "doors.search", "scipy": "doors.scipy_method",
    "OptunaSampler": "doors.optuna_sampler", "NevergradOptimizer": "doors.nevergrad_optimizer",
    "Optimizer": "doors.optimizer", "blackbox_layer": "doors.blackbox_layer",
    "Journal": "journal", "Method": "method", "Run": "engine", "check_method": "testing",
    "hessian_trace": "sharpness",
}  # fmt: skip
_MODULES = ("manifolds", "methods", "rules", "sets")  # `import zoptim` is enough for zoptim.sets.Simplex()

__all__ = [
    "Config", "Journal", "Method", "NevergradOptimizer", "Optimizer", "OptunaSampler", "Run", "Search", "bilevel", "blackbox_layer", "check_method",
    "finetune", "fzoo", "hessian_trace", "lozo", "mezo", "minimax", "minimize", "resume",
    "scipy",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name not in _WHERE:
        raise AttributeError(
            f"module 'zoptim' has no attribute {name!r}", name=name, obj=sys.modules[__name__]
        )
    try:
        return getattr(import_module(f".{_WHERE[name]}", __name__), name)
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "transformers", "safetensors"):
            raise
        raise ImportError(
            f"zoptim.{name} needs {error.name}: pip install 'zoptim[lm]'", name=error.name
        ) from error


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES, "__version__"])

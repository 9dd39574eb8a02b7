"""The entrants of the COCO comparison: each a function that asks f until BudgetOver.

    entrant(f, x0, budget, bounds, seed) -> None

Peers are used as their documentation has it, with what is known to be better for them here: local methods of SciPy
that stop before the budget begin again at a uniform point; step sizes are the packages' defaults, scaled to the box
where a package has none.  Plain SPSA follows Spall's gains.  What it is not: the counting (`coco_problem`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.coco_problem import Array, Counted

Bounds = tuple[Array, Array]
Entrant = Callable[[Counted, Array, int, Bounds, int], None]

FIRST_STEP = 0.3  # of an SPSA iteration, in the box's [-5, 5]
PILOTS = 10  # pairs that scale SPSA's gain


def zoptim(f: Counted, x0: Array, budget: int, bounds: Bounds, seed: int) -> None:
    """`minimize` as it comes: method="auto"."""
    from zoptim import minimize

    minimize(f, x0, bounds=list(zip(*bounds, strict=True)), budget=budget, seed=seed)


def random_search(f: Counted, x0: Array, budget: int, bounds: Bounds, seed: int) -> None:
    """Uniform in the box, x0 first."""
    rng = np.random.default_rng(seed)
    f(x0)
    while True:
        f(rng.uniform(*bounds))


def spsa(f: Counted, x0: Array, budget: int, bounds: Bounds, seed: int) -> None:
    """x -= a_k (f(x + c_k z) - f(x - c_k z)) / (2 c_k) z, signs z, Spall's gains; a from a few pilot pairs."""
    rng = np.random.default_rng(seed)
    steps = budget // 2
    first, c = 0.1 * steps, 0.1
    x = x0.copy()
    f(x)

    def slope(c_k: float) -> tuple[float, Array]:
        z = rng.choice((-1.0, 1.0), x.size)
        return (f(x + c_k * z) - f(x - c_k * z)) / (2 * c_k), z

    size = np.mean([abs(slope(c)[0]) for _ in range(PILOTS)])
    a = FIRST_STEP * (1 + first) ** 0.602 / max(size, 1e-300)
    for k in range(steps):
        g, z = slope(c / (k + 1) ** 0.101)
        x = np.clip(x - a / (k + 1 + first) ** 0.602 * g * z, *bounds)


def scipy_local(method: str, **options: Any) -> Entrant:
    """A local method of SciPy, again from a uniform point when it stops."""

    def entrant(f: Counted, x0: Array, budget: int, bounds: Bounds, seed: int) -> None:
        from scipy.optimize import minimize

        rng = np.random.default_rng(seed)
        box = list(zip(*bounds, strict=True))
        x = x0
        while True:
            before = f.calls
            simplex = {"initial_simplex": _simplex(x, bounds)} if method == "Nelder-Mead" else {}
            minimize(f, x, method=method, bounds=box, options={**options, **simplex})
            if f.calls == before:
                return
            x = rng.uniform(*bounds)

    return entrant


def _simplex(x: Array, bounds: Bounds) -> Array:
    """x and a step of a tenth of the box along each number: SciPy's own first simplex at 0 is 0.00025 wide, in a box of 10."""
    step = 0.1 * (bounds[1] - bounds[0])
    return np.vstack([x, x + np.diag(np.where(x + step > bounds[1], -step, step))])


def cma_es(f: Counted, x0: Array, budget: int, bounds: Bounds, seed: int) -> None:
    """pycma, sigma 2 (a fifth of the box), its own restarts with growing populations."""
    import cma  # type: ignore[import-not-found]

    options = {"bounds": list(bounds), "seed": seed + 1, "verbose": -9, "maxfevals": budget, "tolfun": 1e-12}
    f(x0)
    cma.fmin(f, x0, 2.0, options, restarts=9, bipop=False)


def nevergrad(name: str) -> Entrant:
    """An optimizer of nevergrad, told its budget, through ask and tell."""

    def entrant(f: Counted, x0: Array, budget: int, bounds: Bounds, seed: int) -> None:
        import nevergrad as ng  # type: ignore[import-not-found]

        space = ng.p.Array(init=x0).set_bounds(*bounds)
        space.random_state = np.random.RandomState(seed)
        optimizer = ng.optimizers.registry[name](space, budget=budget)
        while True:
            candidate = optimizer.ask()
            optimizer.tell(candidate, f(candidate.value))

    return entrant


def torchzero(*modules: tuple[str, dict[str, Any]]) -> Entrant:
    """A chain of torchzero's modules, on float64."""

    def entrant(f: Counted, x0: Array, budget: int, bounds: Bounds, seed: int) -> None:
        import torch
        import torchzero as tz  # type: ignore[import-not-found]

        torch.manual_seed(seed)
        x = torch.nn.Parameter(torch.tensor(x0, dtype=torch.float64))
        optimizer = tz.Optimizer([x], *(getattr(tz.m, name)(**given) for name, given in modules))

        def closure(backward: bool = True) -> torch.Tensor:
            return torch.tensor(f(x.detach().numpy()), dtype=torch.float64)

        closure()
        while True:
            optimizer.step(closure)

    return entrant


ENTRANTS: dict[str, Entrant] = {
    "zoptim": zoptim,
    "random": random_search,
    "spsa": spsa,
    "lbfgsb": scipy_local("L-BFGS-B", maxiter=10**9, maxfun=10**9, maxls=30),
    "powell": scipy_local("Powell", maxiter=10**9, maxfev=10**9),
    "neldermead": scipy_local("Nelder-Mead", maxiter=10**9, maxfev=10**9, adaptive=True),
    "cma": cma_es,
    "ngopt": nevergrad("NGOpt"),
    "oneplusone": nevergrad("OnePlusOne"),
    "twopointsde": nevergrad("TwoPointsDE"),
    "tz-fdm-lbfgs": torchzero(
        ("FDM", {"h": 1e-5, "formula": "forward2"}), ("LBFGS", {}), ("Backtracking", {})
    ),
    "tz-spsa-adam": torchzero(("SPSA", {"h": 1e-3, "n_samples": 4}), ("Adam", {}), ("LR", {"lr": 0.1})),
    "tz-gauss-adam": torchzero(
        ("GaussianSmoothing", {"h": 0.1, "n_samples": 10}), ("Adam", {}), ("LR", {"lr": 0.1})
    ),
}


def run(name: str, f: Counted) -> dict[str, Any]:
    """One entrant on one problem; its warnings are its own affair."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return f.run(ENTRANTS[name])

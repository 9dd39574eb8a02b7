"""zoptim inside nevergrad: an optimizer whose candidates are the points of a `Search`.

    optimizer = zoptim.NevergradOptimizer()(parametrization=2, budget=200)
    optimizer.minimize(f)

It searches nevergrad's standardized data, a vector around 0 with a standard deviation of about 1; bounds, logarithms and
whole numbers are nevergrad's transformations.  Not here: the search (`search`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

try:
    from nevergrad.optimization import base  # type: ignore[import-not-found, import-untyped, unused-ignore]
except ImportError as error:  # pragma: no cover
    raise ImportError("zoptim.NevergradOptimizer needs nevergrad: pip install nevergrad") from error

from ..method import Method
from .desk import Desk
from .search import Search


class _Searched(base.Optimizer):  # type: ignore[misc, unused-ignore]
    """Candidates of one search; when it is over, or all of a round is out, its best point again."""

    def __init__(
        self, parametrization: Any, budget: int | None = None, num_workers: int = 1, *, config: Any = None
    ) -> None:
        super().__init__(parametrization, budget=budget, num_workers=num_workers)
        config = config or NevergradOptimizer()
        self._desk = Desk(Search(
            np.zeros(self.dimension), config.method, budget=budget, seed=config.seed, failures="penalize",
            settings=config.settings,
        ))  # fmt: skip

    def _internal_ask_candidate(self) -> Any:
        taken = self._desk.take()
        x = self._desk.search.result().x if taken is None else taken[1]
        candidate = self.parametrization.spawn_child().set_standardized_data(
            x, reference=self.parametrization
        )
        if taken is not None:
            candidate._meta["ticket"] = taken[0]
        return candidate

    def _internal_tell_candidate(self, candidate: Any, loss: float) -> None:
        ticket = candidate._meta.pop("ticket", None)
        if ticket is not None:
            self._desk.give(ticket, loss)

    def _internal_tell_not_asked(self, candidate: Any, loss: float) -> None:
        self._desk.add(candidate.get_standardized_data(reference=self.parametrization), loss)


class NevergradOptimizer(base.ConfiguredOptimizer):  # type: ignore[misc, unused-ignore]
    """Args:
        method: as in `zoptim.minimize`.
        seed: of the directions.
        settings: of the named method.

    Example:
        >>> found = NevergradOptimizer()(parametrization=2, budget=60).minimize(lambda x: float(((x - 0.5) ** 2).sum()))
        >>> bool(abs(found.value - 0.5).max() < 1e-5)
        True
    """

    def __init__(
        self, method: str | Method = "auto", *, seed: int = 0, settings: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(
            _Searched, {"method": str(method), "seed": seed, "settings": dict(settings or {})}, as_config=True
        )
        self.method, self.seed, self.settings = method, seed, dict(settings or {})

"""zoptim inside Optuna: a sampler whose trials are the points of a `Search`.

    study = optuna.create_study(sampler=zoptim.OptunaSampler(budget=200))
    study.optimize(objective, n_trials=200)

Floats and whole numbers are searched together in [0, 1]^d (log scales by their logarithm, whole numbers rounded);
categories, and parameters that come and go, are drawn at random.  The search begins at the best of the trials that
are complete, so one at random where there are none.  Not here: the search (`search`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from threading import Lock
from typing import Any

import numpy as np

try:
    import optuna  # type: ignore[import-not-found, unused-ignore]
except ImportError as error:  # pragma: no cover
    raise ImportError("zoptim.OptunaSampler needs Optuna: pip install optuna") from error

from ..method import Method
from .desk import Desk
from .search import Search

Distribution = optuna.distributions.BaseDistribution
NUMBERS = (optuna.distributions.FloatDistribution, optuna.distributions.IntDistribution)


class OptunaSampler(optuna.samplers.BaseSampler):  # type: ignore[misc, unused-ignore]
    """Args:
        method: as in `zoptim.minimize`.
        budget: trials in all; methods plan with it.  After them trials are at random.
        seed: of directions and of random trials.
        settings: of the named method.

    A failed or pruned trial counts as a high value.  Trials that run at the same time get different points of a round,
    or random ones where all of it is out.  A sampler made anew for a stored study begins again at its best trial.

    Raises:
        ValueError: a study of several objectives.

    Example:
        >>> import optuna
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> study = optuna.create_study(sampler=OptunaSampler(budget=60))
        >>> study.optimize(lambda trial: (trial.suggest_float("x", -5, 5) - 1) ** 2, n_trials=60)
        >>> study.best_value < 1e-6
        True
    """

    def __init__(
        self, method: str | Method = "auto", *, budget: int | None = None, seed: int = 0,
        settings: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.method, self.budget, self.seed, self.settings = method, budget, seed, dict(settings or {})
        self._random = optuna.samplers.RandomSampler(seed=seed)
        self._space = optuna.search_space.IntersectionSearchSpace()
        self._names: dict[str, Distribution] = {}
        self._desk: Desk | None = None
        self._tickets: dict[int, int] = {}  # trial number -> ticket
        self._lock = Lock()  # of what opens the search

    # -- what Optuna asks ----------------------------------------------------------------------------

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Distribution]:
        if len(study.directions) > 1:
            raise ValueError(f"study: {len(study.directions)} objectives; zoptim's sampler has one")
        if not self._names:
            found = self._space.calculate(study)
            self._names = {k: v for k, v in found.items() if isinstance(v, NUMBERS) and not v.single()}
        return self._names

    def sample_relative(
        self, study: Any, trial: Any, search_space: dict[str, Distribution]
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        with self._lock:
            self._desk = self._desk or self._opened(study)
        taken = self._desk.take()
        if taken is None:
            return {}
        self._tickets[trial.number], x = taken
        return {name: _param(d, u) for (name, d), u in zip(search_space.items(), x.tolist(), strict=True)}

    def sample_independent(
        self, study: Any, trial: Any, param_name: str, param_distribution: Distribution
    ) -> Any:
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
        if self._desk is None:
            return
        value = None if not values or state != optuna.trial.TrialState.COMPLETE else _sign(study) * values[0]
        ticket = self._tickets.pop(trial.number, None)
        if ticket is not None:
            self._desk.give(ticket, value)
        elif value is not None and self._names.keys() <= trial.params.keys():
            self._desk.add(self._place(trial.params), value)

    def reseed_rng(self) -> None:
        self._random.reseed_rng()

    # -- the search ------------------------------------------------------------------------------------

    def _opened(self, study: Any) -> Desk:
        """A search from the best complete trial."""
        complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        known = [
            t
            for t in complete
            if t.values and math.isfinite(t.values[0]) and self._names.keys() <= t.params.keys()
        ]
        best = min(known, key=lambda t: _sign(study) * t.values[0], default=None)
        x0 = np.full(len(self._names), 0.5) if best is None else self._place(best.params)
        left = None if self.budget is None else max(1, self.budget - len(complete))
        return Desk(Search(
            x0, self.method, bounds=(0.0, 1.0), budget=left, seed=self.seed, failures="penalize",
            settings=self.settings,
        ))  # fmt: skip

    def _place(self, params: Mapping[str, Any]) -> np.ndarray:
        return np.array([_unit(d, params[name]) for name, d in self._names.items()])


def _sign(study: Any) -> float:
    return -1.0 if study.direction == optuna.study.StudyDirection.MAXIMIZE else 1.0


def _ends(d: Any) -> tuple[float, float]:
    """Where 0 and 1 are; a whole number has half a step to either side."""
    half = 0.5 if isinstance(d, optuna.distributions.IntDistribution) else 0.0
    low, high = d.low - half * (d.step or 1), d.high + half * (d.step or 1)
    return (math.log(low), math.log(high)) if d.log else (low, high)


def _unit(d: Any, value: float) -> float:
    low, high = _ends(d)
    return float(np.clip(((math.log(value) if d.log else value) - low) / (high - low), 0.0, 1.0))


def _param(d: Any, u: float) -> float | int:
    low, high = _ends(d)
    value = low + u * (high - low)
    value = math.exp(value) if d.log else value
    if d.step is not None:
        value = d.low + round((value - d.low) / d.step) * d.step
    value = min(max(value, d.low), d.high)
    return int(value) if isinstance(d, optuna.distributions.IntDistribution) else float(value)

"""A sampler of Optuna's: trials are the search's points, whatever their scale, order and fate."""

from __future__ import annotations

import math

import numpy as np
import pytest

optuna = pytest.importorskip("optuna")
optuna.logging.set_verbosity(optuna.logging.WARNING)

from zoptim import OptunaSampler  # noqa: E402
from zoptim.doors.optuna_sampler import _param, _unit  # noqa: E402

FLOAT, INT = optuna.distributions.FloatDistribution, optuna.distributions.IntDistribution
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def mixed(trial):
    x = trial.suggest_float("x", -5, 5)
    y = trial.suggest_float("y", 1e-4, 1e2, log=True)
    k = trial.suggest_int("k", 0, 20)
    c = trial.suggest_categorical("c", ["a", "b"])
    return (x - 1) ** 2 + math.log10(y) ** 2 + 0.1 * (k - 7) ** 2 + (c == "a")


def study(n=80, objective=mixed, direction="minimize", **how):
    made = optuna.create_study(sampler=OptunaSampler(budget=n), direction=direction)
    made.optimize(objective, n_trials=n, **how)
    return made


def test_scales_whole_numbers_and_categories():
    found = study()
    assert len(found.trials) == 80 and found.best_params["k"] == 7 and found.best_params["c"] == "b"
    assert found.best_value < 1e-3
    other = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    other.optimize(mixed, n_trials=80)
    assert found.best_value < 0.01 * other.best_value


def test_maximizing_is_minimizing_the_negative():
    up = study(direction="maximize", objective=lambda trial: -mixed(trial))
    assert [t.value for t in up.trials] == [-t.value for t in study().trials]


@pytest.mark.parametrize(
    ("d", "values"),
    [
        (FLOAT(-5, 5), [-5.0, 0.3, 5.0]),
        (FLOAT(1e-4, 1e2, log=True), [1e-4, 1.0, 1e2]),
        (FLOAT(0, 1, step=0.25), [0.0, 0.25, 1.0]),
        (INT(0, 3), [0, 1, 2, 3]),
        (INT(1, 64, log=True), [1, 5, 64]),
        (INT(0, 10, step=5), [0, 5, 10]),
    ],
)
def test_numbers_go_to_the_unit_interval_and_back(d, values):
    for value in values:
        assert _param(d, _unit(d, value)) == pytest.approx(value, rel=1e-12)
    for u in np.linspace(0.0, 1.0, 33).tolist():
        value = _param(d, u)
        assert d.low <= value <= d.high and d._contains(d.to_internal_repr(value))


def test_failed_and_pruned_trials_do_not_stop_it():
    def objective(trial):
        x = trial.suggest_float("x", -5, 5)
        if x > 3:
            raise optuna.TrialPruned
        if x < -3:
            return float("nan")
        return (x - 1) ** 2

    assert study(60, objective).best_value < 1e-4


def test_trials_at_the_same_time():
    found = study(60, n_jobs=3)
    assert len(found.trials) == 60 and found.best_value < 5.0


def test_a_sampler_made_anew_begins_at_the_best_trial():
    found = study(40)
    found.sampler = OptunaSampler(budget=120)
    best = dict(found.best_params)
    found.optimize(mixed, n_trials=1)
    first = found.trials[40].params
    assert all(first[k] == pytest.approx(best[k], abs=1e-9) for k in ("x", "y"))


def test_several_objectives_are_refused():
    many = optuna.create_study(directions=["minimize", "minimize"], sampler=OptunaSampler())
    with pytest.raises(ValueError, match="2 objectives"):
        many.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 0.0), n_trials=2)

"""`--lr auto`: units, reach, eps and lr on problems whose answers are known."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lm import little
from lm.test_finetune import events, go, header

from zoptim.lm.batches import Order
from zoptim.lm.calibrate import FLOOR, PROBES, RADIUS, WALK, calibrate
from zoptim.lm.encode import Item, Row
from zoptim.lm.errors import RunError
from zoptim.lm.forward import Outputs
from zoptim.lm.objectives import make
from zoptim.lm.scales import pack, scaled, unpack, with_scales
from zoptim.lm.session import Split
from zoptim.methods import fzoo, mezo
from zoptim.methods.moments import zo_momentum
from zoptim.noise import key_from_seed
from zoptim.protocols import Draw, Mix, Point
from zoptim.spaces.module import Module

KEY = key_from_seed(2)
D = 6
REACH = np.array([0.01, 0.1, 1.0, 3.0, 10.0, 0.5])  # how much each weight does


class Linear:
    """Log-odds x . w of two candidates: a scorer whose answers are linear in the weights.

    With one-hot rows the mean square of a move is the same for every sign probe: kappa is known exactly.
    """

    def __init__(self, x: np.ndarray, labels: np.ndarray, w: np.ndarray | None = None) -> None:
        self.x, self.labels = torch.from_numpy(x.astype(np.float32)), labels
        self.model = torch.nn.Linear(x.shape[1], 1, bias=False).requires_grad_(False)
        self.model.weight.copy_(
            torch.zeros(1, x.shape[1]) if w is None else torch.from_numpy(w.astype(np.float32))[None]
        )
        self.space = Module(self.model)
        self.asked = 0
        self.items = [Item((Row((1, 2), 2),), int(y), 1.0, (5, 6)) for y in labels]

    def __call__(
        self, view: Any, items: Any, prefix: Any = None, which: Any = None, keep_logits: bool = False
    ) -> Outputs:
        self.asked += view.m
        odds = self.model(view.expand(self.x[np.asarray(which)]))[:, 0].view(view.m, -1)
        scores = torch.log_softmax(torch.stack([torch.zeros_like(odds), odds], -1), -1)
        return Outputs(view.m, scores, None, None, torch.zeros(len(which), dtype=torch.long))

    def session(self, tmp_path: Path, **settings: Any) -> Any:
        config = little.config(tmp_path, **settings)
        goal = make(config.objective, "classification")
        return SimpleNamespace(
            space=self.space, scorer=self, splits={"train": Split([], self.items)}, config=config, goal=goal
        )

    def order(self, batch: int | None = None) -> Order:
        return Order(KEY, [2] * len(self.items), batch or len(self.items))


def one_hot(rows: int = 4) -> Linear:
    x = np.kron(np.eye(D), np.ones((rows, 1))) * REACH * math.sqrt(D)  # rms over all rows: REACH
    return Linear(x, np.repeat(np.arange(D), rows) % 2)


def run(
    problem: Linear,
    tmp_path: Path,
    method: Any = None,
    budget: int = 5000,
    batch: int | None = None,
    **kw: Any,
) -> Any:
    said: list[str] = []
    found = calibrate(
        problem.session(tmp_path, **kw), method or fzoo(n=4), problem.order(batch), KEY, budget, said.append
    )
    return found, said


# -- units and reach -----------------------------------------------------------------------------------------


def test_scales_are_one_over_reach_and_floor_normalised(tmp_path: Path) -> None:
    problem = one_hot()
    found, said = run(problem, tmp_path)
    (s,) = (unpack(v) for v in found["scales"].values())
    wanted = 1 / (REACH + 0.3 * REACH.mean())
    wanted /= np.sqrt(((wanted * REACH) ** 2).sum())
    assert FLOOR == 0.3 and s.shape == (1, D) and s.dtype == np.float32
    assert s[0] == pytest.approx(wanted, rel=2e-3)
    assert found["kappa"] == pytest.approx(1.0, rel=5e-3)  # in these units
    assert found["eps"] == pytest.approx(RADIUS, rel=5e-3)
    assert "units: 6 numbers measured" in said[0]
    assert found["forwards"] == problem.asked  # all of them are counted


def test_too_many_numbers_are_left_in_their_own_units(tmp_path: Path) -> None:
    found, said = run(one_hot(), tmp_path, budget=10 * D - 1)
    assert found["scales"] == {} and not any("units" in line for line in said)
    assert found["kappa"] == pytest.approx(np.sqrt((REACH**2).sum()), rel=5e-3)
    assert found["eps"] * found["kappa"] == pytest.approx(RADIUS, rel=1e-6)
    assert run(one_hot(), tmp_path, budget=10 * D)[0]["scales"]


@pytest.mark.parametrize("size", [1e-6, 1e-3, 1e3, 1e6])
def test_kappa_is_found_whatever_the_size_of_the_weights(tmp_path: Path, size: float) -> None:
    problem = one_hot()
    problem.x *= size
    found, _ = run(problem, tmp_path, budget=20)
    assert found["kappa"] == pytest.approx(size * np.sqrt((REACH**2).sum()), rel=5e-3)


def test_kappa_does_not_depend_on_how_many_candidates_there_are(tmp_path: Path) -> None:
    """r is pairwise log-odds: more candidates that move alike move r alike."""

    class Many(Linear):
        count = 2

        def __call__(
            self, view: Any, items: Any, prefix: Any = None, which: Any = None, keep_logits: bool = False
        ) -> Outputs:
            z = self.model(view.expand(self.x[np.asarray(which)]))[:, 0].view(view.m, -1, 1)
            noise = torch.linspace(-1, 1, self.count)
            noise = (
                (noise - noise.mean()) / noise.std(unbiased=True) / math.sqrt(2)
            )  # pairwise differences of rms 1
            return Outputs(
                view.m,
                torch.log_softmax(z * noise, -1),
                None,
                None,
                torch.zeros(len(which), dtype=torch.long),
            )

    x = np.kron(np.eye(D), np.ones((4, 1))) * REACH * math.sqrt(D)
    found = []
    for count in (2, 3, 7):
        problem = Many(x, np.zeros(4 * D, int))
        problem.count = count
        found.append(run(problem, tmp_path, budget=20)[0]["kappa"])
    assert found == pytest.approx([np.sqrt((REACH**2).sum())] * 3, rel=1e-2)


# -- lr and eps ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "steps"), [(4, 1000), (8, 100), (2, 7)])
def test_the_whole_run_walks_two_nats(tmp_path: Path, n: int, steps: int) -> None:
    found, _ = run(one_hot(), tmp_path, fzoo(n=n), budget=steps * (n + 1))
    assert WALK == 2.0 and found["lr"] * found["kappa"] * math.sqrt(steps / n) == pytest.approx(2.0, rel=1e-5)


def test_methods_that_go_further_get_a_smaller_lr_and_the_same_forecast(tmp_path: Path) -> None:
    plain, _ = run(one_hot(), tmp_path, mezo(n=4))
    far, _ = run(one_hot(), tmp_path, zo_momentum(n=4, beta=0.75))
    assert far["lr"] == pytest.approx(plain["lr"] / 4, rel=1e-6)
    assert (
        far["loss_per_step"] == pytest.approx(plain["loss_per_step"], rel=1e-6) and plain["loss_per_step"] > 0
    )


def test_plain_differences_divide_by_their_spread(tmp_path: Path) -> None:
    problem = one_hot()
    found, _ = run(problem, tmp_path, mezo(n=2, law="signs"), budget=4000)
    ((name, packed),) = found["scales"].items()
    s = unpack(packed)[0].astype(float)
    slot = problem.space.slots()[0]
    x, y = problem.x.numpy().astype(float), np.where(problem.labels == 1, 1.0, -1.0)
    differences = []
    for i in range(PROBES):
        z = np.empty((1, 1, D), np.float32)
        mezo(law="signs").directions.form(z, slot, slice(0, 1), Mix.of(((Draw(0, i), 1.0),)), None, KEY)
        plus, minus = (np.logaddexp(0, -y * (x @ (w * found["eps"] * s * z[0, 0]))).mean() for w in (1, -1))
        differences.append((plus - minus) / (2 * found["eps"]))
    spread = np.sqrt(np.mean(np.square(differences)))
    assert name == slot.name and found["spread"] == pytest.approx(spread, rel=5e-3)
    assert found["rho"] == pytest.approx(1.0, abs=1e-6)  # both batches are all examples
    assert found["lr"] == pytest.approx(2 * math.sqrt(2 / 1000) / found["kappa"] / spread, rel=1e-2)


def test_rho_is_what_two_batches_agree_on(tmp_path: Path) -> None:
    """Labels by chance: batches agree on nothing that adding examples would not wash out."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4000, D))
    told = run(Linear(x, (x @ REACH > 0).astype(int)), tmp_path, batch=40)[0]
    chance = run(Linear(x, rng.integers(0, 2, 4000)), tmp_path, batch=40)[0]
    assert told["rho"] ** 2 > 0.8 and chance["rho"] ** 2 < 0.4 and 0 <= chance["rho"] <= 1


def test_given_lr_and_eps_are_kept(tmp_path: Path) -> None:
    free, _ = run(one_hot(), tmp_path)
    lr, _ = run(one_hot(), tmp_path, lr=0.123)
    eps, _ = run(one_hot(), tmp_path, eps=0.045)
    both, _ = run(one_hot(), tmp_path, mezo(), lr=3.0, eps=1e-4)
    assert (lr["lr"], lr["eps"]) == (0.123, free["eps"])
    assert (eps["lr"], eps["eps"]) == (free["lr"], 0.045)
    assert (both["lr"], both["eps"]) == (3.0, 1e-4)


def test_probes_go_further_for_objectives_that_jump(tmp_path: Path) -> None:
    smooth, flat = (run(one_hot(), tmp_path, objective=o)[0] for o in ("loss", "accuracy"))
    assert flat["eps"] == pytest.approx(5 * smooth["eps"])


# -- when it is hopeless ---------------------------------------------------------------------------------------


def test_weights_that_do_not_matter_are_an_error(tmp_path: Path) -> None:
    problem = one_hot()
    problem.x *= 0
    for budget in (20, 5000):
        with pytest.raises(
            RunError,
            match="the trained parameters do not matter or break the model at once; choose others with --train",
        ):
            run(problem, tmp_path, budget=budget)


def test_some_weights_that_do_not_matter_are_none(tmp_path: Path) -> None:
    problem = one_hot()
    problem.x[:, 2:] = 0
    (s,) = (unpack(v) for v in run(problem, tmp_path)[0]["scales"].values())
    assert np.isfinite(s).all() and (s > 0).all()


def test_a_radius_that_rounds_away_is_an_error_where_lr_needs_it(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="eps=1e-30: probes do not change the loss.*larger --eps"):
        run(one_hot(), tmp_path, mezo(), eps=1e-30)
    assert run(one_hot(), tmp_path, mezo(), eps=1e-30, lr=0.1)[0]["lr"] == 0.1


def test_a_hopeless_signal_is_said_and_recorded(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 50))
    x[1::2] = x[0::2]
    coin = Linear(x, np.arange(400) % 2)  # every question twice, with both answers
    found, said = run(coin, tmp_path, budget=400)
    assert found["notes"] == [line for line in said if line.startswith("WARNING")]
    assert len(found["notes"]) == 1 and "forward passes alone are a bad idea here" in found["notes"][0]
    hopeful, said = run(one_hot(), tmp_path)
    assert hopeful["notes"] == [] and not any("WARNING" in line for line in said)
    assert any(f"lr {hopeful['lr']:.3g}, eps {hopeful['eps']:.3g}" in line for line in said)


# -- on a model, and as data of a run ----------------------------------------------------------------------------


def test_a_run_records_its_units_and_moves_in_them(tmp_path: Path) -> None:
    go(tmp_path / "run", steps=100, eval_every=100)
    found = header(tmp_path / "run")["calibration"]
    ((name, packed),) = found["scales"].items()
    s = unpack(packed)
    assert name == "model.norm.weight" and s.shape == (32, 1) and (s > 0).all() and s.max() > 1.2 * s.min()
    assert found["kappa"] == pytest.approx(1.0, rel=0.5)
    assert events(tmp_path / "run", "step")[0]["eps"] == found["eps"]
    go(tmp_path / "given", steps=100, eval_every=100, lr=0.01, eps=0.002)
    given = header(tmp_path / "given")["calibration"]
    assert (given["lr"], given["eps"], given["scales"]) == (0.01, 0.002, found["scales"])


def test_completions_are_measured_by_their_tokens(tmp_path: Path) -> None:
    from zoptim.lm.finetune import finetune

    finetune(little.writing(tmp_path / "run", steps=2), quiet=True)
    found = header(tmp_path / "run")["calibration"]
    assert 0 < found["kappa"] < math.inf and found["eps"] * found["kappa"] == pytest.approx(RADIUS)


def test_packed_scales_come_back_bit_for_bit() -> None:
    values = np.random.default_rng(1).standard_normal((5, 3)).astype(np.float32)
    back = unpack(pack(values))
    assert np.array_equal(back, values) and back.dtype == np.float32
    slots = one_hot().space.slots()
    method = fzoo()
    assert with_scales(method, {}, slots) is method
    assert scaled(method.directions, {}, slots) is method.directions
    ones = {slots[0].name: np.full((1, D), 2.0, np.float32)}
    made = with_scales(method, {n: pack(v) for n, v in ones.items()}, slots)
    out = np.empty((1, 1, D), np.float32)
    made.directions.form(out, slots[0], slice(0, 1), Mix.of(Point(((Draw(0, 0), 1.0),)).terms), None, KEY)
    assert np.abs(out).tolist() == [[[2.0] * D]]

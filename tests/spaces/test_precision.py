"""Half-precision weights: what visits leave alone, what updates below a rounding step become, the float32 master.

Statistics are of fixed keys, so a test that passes passes always; a correct rounding with another key would fail
one of them with the stated probability.
"""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from zoptim.directions import Dense  # noqa: E402
from zoptim.engine import Run  # noqa: E402
from zoptim.journal import Journal  # noqa: E402
from zoptim.method import Method  # noqa: E402
from zoptim.methods import mezo  # noqa: E402
from zoptim.protocols import Draw, Mix, Point, Record  # noqa: E402
from zoptim.spaces.module import Module  # noqa: E402

KEY = 5
SIGNS = Dense("signs")
HALF = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
STEP = {torch.bfloat16: 2.0**-7, torch.float16: 2.0**-10}  # between neighbors in [1, 2)


def bits(model: nn.Module) -> bytes:
    tensors = [*model.parameters(), *model.buffers()]
    return b"".join(x.detach().reshape(-1).view(torch.uint8).numpy().tobytes() for x in tensors)


def started(space: Module, method: Method, dump: bytes | None = None, until: int | None = None) -> Run:
    journal = Journal.create(None, {"key": KEY}) if dump is None else Journal(None, dump)
    return Run(space, method, journal, horizon=10, until=until)


def near_one(dtype: Any, size: int = 256) -> nn.Linear:
    """A layer whose weights lie in [1.25, 1.75], either sign: one distance of neighbors for all."""
    made = nn.Linear(size, size, bias=False)
    with torch.no_grad():
        grid = torch.arange(size * size, dtype=torch.float32).view(size, size)
        made.weight.copy_((1.25 + (grid % 51) / 102) * (1 - 2 * (grid % 2)))
    return made.to(dtype)


def summed(terms: list[tuple[Draw, float]], space: Module) -> Any:
    """sum coef z of the only slot, float64 (rows, cols)."""
    slot = space.slots()[0]
    out = torch.zeros(1, *slot.shape, dtype=torch.float64)
    SIGNS.form(out, slot, slice(0, slot.shape[0]), Mix.of(terms), None, KEY)
    return out[0]


@HALF
def test_ten_thousand_visits_change_no_bit(dtype: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).to(dtype)
    space = Module(model)
    before, x = bits(model), torch.randn(2, 4).to(dtype)
    asked = set()
    for t in range(10_000):
        with space.visit([Point(((Draw(t, 0), 1e-2),))], SIGNS, KEY) as view:
            asked.add(float(model(view.expand(x)).float().sum()))
    assert len(asked) > 20  # the visits went somewhere
    assert bits(model) == before


@HALF
def test_updates_below_half_a_step_arrive_in_expectation(dtype: Any) -> None:
    """Of 100 fresh updates of a 32nd of a step the sum arrives; rounding to the nearest loses them all.

    A rounding adds a variance of at most (step / 32) step, so the arriving share has the standard error below;
    five of them: a correct rounding fails with probability 6e-7.
    """
    layer = near_one(dtype)
    space, n = Module(layer), 100
    size = STEP[dtype] / 32
    before = layer.weight.detach().double()
    nearest = layer.weight.detach().clone()
    run = started(space, mezo(lr=1.0, law="signs"))
    terms = [(Draw(t, 0), size) for t in range(n)]
    for t, term in enumerate(terms):
        run.commit(Record("move", t, 1.0, (term,)))
        nearest = (nearest.float() - summed([term], space).float()).to(dtype)
    wanted = -summed(terms, space)
    arrived = float(((layer.weight.detach().double() - before) * wanted).sum() / wanted.square().sum())
    error = float((n * size * STEP[dtype] / wanted.square().sum()) ** 0.5)
    assert error < 0.03 and abs(arrived - 1.0) < 5 * error
    assert torch.equal(nearest.double(), before)


@HALF
def test_a_master_takes_every_update_and_the_parameter_is_its_nearest_image(dtype: Any) -> None:
    layer = near_one(dtype, 64)
    space = Module(layer, master=torch.float32)
    assert space.master_bytes == 4 * 64 * 64
    slot, before = space.slots()[0], layer.weight.detach().double()
    run = started(space, mezo(lr=0.5, law="signs"))
    terms = [(Draw(0, 0), STEP[dtype] / 32) for _ in range(40)]  # 0.6 of a step in all
    changed = 0
    for t, term in enumerate(terms):
        old, held = layer.weight.detach().clone(), space._master[slot.id].clone()
        run.commit(Record("move", t, 0.5, (term,)))
        changed += int((layer.weight != old).any())
        with space.tensor(slot) as master:
            assert master.dtype == torch.float32
            # one direction: the master moved by the regenerated sum, bit for bit
            assert torch.equal(master, held - 0.5 * summed([term], space).float())
            assert torch.equal(layer.weight, master.to(dtype))
    wanted = -0.5 * summed(terms, space)
    with space.tensor(slot) as master:
        assert float((master.double() - before - wanted).abs().max()) < 40 * 2.0**-24 * 2
    assert 0 < changed < 40  # single updates are too small to show, their sum is not


@HALF
def test_visits_read_the_half_weights_under_a_master(dtype: Any) -> None:
    layer = near_one(dtype, 64)
    space, plain = Module(layer, master=torch.float32), Module(nn.Linear(64, 64, bias=False).to(dtype))
    run = started(space, mezo(lr=1.0, law="signs"))
    run.commit(Record("move", 0, 1.0, ((Draw(0, 0), STEP[dtype] * 0.8),)))
    plain.model.load_state_dict(layer.state_dict())
    x = torch.eye(64, dtype=dtype)
    answers = []
    for one in (space, plain):
        with one.visit([Point(((Draw(1, 0), 0.25),)), Point(())], SIGNS, KEY) as view:
            answers.append(one.model(view.expand(x)))
    assert torch.equal(*answers)
    assert not torch.equal(answers[0][:64], answers[0][64:])


@HALF
@pytest.mark.parametrize("decay", [0.0, 0.1])  # fused, and through the rule
def test_a_master_replays_bitwise_at_any_step(dtype: Any, decay: float) -> None:
    def made() -> tuple[nn.Module, Module]:
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 1)).to(dtype)
        return model, Module(model, master=torch.float32)

    def masters(space: Module) -> list[Any]:
        return [copy.clone() for copy in space._master.values()]

    x = torch.linspace(-1, 1, 32).view(4, 8).to(dtype)
    method = mezo(lr=1e-3, eps=1e-2, n=2, weight_decay=decay)
    model, space = made()
    run = started(space, method)
    marks = [(bits(model), masters(space))]
    for _ in range(5):
        assert run.step(lambda view: view.split(model(view.expand(x)).float()).mean((1, 2))).kind == "move"
        marks.append((bits(model), masters(space)))
    assert marks[0][0] != marks[-1][0]
    for until in (0, 3, 5):
        other, again = made()
        started(again, method, run.journal.dump(), until)
        assert bits(other) == marks[until][0]
        assert all(map(torch.equal, masters(again), marks[until][1]))
    without, rounding = made()[0], made()[0]
    started(Module(rounding), method, run.journal.dump())
    assert bits(rounding) != marks[-1][0] and bits(without) == marks[0][0]  # the choice matters


def test_float32_parameters_beside_a_master_stay_their_own() -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False).bfloat16(), nn.Linear(4, 4, bias=False))
    space = Module(model, master=torch.float32)
    assert space.master_bytes == 64
    run = started(space, mezo(lr=1.0, law="signs"))
    before = model[1].weight.detach().clone()
    run.commit(Record("move", 0, 1.0, ((Draw(0, 0), 0.125),)))
    assert torch.allclose((model[1].weight - before).abs(), torch.full((4, 4), 0.125), rtol=1e-5)
    assert torch.equal(model[0].weight, space._master[space.slots()[0].id].bfloat16())


def test_a_master_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no trained parameter is bfloat16 or float16; leave it out"):
        Module(nn.Linear(2, 2), master=torch.float32)
    with pytest.raises(ValueError, match=r"master=torch.float64: must be torch.float32 or None"):
        Module(nn.Linear(2, 2).bfloat16(), master=torch.float64)

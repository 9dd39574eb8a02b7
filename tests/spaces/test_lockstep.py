"""Lockstep everywhere: architectures x (all weights, some) x (two points, nine) x dtype, on a padded batch."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
from spaces import zoo  # noqa: E402
from torch import nn  # noqa: E402

from zoptim.directions import Dense  # noqa: E402
from zoptim.protocols import Draw, Mix, Point  # noqa: E402
from zoptim.spaces import others  # noqa: E402
from zoptim.spaces.module import Module  # noqa: E402

KEY, EPS, SIGNS = 7, 1e-2, Dense("signs")
TWO = [Point(((Draw(0, 0), EPS),)), Point(((Draw(0, 0), -EPS),))]
NINE = [Point(()), *(Point(((Draw(0, i), EPS),)) for i in range(8))]
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 3e-2}
# Relative positions are looked up once for all rows: what such a table is at m points no row can say.
SHARED = {("t5", "all"), *((n, w) for n in ("debertav2", "mamba") for w in ("all", "some"))}
NAMES = [*zoo.CONFIGS, "convolutions"]


@cache
def original(name: str) -> nn.Module:
    return zoo.build(name)


def space_of(name: str, which: str, dtype: Any = torch.float32) -> Module:
    model = copy.deepcopy(original(name)).to(dtype)
    names = [n for n, _ in model.named_parameters()]
    if which == "some":
        names = [n for n in names if "relative" not in n and "rel_emb" not in n][::3]
    return Module(model, names)


def ask(space: Module, objective: Any, points: list[Point]) -> np.ndarray:
    answers = []
    for group in space.groups(points):
        with space.visit(group, SIGNS, KEY) as view:
            answers.append(objective(view))
    return np.concatenate(answers)


class Alone:
    m = 1

    def expand(self, x: Any) -> Any:
        return x

    def split(self, x: Any) -> Any:
        return x[None]


def by_hand(space: Module, build: Any, point: Point) -> np.ndarray:
    """A deep copy moved to the point tensor by tensor; `build` makes its objective."""
    twin = copy.deepcopy(space.model)
    own = dict(twin.named_parameters(remove_duplicate=False))
    for slot in space.slots():
        p = own[slot.name].data
        flat = p.reshape(p.shape[0] if p.dim() else 1, -1).contiguous()
        out = torch.empty(1, *flat.shape, dtype=p.dtype)
        SIGNS.form(out, slot, slice(0, len(flat)), Mix.of(point.terms), flat, KEY)
        p.copy_(out.view(p.shape))
    if isinstance(twin, Odd):
        twin.tie()  # a deep copy unties what is one tensor only in its data
    with torch.no_grad():
        return np.asarray(build(twin)(Alone()))


def bits(space: Module) -> bytes:
    tensors = [*space.model.parameters(), *space.model.buffers()]
    return b"".join(x.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() for x in tensors)


def near(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    return a.shape == b.shape and bool(np.abs(a - b).max() <= tolerance * np.abs(b).max())


CASES = [(n, w, d) for n in NAMES for w in ("all", "some") for d in (torch.float32, torch.float64)]
HALF = [(n, "all", torch.bfloat16) for n in ("llama", "gpt2", "opt", "qwen3", "bert", "convolutions")]


@pytest.mark.parametrize(("name", "which", "dtype"), CASES + HALF)
def test_lockstep(name: str, which: str, dtype: Any) -> None:
    space = space_of(name, which, dtype)
    objective, before, tolerance = zoo.question(name, space.model), bits(space), TOLERANCE[dtype]
    note = space.check(objective, NINE[:3], SIGNS, KEY)
    assert bits(space) == before
    if (name, which) in SHARED:
        assert note and "one point at a time" in note and not space.lockstep
    else:
        assert note is None and space.lockstep
    for points in (TWO, NINE):
        together = ask(space, objective, points)
        alone = np.concatenate([ask(space, objective, [p]) for p in points])
        assert near(together, alone, tolerance)
        copied = by_hand(space, lambda twin: zoo.question(name, twin), points[1])
        assert near(together[1:2], copied, tolerance) and bits(space) == before
        assert not near(together[:1], together[1:2], 1e-3 * tolerance)  # the points do differ


def test_experts_and_sinks_run_once_a_point(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    inner = others.per_point

    def watched(visit: Any, module: Any, *rest: Any) -> Any:
        seen.add(type(module).__name__)
        return inner(visit, module, *rest)

    monkeypatch.setattr(others, "per_point", watched)
    for name in ("mixtral", "gptoss", "gemma", "llama", "bart", "bert"):
        space = space_of(name, "all")
        ask(space, zoo.question(name, space.model), TWO)
    experts = {"MixtralExperts", "MixtralTopKRouter", "GptOssExperts", "GptOssTopKRouter", "GptOssAttention"}
    assert seen == experts


# -- odd models ------------------------------------------------------------------------------------------

X = torch.from_numpy(np.random.default_rng(2).normal(size=(3, 8))).float()


class Odd(nn.Module):
    """Shared, called twice and by name, owning a parameter beside its children's, non-contiguous, with counters."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.norm, self.head = nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 3)
        self.inner.weight = nn.Parameter(torch.randn(8, 8).t())
        self.shift = nn.Parameter(torch.randn(16)[::2])
        self.prompt = Prompt()
        self.register_buffer("steps", torch.tensor(3))
        self.other = nn.Linear(8, 8)
        self.tie()

    def tie(self) -> None:
        self.other.weight.data = self.inner.weight.data  # two parameters, one tensor

    def forward(self, x: Any) -> Any:
        x = self.inner(input=torch.tanh(self.inner(x))) + self.shift + self.prompt()
        return self.head(self.norm(input=self.other(x)))


class Prompt(nn.Module):
    """Given nothing, it answers with one row for everyone."""

    def __init__(self) -> None:
        super().__init__()
        self.row = nn.Parameter(torch.randn(1, 8))

    def forward(self) -> Any:
        return torch.sin(self.row)


class Lookup(nn.Module):
    """The embedding is called, and its table read once more as the head: tied by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 8)

    def forward(self, ids: Any) -> Any:
        return nn.functional.linear(torch.tanh(self.embed(ids)).mean(1), self.embed.weight)


class Normed(nn.Module):
    """A hook before the forward makes the weight out of the parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.utils.spectral_norm(nn.Linear(8, 8))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Any) -> Any:
        return self.head(torch.tanh(self.inner(x)))


class Parametrized(Normed):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))


ODD: dict[str, tuple[Any, Any, bool]] = {
    "odd": (Odd, X, True),
    "lookup": (Lookup, zoo.IDS, False),
    "normed": (Normed, X, False),
    "parametrized": (Parametrized, X, False),
}


def odd(name: str, rows: int = 3) -> tuple[Module, Any]:
    build, x, _ = ODD[name]
    torch.manual_seed(0)
    space = Module(build())

    def make(model: nn.Module) -> Any:
        return lambda view: (
            zoo._classes(view, model(view.expand(x[:rows]))) if rows == 3 else _first(view, model, x[:rows])
        )

    return space, make


def _first(view: Any, model: nn.Module, x: Any) -> Any:
    return view.split(torch.log_softmax(model(view.expand(x)).double(), -1)[:, 0]).detach().numpy()


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("name", ODD)
def test_odd_models(name: str, rows: int) -> None:
    space, make = odd(name, rows)
    objective, before = make(space.model), bits(space)
    note = space.check(objective, TWO, SIGNS, KEY)
    assert (note is None) == space.lockstep == ODD[name][2], note
    for size in (1, 2, 4, None):
        space.points_per_pass = size
        together = ask(space, objective, NINE)
        for p in (1, 8):
            assert near(together[p : p + 1], by_hand(space, make, NINE[p]), 1e-5)
    assert bits(space) == before


def test_parameters_that_share_memory() -> None:
    space, _ = odd("odd")
    assert "other.weight" not in [s.name for s in space.slots()]  # tied through its data
    assert space.model.other in space.owners
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4))
    model[1].weight.data = model[0].weight.data[:4]
    with pytest.raises(ValueError, match=r"'0.weight' and '1.weight' overlap in memory"):
        Module(model, ["0.weight"])
    Module(model, ["0.bias"])


def test_a_part_in_training_mode_is_put_to_rest() -> None:
    torch.manual_seed(0)
    model = zoo.build("convolutions")
    space = Module(model)
    model.norm.train()
    before = bits(space)
    ask(space, zoo.question("convolutions", model), TWO)
    assert bits(space) == before and not model.norm.training


def test_a_forward_given_to_one_module_is_respected() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 3))
    space, linear = Module(model), model[0]
    linear.__dict__["forward"] = lambda x: 2.0 * nn.functional.linear(x, linear.weight, linear.bias)
    with space.visit(TWO, SIGNS, KEY) as view, torch.no_grad():
        doubled = model(view.expand(X))
    del linear.__dict__["forward"]
    with space.visit(TWO, SIGNS, KEY) as view, torch.no_grad():
        assert torch.allclose(doubled, 2.0 * model(view.expand(X)), rtol=1e-6)

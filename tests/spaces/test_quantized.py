"""Quantised layers: codes and their packing, products in chunks, points in lockstep, GPTQ's layout."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from zoptim import noise  # noqa: E402
from zoptim.directions import Dense  # noqa: E402
from zoptim.engine import Run  # noqa: E402
from zoptim.journal import Journal  # noqa: E402
from zoptim.methods import mezo  # noqa: E402
from zoptim.methods.quantized import qzo  # noqa: E402
from zoptim.protocols import Draw, Point  # noqa: E402
from zoptim.spaces import layers, quantized  # noqa: E402
from zoptim.spaces.module import Module  # noqa: E402
from zoptim.spaces.quantized import QuantLinear  # noqa: E402
from zoptim.spaces.quantizing import from_gptq, layer_of, quantize, rounded  # noqa: E402

KEY, EPS = 7, 1e-3
NINE = [Point(()), *(Point(((Draw(0, i), EPS),)) for i in range(8))]


def made_up(what: str, *shape: int) -> Any:
    z = noise.normals(5, 0, 0, noise.slot_id(what), 0, int(np.prod(shape)), noise.INITIAL)
    return torch.from_numpy(z.reshape(shape).copy())


def linear(ins: int, outs: int, bias: bool = True) -> nn.Linear:
    made = nn.Linear(ins, outs, bias=bias).requires_grad_(False)
    made.weight.copy_(made_up("weight", outs, ins) * 0.1 + 0.02)
    if bias:
        made.bias.copy_(made_up("bias", outs))
    return made


def by_hand(layer: QuantLinear, codes: Any, zeros: Any) -> Any:
    """W, number by number."""
    w = np.empty((layer.out_features, layer.in_features))
    for o in range(w.shape[0]):
        for i in range(w.shape[1]):
            g = i // layer.group
            zero = 1 << (layer.bits - 1) if zeros is None else int(zeros[o, g])
            w[o, i] = float(layer.scales[o, g]) * (int(codes[o, i]) - zero)
    return w


@pytest.mark.parametrize("zeros", [True, False])
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(("ins", "group"), [(32, 8), (21, 8), (7, 128), (9, 3)])
def test_codes_stand_for_weights(ins: int, group: int, bits: int, zeros: bool) -> None:
    plain = linear(ins, 5)
    codes, scales, zero = rounded(plain.weight, bits=bits, group=min(group, ins), zeros=zeros)
    layer = QuantLinear(codes, scales, bits=bits, group=min(group, ins), zeros=zero, bias=plain.bias)
    w = by_hand(layer, codes, zero)
    np.testing.assert_allclose(layer.dequantized().numpy(), w, rtol=1e-6, atol=1e-7)
    reach = np.repeat(scales.numpy(), layer.group, axis=1)[:, :ins]
    off = np.abs(w - plain.weight.numpy()) / reach
    assert off.max() <= (1.0 if zeros else 0.5) + 1e-4  # a zero point is rounded, too
    assert off.mean() > 0.1  # something was quantised
    x = made_up("x", 3, 4, ins)
    np.testing.assert_allclose(layer(x).numpy(), x.numpy() @ w.T + plain.bias.numpy(), rtol=1e-4, atol=1e-5)


def test_four_bits_take_half_a_byte_and_scales_stay_float32() -> None:
    layer = layer_of(linear(256, 64, bias=False).to(torch.bfloat16), bits=4, group=128)
    assert layer.codes.numel() == 64 * 128 and layer.codes.dtype == torch.uint8
    assert layer.scales.shape == (64, 2) and layer.scales.dtype == torch.float32
    x = made_up("x", 2, 256).to(torch.bfloat16)
    assert layer(x).dtype == torch.bfloat16
    assert "256, 64, bits=4, group=128" in repr(layer)


def test_what_symmetric_codes_stand_for_quantises_to_the_same_codes() -> None:
    plain = linear(64, 16)
    first = layer_of(plain, bits=4, group=16, zeros=False)
    plain.weight.copy_(first.dequantized())
    again = layer_of(plain, bits=4, group=16, zeros=False)
    assert torch.equal(first.codes, again.codes)
    torch.testing.assert_close(first.scales, again.scales, rtol=1e-6, atol=0.0)


def test_a_group_of_zeros_stays_zero() -> None:
    plain = nn.Linear(8, 2, bias=False)
    with torch.no_grad():
        plain.weight.zero_()
    for zeros in (True, False):
        assert not layer_of(plain, bits=4, group=4, zeros=zeros).dequantized().any()


def test_products_do_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = layer_of(linear(40, 300), bits=4, group=16)
    x = made_up("x", 6, 40)
    whole = layer(x)
    monkeypatch.setattr(quantized, "SCRATCH", 40 * 64)
    assert len(list(layer._chunks())) == 5
    torch.testing.assert_close(layer(x), whole, rtol=1e-6, atol=1e-6)
    assert torch.equal(layer.dequantized(), torch.cat([layer.dequantized()]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bits": 3}, "bits=3 must be 4 or 8"),
        ({"group": 0}, "group=0 must be"),
        ({"scales": torch.ones(2, 3)}, r"scales \(2, 3\) must be \(2, 2\)"),
        ({"zeros": torch.ones(2, 1)}, r"zeros \(2, 1\) must be \(2, 2\)"),
        ({"codes": torch.full((2, 8), 16)}, "codes must be from 0 to 15"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], said: str) -> None:
    given = {"codes": torch.ones(2, 8, dtype=torch.long), "scales": torch.ones(2, 2), "bits": 4, "group": 4}
    with pytest.raises(ValueError, match=said):
        QuantLinear(**{**given, **change})


# -- a sparse part ------------------------------------------------------------------------------------------


def test_held_places_are_what_they_were() -> None:
    plain = linear(21, 9)
    where = torch.tensor([0, 3, 20, 21, 100, 188])
    layer = layer_of(plain, bits=4, group=8)
    rough = layer.dequantized()
    layer.hold(where, plain.weight)
    fine = layer.dequantized()
    torch.testing.assert_close(fine.view(-1)[where], plain.weight.view(-1)[where], rtol=1e-6, atol=1e-8)
    others_ = np.setdiff1d(np.arange(189), where.numpy())
    assert torch.equal(fine.view(-1)[others_], rough.view(-1)[others_])
    x = made_up("x", 4, 21)
    torch.testing.assert_close(layer(x), x @ fine.T + plain.bias, rtol=1e-5, atol=1e-5)
    layer.hold(where)
    assert torch.equal(layer.dequantized(), rough)


@pytest.mark.parametrize(
    ("where", "said"), [([1, 1], "ascend"), ([5, 2], "ascend"), ([-1], "from 0 to 188"), ([189], "0 to 188")]
)
def test_places_out_of_order_are_refused(where: list[int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        layer_of(linear(21, 9), bits=4, group=8).hold(torch.tensor(where))


# -- points -------------------------------------------------------------------------------------------------


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.norm, self.down = linear(21, 40), nn.LayerNorm(40), linear(40, 3)

    def forward(self, x: Any) -> Any:
        return self.down(torch.tanh(self.norm(self.up(x))))


def quantised(extra: bool = True, **how: Any) -> Two:
    model = Two().requires_grad_(False)
    quantize(model, 4, 8, hold={"up": torch.tensor([1, 22, 500])} if extra else None, **how)
    return model


X = made_up("batch", 5, 21)


NORMALS = Dense("normal")


def asks(space: Module) -> Any:
    """The objective: the mean square of the model's answers."""
    return lambda view: view.split(space.model(view.expand(X))).double().pow(2).mean((1, 2)).numpy()


def asked(space: Module, points: list[Point]) -> np.ndarray:
    found = []
    for group in space.groups(points):
        with space.visit(group, NORMALS, KEY) as view:
            found.append(asks(space)(view))
    return np.concatenate(found)


CHOICES = {
    "scales": ["up.scales", "down.scales"],
    "extra": ["up.extra"],
    "bias": ["down.bias", "up.bias"],
    "scales and norms": ["up.scales", "norm.weight", "norm.bias"],
    "all": None,
}


@pytest.mark.parametrize("scratch", [1 << 20, 21 * 64])
@pytest.mark.parametrize("which", list(CHOICES))
def test_lockstep_is_one_by_one_is_by_hand(which: str, scratch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantized, "SCRATCH", scratch)
    space = Module(quantised(), CHOICES[which])
    before = {k: v.clone() for k, v in space.model.state_dict().items()}
    together = asked(space, NINE)
    assert len(set(together)) == 9
    space.points_per_pass = 1
    np.testing.assert_allclose(together, asked(space, NINE), rtol=1e-5)
    by_hand = copy.deepcopy(space.model)
    for slot in space.slots():
        p = by_hand.get_parameter(slot.name)
        z = noise.normals(KEY, 0, 3, slot.id, 0, p.numel())
        p.add_(EPS * torch.from_numpy(z).view(p.shape))
    alone = by_hand(X).double().pow(2).mean()
    assert together[4] == pytest.approx(float(alone), rel=1e-5)
    assert all(torch.equal(v, space.model.state_dict()[k]) for k, v in before.items())


def test_codes_are_unpacked_once_for_all_points(monkeypatch: pytest.MonkeyPatch) -> None:
    space = Module(quantised(), ["up.scales", "down.scales"])
    seen = []
    inner = QuantLinear._unpacked

    def counted(self: QuantLinear, rows: slice, dtype: Any) -> Any:
        seen.append(self)
        return inner(self, rows, dtype)

    monkeypatch.setattr(QuantLinear, "_unpacked", counted)
    asked(space, NINE)
    assert len(seen) == 2
    assert layers._kind(space.model.up) is quantized.at_points


def test_lockstep_passes_its_check() -> None:
    space = Module(quantised())
    assert space.check(asks(space), NINE, NORMALS, KEY) is None
    assert space.lockstep and not space.swapped


def test_qzo_trains_scales_and_stops_at_zero() -> None:
    space = Module(quantised(extra=False), ["up.scales", "down.scales"])
    codes = space.model.up.codes.clone()
    run = Run(space, qzo(lr=3e-4, eps=1e-4), Journal.create(None, {"key": 3}), horizon=400)
    first = asked(space, [Point(())])[0]
    for _ in range(400):
        run.step(asks(space))
    assert asked(space, [Point(())])[0] < 0.7 * first
    assert torch.equal(space.model.up.codes, codes)
    assert min(float(space.model.get_parameter(s.name).min()) for s in space.slots()) >= 0.0
    again = Module(quantised(extra=False), ["up.scales", "down.scales"])
    Run(again, run.method, Journal(None, run.journal.dump()), horizon=400)
    assert torch.equal(again.model.up.scales, space.model.up.scales)


def test_unclipped_qzo_is_mezo_while_scales_are_positive() -> None:
    found = []
    for method in (qzo(1e-5, 1e-4, clip=float("inf")), mezo(1e-5, 1e-4)):
        space = Module(quantised(), ["up.scales", "down.scales"])
        run = Run(space, method, Journal.create(None, {"key": 3}), horizon=9)
        for _ in range(9):
            run.step(asks(space))
        found.append(torch.cat([space.model.up.scales.view(-1), space.model.down.scales.view(-1)]))
    assert (found[0] > 0).all() and torch.equal(*found)


# -- models -------------------------------------------------------------------------------------------------


def test_quantize_swaps_what_it_may() -> None:
    model = nn.Sequential(nn.Embedding(9, 8), nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 9, bias=False))
    model[3].weight = model[0].weight  # a tied head
    assert quantize(model, 8, 4) == ["1"]
    assert isinstance(model[1], QuantLinear) and isinstance(model[3], nn.Linear)
    with pytest.raises(ValueError, match="no linear layer"):
        quantize(model, 8, 4)
    with pytest.raises(ValueError, match="hold: 'nothing' is no layer"):
        quantize(Two(), 4, 8, skip=["up"], hold={"nothing": torch.tensor([0])})
    other = Two()
    assert quantize(other, 4, 8, skip=["u*"]) == ["down"]


def test_gpt2s_transposed_layers() -> None:
    transformers = pytest.importorskip("transformers")
    conv = transformers.pytorch_utils.Conv1D(6, 8).requires_grad_(False)
    made = layer_of(conv, bits=8, group=4)
    x = made_up("x", 3, 8)
    torch.testing.assert_close(made(x), conv(x), rtol=1e-2, atol=1e-3)
    model = nn.Sequential(conv)
    assert quantize(model, 8, 4) == ["0"]


# -- GPTQ's layout ------------------------------------------------------------------------------------------


def packed(small: np.ndarray, bits: int) -> Any:
    """(n, m) small numbers -> (n bits / 32, m) int32, the first row in the lowest bits: as the tools write it."""
    words = 32 // bits
    out = np.zeros((small.shape[0] // words, small.shape[1]), np.uint32)
    for i, row in enumerate(small.astype(np.uint32)):
        out[i // words] |= row << np.uint32(bits * (i % words))
    return torch.from_numpy(out.view(np.int32))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("bits", [4, 8])
def test_gptq_tensors(bits: int, version: int) -> None:
    ins, outs, group, top = 64, 32, 16, (1 << bits) - 1
    draw = np.random.default_rng(0)
    codes = draw.integers(0, top + 1, (ins, outs))
    zeros = draw.integers(1, top + 1, (ins // group, outs))
    scales = draw.uniform(0.01, 0.1, (ins // group, outs)).astype(np.float16)
    w = scales.astype(np.float32)[np.arange(ins) // group] * (codes - zeros[np.arange(ins) // group])
    given = {
        "qweight": packed(codes, bits), "qzeros": packed((zeros - (2 - version)).T, bits).T,
        "scales": torch.from_numpy(scales), "bits": bits, "version": version,
    }  # fmt: skip
    layer = from_gptq(**given, g_idx=torch.arange(ins, dtype=torch.int32) // group)
    np.testing.assert_allclose(layer.dequantized().numpy(), w.T, rtol=1e-6)
    assert layer.group == group and layer.scales.dtype == torch.float32
    with pytest.raises(ValueError, match="g_idx: the inputs are grouped in activation order"):
        from_gptq(**given, g_idx=torch.arange(ins) % (ins // group))
    with pytest.raises(ValueError, match="do not fit together"):
        from_gptq(**{**given, "qzeros": given["qzeros"][:, :1]})
    with pytest.raises(ValueError, match="version=3"):
        from_gptq(**{**given, "version": 3})

"""Probes, coefficients, rules, schedules, mixes and settings: the small parts, one by one."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoptim.coefficients import Central, Chain, Clip, Forward, OverSpread, Votes
from zoptim.directions import Dense
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.methods import SHELF, build, fzoo, mezo
from zoptim.methods.moments import zo_signsgd
from zoptim.probes import OneSided, TwoSided
from zoptim.protocols import Draw, Mix, Now, Point, Record, Slot, Stride, Weighing, chunks
from zoptim.rules import Descent
from zoptim.schedules import SCHEDULES, constant, cosine, linear
from zoptim.spaces.flat import Flat
from zoptim.testing import objective

counts = st.integers(1, 12)
steps = st.integers(0, 10**6)
losses_of = st.floats(-1e3, 1e3)


def asked(probe: Any, t: int, eps: float) -> tuple[list[Point], tuple[Draw, ...]]:
    rounds = probe.rounds(t, Now(0.1, eps))
    points = next(rounds)
    with pytest.raises(StopIteration) as stop:
        rounds.send(np.zeros(len(points)))
    return points, stop.value.value


# -- probes ------------------------------------------------------------


@given(n=counts, t=steps, eps=st.floats(1e-6, 1.0))
def test_two_sided_points(n: int, t: int, eps: float) -> None:
    points, draws = asked(TwoSided(n), t, eps)
    assert draws == tuple(Draw(t, i) for i in range(n)) and len(points) == TwoSided(n).forwards == 2 * n
    for z, plus, minus in zip(draws, points[0::2], points[1::2], strict=True):
        assert plus == Point(((z, eps),)) and minus == Point(((z, -eps),))


@given(n=counts, t=steps, eps=st.floats(1e-6, 1.0))
def test_one_sided_points(n: int, t: int, eps: float) -> None:
    points, draws = asked(OneSided(n), t, eps)
    assert draws == tuple(Draw(t, i) for i in range(n)) and len(points) == OneSided(n).forwards == n + 1
    assert points == [Point(())] + [Point(((z, eps),)) for z in draws]


# -- coefficients ------------------------------------------------------------


def weighing(probe: Any, losses: Any, eps: float = 0.25) -> Weighing:
    points, draws = asked(probe, 3, eps)
    return Weighing(draws, tuple(points), np.asarray(losses, np.float64), np.zeros(len(draws)), eps)


def test_differences_by_hand() -> None:
    w = weighing(TwoSided(2), [3.0, 1.0, 0.0, 4.0])
    np.testing.assert_array_equal(Central().weigh(w).coefs, [2.0 / 1.0, -4.0 / 1.0])  # 2 eps n = 1
    w = weighing(OneSided(2), [1.0, 2.0, -1.0])
    np.testing.assert_array_equal(Forward().weigh(w).coefs, [1.0 / 0.5, -2.0 / 0.5])  # eps n = 1/2


def test_over_spread_by_hand() -> None:
    w = weighing(OneSided(3), [1.0, 2.0, 4.0, 6.0])
    sigma = math.sqrt((4 + 0 + 4) / 2)  # about the probes' mean 4, divided by n - 1; the base is left out
    told = Chain((Forward(), OverSpread())).weigh(w).coefs
    np.testing.assert_allclose(told, np.array([1.0, 3.0, 5.0]) / (3 * sigma), rtol=1e-15)


@given(
    losses=st.lists(losses_of, min_size=3, max_size=9),
    a=st.floats(1e-3, 1e3),
    b=losses_of,
    eps=st.floats(1e-4, 1),
)
@settings(deadline=None)
def test_fzoo_coefficients_know_no_units(losses: list[float], a: float, b: float, eps: float) -> None:
    probes = np.array(losses[1:])
    if np.ptp(probes) < 1e-3:
        return
    chain = Chain((Forward(), OverSpread()))
    plain = chain.weigh(weighing(OneSided(len(probes)), losses)).coefs
    other = chain.weigh(weighing(OneSided(len(probes)), a * (np.array(losses) + b), eps)).coefs
    np.testing.assert_allclose(other, plain, rtol=1e-6, atol=1e-6 * np.abs(plain).max())


def test_equal_probes_give_zeros_and_no_warning() -> None:
    chain = Chain((Forward(), OverSpread()))
    np.testing.assert_array_equal(chain.weigh(weighing(OneSided(3), [1.0, 2.0, 2.0, 2.0])).coefs, np.zeros(3))


def test_clip_and_chain() -> None:
    w = weighing(TwoSided(2), [3.0, 1.0, 0.0, 4.0])
    np.testing.assert_array_equal(Chain((Central(), Clip(3.0))).weigh(w).coefs, [2.0, -3.0])
    np.testing.assert_array_equal(Chain((Clip(3.0), Central())).weigh(w).coefs, [2.0, -4.0])
    assert Chain(()).weigh(w) is w


def test_parts_do_not_change_what_they_are_given() -> None:
    w = weighing(OneSided(3), [1.0, 2.0, 4.0, 6.0])
    before = w.losses.copy(), w.coefs.copy()
    for part in (Forward(), OverSpread(), Clip(1.0), Chain((Forward(), OverSpread()))):
        assert part.weigh(w) is not w
        part.observe(Record("skip", 0, 0.1))
    assert (w.losses == before[0]).all() and (w.coefs == before[1]).all()


def test_chain_shows_records_to_every_part() -> None:
    seen: list[Any] = []

    class Watching(Clip):
        def observe(self, record: Record) -> None:
            seen.append((self.bound, record.t))

    Chain((Watching(1.0), Watching(2.0))).observe(Record("move", 5, 0.1))
    assert seen == [(1.0, 5), (2.0, 5)]


# -- rules ------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_descent_and_its_fused_scale(dtype: Any, decay: float) -> None:
    rule, lr = Descent(decay), 0.1
    p, g = np.linspace(-1, 1, 30, dtype=dtype)[:, None], np.linspace(2, -1, 30, dtype=dtype)[:, None]
    expected = p - p * dtype(lr * decay) if decay else p.copy()
    expected = expected - dtype(lr) * g
    moved = p.copy()
    rule.apply(moved, g.copy(), Stride(lr, 0), [])
    assert moved.dtype == dtype and moved.tobytes() == expected.tobytes()
    scale = rule.scale(lr)
    assert (scale is None) == bool(decay)
    if scale is not None:
        assert (p + dtype(scale) * g).tobytes() == moved.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_descent_gives_the_same_bits_in_torch(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    p, g = np.geomspace(1e-3, 1e3, 101).astype(dtype), np.linspace(2, -1, 101).astype(dtype)
    a, b = torch.from_numpy(p.copy()), torch.from_numpy(g.copy())
    Descent(0.3).apply(p, g, Stride(0.017, 0), [])
    Descent(0.3).apply(a, b, Stride(0.017, 0), [])
    assert a.numpy().tobytes() == p.tobytes()


# -- schedules ------------------------------------------------------------


@given(t=st.integers(0, 500), horizon=st.integers(0, 400), name=st.sampled_from(sorted(SCHEDULES)))
def test_schedules_stay_in_the_unit_interval_and_fall(t: int, horizon: int, name: str) -> None:
    f = SCHEDULES[name]()
    assert 0.0 <= f(t + 1, horizon) <= f(t, horizon) <= 1.0


def test_schedules_see_t_over_horizon_only() -> None:
    for schedule in (cosine(), linear(), cosine(0.1, 0.2)):
        assert schedule(2, 5) == pytest.approx(schedule(22, 45), abs=1e-15)  # (t + 1/2) / T = 1/2


def test_floors_and_warmup() -> None:
    assert constant()(10**9, 1) == 1.0
    assert cosine(0.1)(10**9, 10) == pytest.approx(0.1)
    assert linear(0.1)(10**9, 10) == pytest.approx(0.1)
    f = cosine(warmup=0.5)
    rising = [f(t, 100) for t in range(50)]
    assert (
        rising == sorted(rising)
        and rising[0] == pytest.approx(0.01)
        and f(50, 100) == pytest.approx(1.0, abs=1e-3)
    )


# -- shapes ------------------------------------------------------------


def test_mix_is_the_union_in_order_of_appearance() -> None:
    a, b, c = Draw(0, 0), Draw(0, 1), Draw(5, 0)
    mix = Mix.of(((b, 1.0),), (), ((a, 2.0), (b, 3.0), (c, 4.0), (a, 0.5)))
    assert mix.draws == (b, a, c)
    np.testing.assert_array_equal(mix.coefs, [[1, 0, 0], [0, 0, 0], [3, 2.5, 4]])
    assert Mix.of(()).coefs.shape == (1, 0)


@given(rows=st.integers(0, 200), cols=st.integers(0, 50), limit=st.integers(1, 500))
def test_chunks_cover_rows_once_and_keep_to_the_limit(rows: int, cols: int, limit: int) -> None:
    parts = list(chunks(rows, cols, limit))
    assert [r for part in parts for r in range(part.start, part.stop)] == list(range(rows))
    assert all(p.stop - p.start == 1 or (p.stop - p.start) * cols <= limit for p in parts)


def test_dense_directions_add_to_the_base_and_learn_nothing() -> None:
    slot, dense = Slot(9, "p", (4, 3)), Dense("normal")
    state = dense.init((slot,), 77)
    assert state == 77 and dense.memoryless and not dense.vectors
    mix, base, scale = Mix.of(((Draw(1, 2), 0.5),)), np.ones((4, 3)), -0.1
    g, out = np.empty((1, 4, 3)), np.empty((1, 4, 3))
    dense.form(g, slot, slice(0, 4), mix, None, state)
    dense.form(out, slot, slice(0, 4), mix, base, state, scale)
    np.testing.assert_array_equal(out[0], base + scale * g[0])


# -- settings ------------------------------------------------------------


UNUSABLE: list[dict[str, Any]] = [
    {"lr": 0.0}, {"lr": -1.0}, {"lr": math.nan}, {"lr": math.inf}, {"lr": "1e-3"}, {"eps": 0.0},
    {"n": 0}, {"n": 2.0}, {"n": 1 << 24}, {"law": "uniform"}, {"schedule": "cosin"}, {"beta": 1.0}, {"beta1": -0.1},
    {"beta2": "0.9"}, {"alpha": 1.5}, {"keep": 0}, {"period": 1.5}, {"sample": 0}, {"boost": 0},
    {"temperature": 0.0}, {"weight_decay": -0.1},
]  # fmt: skip


def has(name: str, setting: str) -> bool:
    return setting in inspect.signature(SHELF[name].make).parameters


@pytest.mark.parametrize(
    ("name", "setting"), [(name, s) for name in SHELF for s in UNUSABLE if has(name, *s)], ids=str
)
def test_settings_no_method_can_use_are_refused(name: str, setting: dict[str, Any]) -> None:
    (key,) = setting
    with pytest.raises(ValueError, match=f"{key}="):
        build(name, setting)


def test_settings_of_one_method() -> None:
    with pytest.raises(ValueError, match="n=1"):
        fzoo(n=1)
    with pytest.raises(ValueError, match="weight_decay"):
        mezo(weight_decay=-0.1)
    with pytest.raises(ValueError, match="fzoo has no setting 'weight_decay'"):
        build("fzoo", {"weight_decay": 0.1})
    with pytest.raises(ValueError, match="did you mean 'mezo'"):
        build("mezoo", {})


@pytest.mark.parametrize("name", list(SHELF))
def test_arguments_rebuild_the_method(name: str) -> None:
    chosen = {"lr": 0.3, "n": 6, "law": "normal", "schedule": "linear"}
    method = build(name, {k: v for k, v in chosen.items() if has(name, k)})
    again = build(name, method.arguments)
    assert again.arguments == method.arguments and again.name == name == SHELF[name].name
    assert (again.directions, again.probe, again.rule) == (method.directions, method.probe, method.rule)
    assert (again.lr, again.eps, again.claims) == (method.lr, method.eps, method.claims)
    assert again.schedule(3, 7) == method.schedule(3, 7)


def test_votes_are_not_moved_by_an_outlier_and_one_voter_decides_as_its_sign_does() -> None:
    """Five along +1 and one, a thousand times as steep, along -1: the mean turns, the vote does not."""
    zs = np.array([1.0, 1.0, 1.0, 1.0, 1.0, -1.0])
    slopes = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1e3])
    draws = tuple(Draw(0, i) for i in range(6))
    for chain, way in ((Chain((Forward(), Votes())), 1.0), (Forward(), -1.0)):
        found = chain.weigh(Weighing(draws, (), np.append(0.0, 1e-3 * slopes), np.zeros(6), 1e-3)).coefs
        assert np.sign(found @ zs) == way
    one = {}
    for vote in (False, True):
        space = Flat(np.zeros(5))
        run = Run(space, zo_signsgd(0.1, n=1, law="signs", vote=vote), Journal.create(None, {"key": 4}))
        for _ in range(3):
            run.step(objective(lambda x: ((x - 1.0) ** 2).sum(axis=1)))
        one[vote] = space.x.tobytes()
    assert one[False] == one[True]
    with pytest.raises(ValueError, match="vote=True, law='normal': votes are along sign vectors"):
        zo_signsgd(vote=True)

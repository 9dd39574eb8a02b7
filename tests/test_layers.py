"""The layers of docs/architecture.md, enforced: who may import whom, and who may draw random numbers."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import zoptim.protocols

ROOT = Path(zoptim.protocols.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
PAGE = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text()

BASE = {"protocols", "values", "noise", "kernels"}
PARTS = {
    "directions",
    "probes",
    "coefficients",
    "rules",
    "spaces",
    "sets",
    "objective",
    "schedules",
    "journal",
    "processes",
    "first",
    "interrupts",
    "named",
    "radii",
    "manifolds",
    "plans",
}
LAYERS = [BASE, PARTS, {"method"}, {"engine"}, {"methods", "sharpness"}, {"drivers"}, {"lm"}, {"doors"}]
TORCH = {
    "spaces/module.py",
    "spaces/layers.py",
    "spaces/others.py",
    "spaces/watch.py",
    "spaces/visit.py",
    "spaces/nested.py",
    "spaces/gradient.py",
    "spaces/tangent.py",
    "spaces/streamed.py",
    "spaces/layout.py",
    "spaces/device.py",
    "spaces/quantized.py",
    "spaces/quantizing.py",
    "kernels/torch_ref.py",
    "kernels/triton.py",
    "doors/optimizer.py",
    "doors/closures.py",
    "doors/blackbox_layer.py",
}
RANDOM = {"random", "secrets", "numpy.random", "np.random"}
TORCH_RANDOM = {
    "randn",
    "rand",
    "randint",
    "randperm",
    "randn_like",
    "rand_like",
    "normal",
    "bernoulli",
    "manual_seed",
}
FILLS = {"normal_", "uniform_", "bernoulli_", "random_", "default_rng", "RandomState"}


def place(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def part(dotted: str) -> str:
    """The top-level part of a dotted name inside zoptim: 'zoptim.spaces.flat' -> 'spaces'."""
    names = dotted.split(".")
    return names[1] if len(names) > 1 and names[0] == "zoptim" else ""


def imports(file: Path) -> Iterator[tuple[str, bool]]:
    """(dotted name, whether at module level) of everything a file imports."""
    package = ["zoptim", *file.relative_to(ROOT).parts[:-1]]

    def walk(node: ast.AST, top: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                lead = package[: len(package) - child.level + 1] if child.level else []
                source = ".".join([*lead, *filter(None, [child.module])])
                yield from ((f"{source}.{alias.name}", top) for alias in child.names)
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from walk(child, top and not inside)

    return walk(ast.parse(file.read_text()), True)


def level(name: str) -> int:
    return next((i for i, layer in enumerate(LAYERS) if name in layer), -1)


@pytest.mark.parametrize("file", FILES, ids=place)
def test_layers(file: Path) -> None:
    mine = file.relative_to(ROOT).parts[0].removesuffix(".py")
    if mine in ("testing", "__init__", "__main__"):
        return
    assert level(mine) >= 0, f"{place(file)} is in no layer: say in which, here and in docs/architecture.md"
    for dotted, _ in imports(file):
        other = part(dotted)
        if not other or other == mine or (mine, dotted) == ("doors", "zoptim.__version__"):
            continue
        assert other != "testing", f"{place(file)} imports testing, which nothing may"
        below = level(other) < level(mine)
        beside = mine in BASE and other in BASE
        assert below or beside or level(other) < 0, f"{place(file)} imports {dotted}, which is not below it"


def test_the_page_draws_these_floors() -> None:
    """Every part is in the picture once, on a line above all that it may import and of no other floor."""
    picture = PAGE.split("```\n")[1].splitlines()
    there = {f.relative_to(ROOT).parts[0] for f in FILES} - {"__init__.py", "testing"}
    floors: list[set[int]] = []
    for layer in LAYERS:
        floors.append(set())
        for name in layer:
            drawn = f"{name}/" if (ROOT / name).is_dir() else f"{name}.py"
            lines = [i for i, line in enumerate(picture) if re.search(rf"(?<![\w/]){re.escape(drawn)}", line)]
            assert len(lines) == 1, f"docs/architecture.md draws {drawn} on {len(lines)} lines of its picture"
            floors[-1] |= {*lines}
            there.discard(drawn.removesuffix("/"))
    assert not there, f"{there} in no layer: say in which, here and in docs/architecture.md"
    for upper, lower in zip(floors[1:], floors, strict=False):
        assert max(upper) < min(lower), (
            f"floors {upper} and {lower} of the picture are not one above the other"
        )


def test_the_page_names_every_file() -> None:
    listed = PAGE.split("## Every file\n")[1].split("\n## ")[0].split("\n* ")[1:]
    named = {line.split("`")[1]: re.findall(r"`(\w+)`", line) for line in listed}
    folders = {f.parent.name + "/" for f in FILES if f.parent != ROOT}
    assert named.keys() == folders
    for folder, names in named.items():
        files = {f.stem for f in (ROOT / folder).glob("*.py")} - {"__init__"}
        wrong = files ^ {*names}
        assert not wrong, (
            f"docs/architecture.md, Every file: {folder} and its files differ by {sorted(wrong)}"
        )
        assert len(names) == len({*names}), (
            f"docs/architecture.md, Every file: a file of {folder} stands twice"
        )


@pytest.mark.parametrize("file", FILES, ids=place)
def test_heavy_imports_and_randomness(file: Path) -> None:
    where = place(file)
    top, package = ROOT / where, where.split("/")[0]
    for dotted, at_top in imports(top):
        root = dotted.split(".")[0]
        if root == "torch" and at_top:
            assert where in TORCH or package == "lm", f"{where} imports torch when it is imported"
        if root == "transformers":
            assert package in ("lm", "doors") and not at_top, (
                f"{where} imports transformers outside a function"
            )
        allowed = where == "coefficients/privacy.py" and root == "secrets"
        assert allowed or root not in ("random", "secrets"), f"{where} draws random numbers"
        assert not dotted.startswith("numpy.random"), f"{where} draws random numbers"
    text = top.read_text()
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Attribute) and "noqa: TID251 " not in lines[node.lineno - 1]
        ):  # reasons are given there
            owner = ast.unparse(node.value)
            drawn = (owner == "torch" and node.attr in TORCH_RANDOM) or node.attr in FILLS
            drawn = drawn or f"{owner}.{node.attr}" in RANDOM
            assert not drawn, f"{where}:{node.lineno} draws random numbers: only noise.py may"


@pytest.mark.parametrize("module", ["zoptim", "zoptim.methods", "zoptim.engine", "zoptim.testing"])
def test_the_core_loads_neither_torch_nor_transformers(module: str) -> None:
    code = f"import {module}, sys; print([m for m in ('torch', 'transformers', 'scipy') if m in sys.modules])"
    env = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("name", ["Optimizer", "blackbox_layer", "finetune"])
def test_what_needs_torch_says_how_to_get_it(name: str) -> None:
    code = f"import sys; sys.modules['torch'] = None; import zoptim; zoptim.{name}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"ImportError: zoptim.{name} needs torch: pip install 'zoptim[lm]'" in done.stderr

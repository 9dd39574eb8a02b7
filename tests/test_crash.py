"""A seeded sample of `bench.crash`: real runs killed and resumed, their disks filled, their journals damaged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

ROOT = Path(__file__).parents[1]
CASES = ("fzoo, norm", "mezo, block, cache on disk")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked children")
def test_a_killed_run_ends_as_if_untouched_and_damage_is_never_silent() -> None:
    command = [
        sys.executable,
        "-m",
        "bench.crash",
        "--json",
        "--kills",
        "20",
        "--mutations",
        "1000",
        "--seed",
        "7",
    ]
    for case in CASES:
        command += ["--case", case]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *(p for p in sys.path if p)])}
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.stdout, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["wrong"] == [] and done.returncode == 0
    assert found["kills_survived"] == sum(found["kills"].values()) == 20
    assert found["mutations"] == 1000 and found["refused"] > 500 and found["prefixes"] > 20
    assert found["mutations"] == found["refused"] + found["prefixes"] + found["whole"]
    assert found["counts"]["full disks"] >= 6 and found["counts"]["strangers refused"] == 6

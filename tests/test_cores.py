"""How many threads: what was asked for, what affinity and control groups leave."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zoptim import kernels
from zoptim.doors import doctor
from zoptim.kernels import cores


def machine(root: Path, group: str, **files: str) -> Path:
    """A root with /proc/self/cgroup and files of the control groups."""
    for name, text in {"proc/self/cgroup": group, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


@pytest.mark.parametrize(
    ("group", "files", "limit"),
    [
        ("0::/", {"sys/fs/cgroup/cpu.max": "150000 100000"}, 1.5),
        ("0::/", {"sys/fs/cgroup/cpu.max": "max 100000"}, None),
        ("0::/a/b", {"sys/fs/cgroup/a/cpu.max": "50000 100000", "sys/fs/cgroup/a/b/cpu.max": "max 100000"}, 0.5),
        (
            "0::/a/b",
            {"sys/fs/cgroup/a/cpu.max": "400000 100000", "sys/fs/cgroup/a/b/cpu.max": "200000 100000"},
            2.0,
        ),
        (
            "4:memory:/x\n2:cpu,cpuacct:/x",
            {
                "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us": "300000",
                "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us": "100000",
            },
            3.0,
        ),
        ("1:cpu:/", {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, None),
        ("0::/", {"sys/fs/cgroup/cpu.max": "rubbish"}, None),
        ("4:memory:/x", {"sys/fs/cgroup/x/cpu.max": "100000 100000"}, None),
        ("0::/", {}, None),
    ],
)  # fmt: skip
def test_quotas(tmp_path: Path, group: str, files: dict[str, str], limit: float | None) -> None:
    assert cores.quota(machine(tmp_path, group, **files)) == limit


def test_no_control_groups_at_all(tmp_path: Path) -> None:
    assert cores.quota(tmp_path) is None


@pytest.mark.parametrize(
    ("environ", "ours", "openmp"),
    [
        ({}, None, None),
        ({"ZOPTIM_THREADS": "3", "OMP_NUM_THREADS": "5"}, 3, 5),
        ({"OMP_NUM_THREADS": "4,2"}, None, 4),
        ({"OMP_NUM_THREADS": "many", "ZOPTIM_THREADS": ""}, None, None),
        ({"OMP_NUM_THREADS": "0"}, None, None),
    ],
)
def test_what_was_asked_for(environ: dict[str, str], ours: int | None, openmp: int | None) -> None:
    assert (cores.asked(environ), cores.openmp(environ)) == (ours, openmp)


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_bad_numbers_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"ZOPTIM_THREADS='{text}' must be a positive number"):
        cores.asked({"ZOPTIM_THREADS": text})


@pytest.mark.parametrize(("limit", "left"), [(None, 8), (0.5, 1), (1.5, 2), (64.0, 8)])
def test_a_quota_is_rounded_up_and_never_adds(
    limit: float | None, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "quota", lambda: limit)
    assert cores.allowed() == left
    found = doctor.examine()
    assert ("cpu_quota" in found) == (left < 8)
    if left < 8:
        assert f"OMP_NUM_THREADS={left}" in found["cpu_quota"]


@pytest.mark.parametrize(("name", "value"), [("ZOPTIM_THREADS", "3"), ("OMP_NUM_THREADS", "3")])
def test_kernels_without_torch_do_as_asked(name: str, value: str) -> None:
    env = {k: v for k, v in os.environ.items() if k not in ("ZOPTIM_THREADS", "OMP_NUM_THREADS")}
    env |= {name: value, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    code = "from zoptim import kernels; print(kernels.threads())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    assert done.stdout.split() == [value]


@pytest.mark.parametrize(
    ("wanted", "ours", "openmp", "left", "threads"),
    [
        (None, None, None, 2, 2),  # a quota of two cores on a machine of eight
        (None, None, None, 8, 8),
        (5, 3, 4, 2, 5),  # --threads above all
        (None, 3, 4, 2, 3),
        (None, None, 6, 2, 8),  # OMP_NUM_THREADS is torch's to heed
    ],
)
def test_a_run_sets_torchs_threads(
    wanted: int | None, ours: int | None, openmp: int | None, left: int, threads: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    torch = pytest.importorskip("torch")
    from zoptim.lm.threads import set_threads

    now = [8]
    monkeypatch.setattr(torch, "get_num_threads", lambda: now[0])
    monkeypatch.setattr(torch, "set_num_threads", lambda n: now.__setitem__(0, n))
    monkeypatch.setattr(cores, "asked", lambda: ours)
    monkeypatch.setattr(cores, "openmp", lambda: openmp)
    monkeypatch.setattr(cores, "allowed", lambda: left)
    said: list[str] = []
    set_threads(wanted, said.append)
    assert kernels.threads() == now[0] == threads
    assert len(said) == (threads == 2)

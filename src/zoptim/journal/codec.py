"""A journal's values as bytes and back: canonical JSON, digests, and the payload of a record.

What it is: pure functions, `decode(encode(record)) == record` bit for bit; the byte-exact text is in
docs/journal.md.  What it is not: frames, checksums or files (`frames`, `file`).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b

from zoptim.protocols import Draw, Kind, Record, Track, Vec

KINDS: tuple[Kind, ...] = ("move", "skip", "undo", "track")  # the index is the byte on disk; append only

_F64 = struct.Struct("<d")
_BYTES = [bytes((value,)) for value in range(256)]
_IMPLICIT, _OWN, _GROUP, _REASON, _EXTRA, _TRACKS = 1, 2, 4, 8, 16, 32  # flags; the other bits must be zero
_HEADS = {kind: bytes((number, _IMPLICIT)) for number, kind in enumerate(KINDS)}


class JournalError(ValueError):
    """A journal is damaged, locked or misused; the message names file, offset and remedy."""


def canonical_json(obj: object) -> bytes:
    """One spelling per value: ASCII, sorted keys, no spaces, no NaN; tuples become lists.

    Raises:
        JournalError: a key is not a string, or a value is not JSON.

    Example:
        >>> canonical_json({"b": (1, 2.5), "a": None})
        b'{"a":null,"b":[1,2.5]}'
    """
    _check_keys(obj)
    try:
        return json.dumps(obj, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (TypeError, ValueError) as error:
        raise JournalError(f"not canonical JSON: {error}; use None, bool, int, finite float, str") from error


def _check_keys(obj: object) -> None:
    if isinstance(obj, dict):
        for key, value in obj.items():
            if not isinstance(key, str):
                raise JournalError(f"not canonical JSON: key {key!r} is not a string; write str(key)")
            _check_keys(value)
    elif isinstance(obj, (list, tuple)):
        for value in obj:
            _check_keys(value)


def digest(data: bytes | bytearray | memoryview) -> str:
    """Name of some bytes: blake2b-16 as 32 hex digits; for an object, digest(canonical_json(obj))."""
    return blake2b(data, digest_size=16).hexdigest()


# ---------------------------------------------------------------- records to bytes and back


def _varint(value: int) -> bytes:
    if 0 <= value <= 0x7F:  # most are
        return _BYTES[value]
    if value < 0:
        raise JournalError(f"t and i of records and draws must be >= 0, not {value}")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _text(value: str) -> bytes:
    raw = value.encode("utf-8", "surrogatepass")
    return _varint(len(raw)) + raw


def _floats(values: Sequence[float]) -> bytes:
    return _varint(len(values)) + _doubles(len(values)).pack(*values)


@lru_cache(maxsize=64)
def _doubles(count: int) -> struct.Struct:
    return struct.Struct(f"<{count}d")


@lru_cache(maxsize=64)
def _numbers(coefs: int, losses: int) -> struct.Struct:
    """What follows t in a record that has nothing else: lr, coefficients, losses, with their counts."""
    return struct.Struct(f"<dB{coefs}dB{losses}d")


def encode(record: Record) -> bytes:
    """Payload of a record, lossless: float64 throughout, NaN bit for bit.

    Draws that are exactly (t, 0), (t, 1), ... of the record's own t cost nothing.

    Cost: about 21 + 8 * (terms + losses + extra) bytes.
    """
    kind, t, lr, terms, losses, *more = record
    if kind not in KINDS:
        raise JournalError(f"record kind {kind!r} is unknown; use one of {', '.join(KINDS)}")
    n, m, flags, coefs = len(terms), len(losses), _IMPLICIT, []
    for i, (draw, coef) in enumerate(terms):
        coefs.append(coef)
        if draw != (t, i, ""):
            flags = 0
    if flags and n < 128 > m and not any(more):  # most
        return _HEADS[kind] + _varint(t) + _numbers(n, m).pack(lr, n, *coefs, m, *losses)
    draws = [draw for draw, _ in terms]
    if record.group and not flags and draws == [(t, i, record.group) for i in range(n)]:
        flags = _IMPLICIT | _OWN
    flags |= _GROUP * bool(record.group) | _REASON * bool(record.reason) | _EXTRA * bool(record.extra)
    flags |= _TRACKS * bool(record.tracks)
    out = [bytes((KINDS.index(kind), flags)), _varint(t), _F64.pack(lr)]
    out += [_text(record.group)] * bool(record.group) + [_text(record.reason)] * bool(record.reason)
    out.append(_floats(coefs))
    if not flags & _IMPLICIT:
        out += map(_encode_draw, draws)
    out.append(_floats(record.losses))
    if record.extra:
        out.append(_floats(record.extra))
    if record.tracks:
        out.append(_varint(len(record.tracks)))
    for name, terms in record.tracks:
        out += [_text(name), _floats([c for _, c in terms]), *(_encode_draw(z) for z, _ in terms)]
    return b"".join(out)


@lru_cache(maxsize=1 << 10)  # a list of past pairs names the same draws again and again
def _encode_draw(draw: Draw | Vec) -> bytes:
    if isinstance(draw, Vec):
        return b"\x02" + _text(draw.name)
    if draw.group:
        return b"\x01" + _varint(draw.t) + _varint(draw.i) + _text(draw.group)
    return b"\x00" + _varint(draw.t) + _varint(draw.i)


def decode(payload: bytes) -> Record:
    """The record `encode` was given.

    Raises:
        JournalError: the payload is not one that this version writes.
    """
    read = _Reader(payload)
    try:
        kind, flags = KINDS[payload[0]], payload[1]
        if flags >> 6:
            raise JournalError(f"flags {flags:#x} are unknown; a newer zoptim wrote this record")
        t, lr = read.varint(), read.floats(1)[0]
        group = read.text() if flags & _GROUP else ""
        reason = read.text() if flags & _REASON else ""
        coefs = read.floats(read.varint())
        draws: Iterable[Draw | Vec]
        if flags & _IMPLICIT:
            own = group if flags & _OWN else ""
            draws = [Draw(t, i, own) for i in range(len(coefs))]
        else:
            draws = [read.draw() for _ in coefs]
        losses = read.floats(read.varint())
        extra = read.floats(read.varint()) if flags & _EXTRA else ()
        tracks = tuple(read.track() for _ in range(read.varint() if flags & _TRACKS else 0))
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise JournalError(f"payload is malformed ({error}); a newer zoptim may have written it") from error
    if read.at != len(payload):
        raise JournalError(f"payload has {len(payload) - read.at} bytes too many; a newer zoptim wrote it")
    return Record(kind, t, lr, tuple(zip(draws, coefs, strict=True)), losses, extra, reason, group, tracks)


class _Reader:
    """A cursor over one payload, past the kind and flag bytes."""

    def __init__(self, payload: bytes) -> None:
        self.payload, self.at = payload, 2

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.payload[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def text(self) -> str:
        size = self.varint()
        self.at += size
        if self.at > len(self.payload):
            raise IndexError("text runs past the end")
        return self.payload[self.at - size : self.at].decode("utf-8", "surrogatepass")

    def floats(self, count: int) -> tuple[float, ...]:
        values = struct.unpack_from(f"<{count}d", self.payload, self.at)
        self.at += 8 * count
        return values

    def draw(self) -> Draw | Vec:
        tag = self.payload[self.at]
        self.at += 1
        if tag == 2:
            return Vec(self.text())
        if tag > 2:
            raise JournalError(f"term tag {tag} is unknown; a newer zoptim wrote this record")
        return Draw(self.varint(), self.varint(), self.text() if tag else "")

    def track(self) -> Track:
        name = self.text()
        coefs = self.floats(self.varint())
        return name, tuple([(self.draw(), c) for c in coefs])

"""The journal: one checked, append-only file that holds the whole truth of a run.

What it is: a header and a list of `Record`s, each written before any weight changes, so that

    theta_T = fold(rule, theta_0, effective(records))

survives a kill and can be replayed, undone, audited and sent.  What it is not: a database, a log of
metrics, or a place for tensors; it knows nothing of noise, rules or torch, and never pickles.

    codec    values as bytes: canonical JSON, digests, a record's payload
    frames   how payloads are chained and every byte is verified
    file     `Journal`: create, open, read, append, sync
    folds    which records are in force
"""

from .codec import KINDS, JournalError, canonical_json, decode, digest, encode
from .file import SYNC_SECONDS, Journal
from .folds import effective, next_t
from .frames import BLOCK, MAGIC, Records

__all__ = [
    "BLOCK", "KINDS", "MAGIC", "SYNC_SECONDS", "Journal", "JournalError", "Records", "canonical_json", "decode",
    "digest", "effective", "encode", "next_t",
]  # fmt: skip

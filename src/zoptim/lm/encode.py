"""From examples to tokens: what is fed, which positions are read, what is scored there.

A `Row` is one sequence; its tokens from `start` on are scored, each read from the logits one position
earlier. A classification whose candidates are single tokens needs one row an example: the prompt
alone, whose last logits are compared at the candidates' columns. Otherwise every candidate gets a row.

    prompt + candidate is what the model sees: the candidate's tokens are those that follow the
    prompt's when both are tokenised as one text; where a token would straddle the border, the
    candidate is tokenised by itself. Spaces at the end of a prompt move to the candidate: in
    byte-pair vocabularies (GPT-2, SmolLM2) a word and the space before it are one token, so
    "It was " + "great" is read as "It was" + " great".

Special tokens that the tokenizer puts in front (BOS) are put in front; none are put at the end, but a
completion ends with EOS so that the model learns to stop. Prompts too long are cut from the left, BOS
kept. Pure Python and numpy; not here: the order of examples, and forwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from zoptim.lm.errors import UsageError
from zoptim.lm.tasks import Example, Kind

MAX_LENGTH = 512


class Row(NamedTuple):
    """One sequence: `ids[start:]` are scored, from the logits at positions start-1 .. len-2.

    `start == len(ids)`: nothing is scored, the last position is read at the item's columns.
    """

    ids: tuple[int, ...]
    start: int


class Item(NamedTuple):
    """One example as the model sees it: a row a candidate, or one row and the candidates' columns.

    `weight` is the item's share in a mean over items: 1 for a classification, the number of scored tokens
    for a completion, so that a mean of per-token losses is the mean over all tokens.
    """

    rows: tuple[Row, ...]
    label: int | None
    weight: float = 1.0
    columns: tuple[int, ...] | None = None

    @property
    def length(self) -> int:
        """Tokens of the longest row: what batches are bucketed by."""
        return max(len(row.ids) for row in self.rows)


@dataclass(frozen=True)
class Encoded:
    """Items in the order of the examples, and what was cut."""

    items: list[Item]
    max_length: int
    truncated: int  # prompts cut from the left
    cut: int  # completions cut at the right: part of what is scored is lost
    chat: bool

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should hear about it."""
        n, limit, said = len(self.items), self.max_length, []
        if self.truncated:
            said.append(
                f"{self.truncated} of {n} prompts are longer than {limit} tokens: their beginning is cut"
            )
        if self.cut:
            said.append(
                f"WARNING: {self.cut} of {n} completions do not fit into {limit} tokens: their end is cut"
            )
        return tuple(said)


@dataclass(frozen=True)
class Batch:
    """Items side by side, int64; R rows, T tokens, S scored positions a row, C columns, B items."""

    ids: np.ndarray  # (R, T)
    mask: np.ndarray  # (R, T) 1 where a token is
    read: np.ndarray  # (R, S) positions whose logits are read; the unused repeat the row's first
    targets: np.ndarray  # (R, S) tokens scored there; -1: unused, or read at the columns
    columns: np.ndarray | None  # (C,) candidates' tokens, when one row an item
    owner: np.ndarray  # (R,) the item of each row
    labels: np.ndarray  # (B,) right candidate; -1: none (completions)
    weights: np.ndarray  # (B,) float64


def encode(
    examples: Sequence[Example],
    tokenizer: Any,
    *,
    kind: Kind,
    max_length: int | None = None,
    chat: str = "auto",
) -> Encoded:
    """Tokenise examples.

    Args:
        examples: of one task.
        tokenizer: of transformers.
        kind: the task's: classification or completion.
        max_length: tokens a row may have; None: 512, or the tokenizer's own limit where smaller.
        chat: "on": prompts go through the tokenizer's chat template as a user's turn; "off"; "auto":
            on for completions when there is a template. With it, answers lose leading spaces.

    Raises:
        UsageError: candidates that tokenise alike, or do not fit; chat without a template.

    Cost: 10,000 sentences take 1-2 s with a fast tokenizer.
    """
    limit = max_length or min(MAX_LENGTH, int(min(tokenizer.model_max_length or MAX_LENGTH, 1 << 30)))
    chatting = _chats(tokenizer, kind, chat)
    front = [] if chatting else _front(tokenizer)
    prompts = [_turn(tokenizer, e.prompt) for e in examples] if chatting else [e.prompt for e in examples]
    bare = [p.rstrip(" ") for p in prompts]
    spaces = [" " * (len(p) - len(b)) for p, b in zip(prompts, bare, strict=True)]
    heads = _tokens(tokenizer, bare)
    answers = [_answers(e, kind) for e in examples]
    if chatting:
        answers = [tuple(a.lstrip(" ") for a in those) for those in answers]
    tails = _tails(
        tokenizer, bare, heads, [tuple(s + a for a in t) for s, t in zip(spaces, answers, strict=True)]
    )
    maker = _Maker(tokenizer, limit, front)
    if kind == "completion":
        items = [maker.completion(head, tail[0]) for head, tail in zip(heads, tails, strict=True)]
    else:
        _differ(examples, tails)
        columns = _columns(tails)
        items = [
            maker.choice(head, tail, e.label, columns)
            for e, head, tail in zip(examples, heads, tails, strict=True)
        ]
    return Encoded(items, limit, maker.truncated, maker.cut, chatting)


class _Maker:
    """Makes items within a limit of tokens, counting what it cuts."""

    def __init__(self, tokenizer: Any, limit: int, front: list[int]) -> None:
        self.limit, self.front = limit, front
        self.truncated = self.cut = 0
        self.eos = tokenizer.eos_token_id
        self.first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else self.eos

    def head(self, ids: list[int], room: int) -> list[int]:
        """The prompt with what goes in front, cut from the left to leave `room`; never empty."""
        front = self.front
        if not front and not ids:
            if self.first is None:
                raise UsageError("data: an empty prompt, and the tokenizer has no BOS or EOS; give prompts")
            front = [self.first]
        keep = self.limit - room - len(front)
        if len(ids) <= keep:
            return front + ids
        self.truncated += 1
        return front + (ids[len(ids) - keep :] if keep > 0 else [])

    def completion(self, head: list[int], tail: list[int]) -> Item:
        if self.eos is not None and tail[-1:] != [self.eos]:
            tail = [*tail, self.eos]
        most = self.limit - max(1, len(self.front))
        if len(tail) > most:
            self.cut += 1
            tail = tail[:most]
        ids = self.head(head, len(tail))
        return Item((Row((*ids, *tail), len(ids)),), None, float(len(tail)))

    def choice(
        self, head: list[int], tails: Sequence[list[int]], label: int | None, columns: tuple[int, ...] | None
    ) -> Item:
        if columns is not None:
            ids = self.head(head, 0)
            return Item((Row(tuple(ids), len(ids)),), label, 1.0, columns)
        longest = max(map(len, tails))
        if longest + max(1, len(self.front)) > self.limit:
            raise UsageError(f"max_length={self.limit}: a candidate has {longest} tokens; allow more")
        ids = self.head(head, longest)
        return Item(tuple(Row((*ids, *tail), len(ids)) for tail in tails), label)


def collate(items: Sequence[Item], pad_id: int, side: str = "right") -> Batch:
    """Put items side by side.

    Args:
        items: all with the same columns, or all without.
        pad_id: fills up; masked everywhere.
        side: "right" or "left": where it fills up.
    """
    rows = [row for item in items for row in item.rows]
    owner = np.repeat(np.arange(len(items)), [len(item.rows) for item in items])
    lengths = np.array([len(row.ids) for row in rows])
    scored = np.array([max(1, len(row.ids) - row.start) for row in rows])
    width, most = int(lengths.max()), int(scored.max())
    ids = np.full((len(rows), width), pad_id, np.int64)
    mask = np.zeros((len(rows), width), np.int64)
    read = np.zeros((len(rows), most), np.int64)
    targets = np.full((len(rows), most), -1, np.int64)
    for r, row in enumerate(rows):
        shift = 0 if side == "right" else width - len(row.ids)
        ids[r, shift : shift + len(row.ids)] = row.ids
        mask[r, shift : shift + len(row.ids)] = 1
        read[r] = shift + row.start - 1
        read[r, : scored[r]] += np.arange(scored[r])
        targets[r, : len(row.ids) - row.start] = row.ids[row.start :]
    columns = {item.columns for item in items}
    if len(columns) > 1:
        raise UsageError("items: of different tasks (their candidates' tokens differ); batch them apart")
    shared = columns.pop()
    return Batch(
        ids, mask, read, targets, None if shared is None else np.array(shared, np.int64), owner,
        np.array([-1 if item.label is None else item.label for item in items], np.int64),
        np.array([item.weight for item in items], np.float64),
    )  # fmt: skip


def _chats(tokenizer: Any, kind: Kind, chat: str) -> bool:
    """Whether the chat template is used."""
    template = getattr(tokenizer, "chat_template", None)
    if chat in ("on", "yes"):
        if not template:
            raise UsageError(f"chat={chat!r}: the tokenizer has no chat template; use --chat no")
        return True
    if chat not in ("off", "no", "auto"):
        raise UsageError(f"chat={chat!r}: give auto, on or off")
    return chat == "auto" and kind == "completion" and bool(template)


def _turn(tokenizer: Any, prompt: str) -> str:
    """A user's turn and the opening of the answer, as text (the template brings its own BOS)."""
    messages = [{"role": "user", "content": prompt}]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def _answers(example: Example, kind: Kind) -> tuple[str, ...]:
    if kind == "completion":
        return (example.completion or "",)
    return example.candidates or ()


def _front(tokenizer: Any) -> list[int]:
    """The special tokens this tokenizer puts before a text."""
    plain, full = _tokens(tokenizer, ["a"])[0], list(tokenizer("a")["input_ids"])
    for k in range(len(full) - len(plain) + 1):
        if full[k : k + len(plain)] == plain:
            return full[:k]
    return []


def _tokens(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Tokens of each text, without special ones; one call, so that a fast tokenizer is fast."""
    if not texts:
        return []
    batch = tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)
    return [list(ids) for ids in batch["input_ids"]]


def _tails(
    tokenizer: Any, prompts: Sequence[str], heads: Sequence[list[int]], answers: Sequence[tuple[str, ...]]
) -> list[list[list[int]]]:
    """Tokens of each answer after its prompt; by itself where a token would straddle the border."""
    flat = [(k, answer) for k, those in enumerate(answers) for answer in those]
    wholes = _tokens(tokenizer, [prompts[k] + answer for k, answer in flat])
    clean = [_extends(heads[k], ids) for (k, _), ids in zip(flat, wholes, strict=True)]
    alone = list(dict.fromkeys(answer for (_, answer), ok in zip(flat, clean, strict=True) if not ok))
    by_itself = dict(zip(alone, _tokens(tokenizer, alone), strict=True))
    tails: list[list[list[int]]] = [[] for _ in answers]
    for (k, answer), ids, ok in zip(flat, wholes, clean, strict=True):
        tails[k].append(ids[len(heads[k]) :] if ok else by_itself[answer])
    return tails


def _extends(head: list[int], whole: list[int]) -> bool:
    return len(whole) > len(head) and whole[: len(head)] == head


def _columns(tails: Sequence[Sequence[list[int]]]) -> tuple[int, ...] | None:
    """The candidates' tokens, when each is one token and the same after every prompt."""
    found = {tuple(map(tuple, those)) for those in tails}
    if len(found) != 1:
        return None
    only = found.pop()
    return tuple(ids[0] for ids in only) if all(len(ids) == 1 for ids in only) else None


def _differ(examples: Sequence[Example], tails: Sequence[Sequence[list[int]]]) -> None:
    """Refuse candidates the model cannot tell apart."""
    for example, those in zip(examples, tails, strict=True):
        names = example.candidates or ()
        seen: dict[tuple[int, ...], int] = {}
        for k, ids in enumerate(those):
            first = seen.setdefault(tuple(ids), k)
            if first != k:
                raise UsageError(
                    f"candidates: {names[first]!r} and {names[k]!r} are the same tokens; use other words"
                )
            if not ids:
                raise UsageError(f"candidates: {names[k]!r} has no tokens; use another word")

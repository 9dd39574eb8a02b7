"""Tokens: what is fed, what is read where, what is cut; and that collated scores are the model's own."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from lm import tiny

pytest.importorskip("transformers")

from zoptim.lm.encode import Encoded, Item, Row, collate, encode
from zoptim.lm.errors import UsageError
from zoptim.lm.tasks import Example

GREAT = (" terrible", " great")


def asked(prompt: str, candidates: tuple[str, ...] = GREAT, label: int = 1) -> Example:
    return Example(prompt, candidates, label, None, prompt)


def told(prompt: str, completion: str) -> Example:
    return Example(prompt, None, None, completion, prompt)


def choices(examples: list[Example], tokenizer: Any = None, **settings: Any) -> Encoded:
    return encode(examples, tokenizer or tiny.tokenizer(), kind="classification", **settings)


def completions(examples: list[Example], tokenizer: Any = None, **settings: Any) -> Encoded:
    return encode(examples, tokenizer or tiny.tokenizer(), kind="completion", **settings)


def ids(text: str) -> tuple[int, ...]:
    return tuple(tiny.tokenizer()(text).input_ids)


def test_single_tokens_need_one_row() -> None:
    item = choices([asked("a warm film . It was")]).items[0]
    assert item.rows == (Row(ids("a warm film . It was"), len(ids("a warm film . It was"))),)
    assert item.columns == (*ids(" terrible"), *ids(" great")) and item.label == 1 and item.weight == 1


def test_a_space_at_the_end_of_the_prompt_belongs_to_the_candidate() -> None:
    usual = choices([asked("It was")]).items
    assert choices([asked("It was ", ("terrible", "great"))]).items == usual
    assert choices([asked("It was\n", ("Yes", "No"))]).items[0].rows[0].ids == ids("It was\n")


def test_longer_candidates_get_a_row_each() -> None:
    item = choices([asked("It was", (" terrible", " great and funny"))]).items[0]
    assert item.columns is None and len(item.rows) == 2
    for row, candidate in zip(item.rows, (" terrible", " great and funny"), strict=True):
        assert row.ids == ids("It was" + candidate) and row.ids[row.start :] == ids(candidate)
    assert item.length == len(ids("It was great and funny"))


def test_own_candidates_get_rows_even_when_single() -> None:
    found = choices([asked("It was"), asked("It was", (" great", " terrible"))]).items
    assert [item.columns for item in found] == [None, None]
    assert found[0].rows[0] == found[1].rows[1]


def test_a_token_across_the_border() -> None:
    """ " gre" + "at": one token when joined, so the candidate is tokenised by itself."""
    item = choices([asked("It was gre", ("at", "en"))]).items[0]
    assert item.rows[0].ids == ids("It was gre")
    assert item.columns == (*ids("at"), *ids("en")) and len(ids("It was great")) < len(ids("It was gre")) + 1


@pytest.mark.parametrize("pair", [(" great", " great"), (" great and", " great and")])
def test_candidates_must_differ(pair: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match=f"'{pair[0]}' and '{pair[1]}' are the same tokens"):
        choices([asked("It was", pair)])


def test_bos_is_kept_when_the_prompt_is_cut() -> None:
    tokenizer = tiny.tokenizer(bos=True)
    long = asked("and " * 40 + "It was")
    done = choices([long, asked("It was")], tokenizer, max_length=16)
    row = done.items[0].rows[0]
    assert len(row.ids) == 16 and row.ids[0] == tokenizer.bos_token_id
    assert row.ids[1:] == ids(long.prompt)[-15:]
    assert done.truncated == 1 and "1 of 2 prompts" in done.notes[0]
    assert done.items[1].rows[0].ids == (0, *ids("It was"))


def test_what_is_scored_is_never_cut_for_the_prompt() -> None:
    done = choices([asked("and " * 40 + "It was", (" terrible", " great and funny"))], max_length=12)
    heads = {row.ids[: row.start] for row in done.items[0].rows}
    assert len(heads) == 1 and max(len(row.ids) for row in done.items[0].rows) == 12
    with pytest.raises(UsageError, match="max_length=4: a candidate has"):
        choices([asked("It was", (" great", " great and funny and warm"))], max_length=4)


def test_completions_end_with_eos_and_weigh_their_tokens() -> None:
    item = completions([told("what is two plus two ?", " four")]).items[0]
    (row,) = item.rows
    assert row.ids == (*ids("what is two plus two ? four"), 1)
    assert row.ids[row.start :] == (*ids(" four"), 1) and item.weight == len(ids(" four")) + 1
    assert item.label is None


def test_long_completions_are_cut_and_counted() -> None:
    done = completions([told("why ?", " and" * 50), told("why ?", " so")], max_length=10)
    row = done.items[0].rows[0]
    assert len(row.ids) == 10 and row.start == 1 and row.ids[-1] != 1
    assert done.cut == 1 and done.notes[-1].startswith("WARNING: 1 of 2 completions")


def test_an_empty_prompt_starts_with_a_special_token() -> None:
    row = completions([told("", "It was great")]).items[0].rows[0]
    assert row.ids == (0, *ids("It was great"), 1) and row.start == 1


def test_chat() -> None:
    tokenizer = tiny.tokenizer(chat=True)
    turn = ids("<|user|>\nwhy ?\n<|assistant|>\n")
    for chat in ("auto", "on", "yes"):
        done = completions([told("why ?", " No")], tokenizer, chat=chat)
        assert done.chat and done.items[0].rows[0].ids == (*turn, *ids("No"), 1)
    assert not completions([told("why ?", " No")], tokenizer, chat="off").chat
    assert not choices([asked("It was")], tokenizer).chat
    assert (
        choices([asked("why ?", (" Yes", " No"))], tokenizer, chat="on").items[0].rows[0].ids[: len(turn)]
        == turn
    )
    with pytest.raises(UsageError, match="no chat template"):
        completions([told("why ?", " No")], chat="on")


def test_collate_both_sides() -> None:
    items = [
        Item((Row((5, 6, 7), 1), Row((5, 8), 1)), 0),
        Item((Row((9, 9, 9, 4), 3), Row((9, 9, 9, 3), 3)), 1),
    ]
    right, left = collate(items, 2), collate(items, 2, "left")
    assert right.ids.tolist() == [[5, 6, 7, 2], [5, 8, 2, 2], [9, 9, 9, 4], [9, 9, 9, 3]]
    assert left.ids.tolist() == [[2, 5, 6, 7], [2, 2, 5, 8], [9, 9, 9, 4], [9, 9, 9, 3]]
    assert right.mask.sum(1).tolist() == left.mask.sum(1).tolist() == [3, 2, 4, 4]
    assert right.read.tolist() == [[0, 1], [0, 0], [2, 2], [2, 2]]
    assert left.read.tolist() == [[1, 2], [2, 2], [2, 2], [2, 2]]
    for batch in (right, left):
        assert batch.targets.tolist() == [[6, 7], [8, -1], [4, -1], [3, -1]]
        assert batch.owner.tolist() == [0, 0, 1, 1] and batch.labels.tolist() == [0, 1]
        assert batch.columns is None and batch.weights.tolist() == [1, 1]


def test_collate_columns() -> None:
    batch = collate([Item((Row((5, 6), 2),), 1, 1.0, (3, 4)), Item((Row((7,), 1),), 0, 1.0, (3, 4))], 0)
    assert batch.read.tolist() == [[1], [0]] and batch.targets.tolist() == [[-1], [-1]]
    assert batch.columns is not None and batch.columns.tolist() == [3, 4]
    with pytest.raises(UsageError, match="batch them apart"):
        collate([Item((Row((5,), 1),), 1, 1.0, (3, 4)), Item((Row((5,), 1),), 1, 1.0, (4, 3))], 0)


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_columns_say_what_rows_say(kind: str) -> None:
    """One row and columns give the same candidate log-probabilities as a row each, on every model."""
    torch = pytest.importorskip("torch")
    model = tiny.model(kind)
    examples = [
        asked(text) for text in ("a warm film . It was", "ninety minutes of shouting . It was", "It was")
    ]
    short = choices(examples).items
    long = [
        Item(tuple(Row((*i.rows[0].ids, c), len(i.rows[0].ids)) for c in i.columns or ()), i.label)
        for i in short
    ]

    def logp(items: list[Item]) -> np.ndarray:
        batch = collate(items, 1)
        with torch.no_grad():
            out = model(
                input_ids=torch.from_numpy(batch.ids), attention_mask=torch.from_numpy(batch.mask)
            ).logits
        every = torch.log_softmax(out, -1).numpy()[np.arange(len(batch.ids))[:, None], batch.read]
        if batch.columns is not None:
            return every[:, 0][:, batch.columns]
        return np.take_along_axis(every, batch.targets[:, :, None], 2)[:, 0, 0].reshape(len(items), -1)

    np.testing.assert_allclose(logp(short), logp(long), atol=1e-5)


def test_ten_thousand_sentences_are_quick() -> None:
    examples = [asked(f"{k} {tiny.SENTENCES[0]} {k * k}") for k in range(10_000)]
    begun = time.process_time()
    assert len(choices(examples).items) == 10_000
    assert time.process_time() - begun < 15  # 1-2 s on a quiet machine

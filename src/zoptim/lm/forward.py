"""A language model as a question: only what the objective reads is computed.

    read      the head sees the scored positions only, and only the candidates' rows where they are known
    depth     leading blocks without trained parameters run once; their output is cached
    decode    where the trained parameters lie after the last block's keys and values, those are cached too and
              a step runs the scored positions alone, like a generation step

The model's own forward runs in every mode: frozen blocks pass their input through, the first live block is
handed the cached hidden state, attention finds its past in a transformers cache.  No model is rewritten, so
a mode is accepted only after `Scorer.verify` finds the same losses as the full forward.

Not here: which examples are asked (`lm.batches`), what answers are worth (`lm.objectives`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..protocols import Directions, Draw, Point, State
from ..spaces.layers import override
from ..spaces.module import NEAR, Module
from ..spaces.visit import Visit
from .encode import Batch, Item, Row, collate
from .errors import UsageError
from .models import blocks, context_limit
from .prefix import Prefix, PrefixPlan, Stop, Tap, past_cache, run_frozen

POSITIONWISE = ("self_attn.q_proj", "self_attn.o_proj", "mlp")  # of a block, what knows of no other position


@dataclass(frozen=True)
class Outputs:
    """What a visit saw, (m, ...) over points.

    scores: (m, B, C) candidate log-probabilities (classification), else None.
    logp: (m, R, S) log-probabilities of the scored tokens where whole rows were scored, else None.
    logits: (m, R, S, V) where asked for, else None.
    counts: (R,) scored tokens of each row.
    """

    points: int
    scores: Tensor | None
    logp: Tensor | None
    logits: Tensor | None
    counts: Tensor


class Scorer:
    """Asks a model about batches of items.

    Args:
        space: the trained parameters and their model.
        pad_id: token id that fills short rows.

    Cost: a full forward a batch; less with a `Prefix`.
    """

    def __init__(self, space: Module, pad_id: int) -> None:
        self.space, self.pad_id = space, pad_id
        self.model: Any = space.model  # a transformers model: outputs with .logits
        find = getattr(self.model, "get_output_embeddings", None)
        head = find() if find else None
        self.head: nn.Linear | None = head if isinstance(head, nn.Linear) else None

    # -- asking --------------------------------------------------------------------------------------

    def __call__(
        self, view: Visit, items: Sequence[Item], prefix: Prefix | None = None, which: Any = None,
        keep_logits: bool = False,
    ) -> Outputs:  # fmt: skip
        """Scores of `items` at the visit's points; `which` are their numbers in `prefix`.

        A visit keeps no graph; asked outside of one (`Session.loss`), a gradient can be taken.
        """
        batch = collate(items, self.pad_id)
        asked = replace(batch, columns=None) if keep_logits else batch
        if prefix is None:
            logits = self._full(view, asked)
        elif prefix.plan.mode == "depth":
            logits = self._depth(view, asked, prefix, which)
        else:
            logits = self._decode(view, asked, prefix, which)
        return self._outputs(view, batch, logits, keep_logits)

    def full(self, view: Visit, items: Sequence[Item]) -> Outputs:
        """Scores by a full forward, through which gradients flow where they are enabled."""
        batch = collate(items, self.pad_id)
        return self._outputs(view, batch, self._full(view, batch), False)

    def _full(self, view: Visit, batch: Batch) -> Tensor:
        ids = torch.from_numpy(batch.ids)
        with self._reading(view, batch, torch.from_numpy(batch.read)) as select:
            out = self.model(input_ids=view.enter(ids), use_cache=False)
            return select(out.logits)

    def _depth(self, view: Visit, batch: Batch, prefix: Prefix, which: Any) -> Tensor:
        ids = torch.from_numpy(batch.ids)
        hidden, read = prefix.hidden(which, batch.ids.shape[1]), torch.from_numpy(batch.read)
        with (
            self._reading(view, batch, read) as select,
            prefix.frozen(view.enter(hidden)),
            last_read(view, prefix.plan.layers[-1], read),
        ):
            out = self.model(input_ids=view.enter(ids), use_cache=False)
            return select(out.logits)

    def _decode(self, view: Visit, batch: Batch, prefix: Prefix, which: Any) -> Tensor:
        step = prefix.step(which)
        read = torch.arange(step.ids.shape[1]).expand(len(step.ids), -1)
        with self._reading(view, batch, read) as select, prefix.frozen(view.expand(step.hidden)):
            out = self.model(
                input_ids=view.expand(step.ids),
                attention_mask=view.expand(step.mask),
                position_ids=view.expand(step.positions),
                past_key_values=past_cache(prefix.plan, view, step),
                use_cache=True,
            )
            return select(out.logits)

    @contextmanager
    def _reading(self, view: Visit, batch: Batch, read: Tensor) -> Iterator[Callable[[Tensor], Tensor]]:
        """Let the head see only the positions read, and only the candidates' rows."""
        columns = batch.columns
        where = view.expand(read)
        take = torch.arange(len(where))[:, None]
        head: Any = self.head
        if head is None:

            def select(logits: Tensor) -> Tensor:
                logits = view.apart(logits)[take, where]
                return logits if columns is None else logits[..., columns]

            yield select
            return
        inner: Callable[..., Tensor] | None = head.__dict__.get("forward")
        index = None if columns is None else torch.from_numpy(columns)

        def forward(x: Tensor) -> Tensor:
            x = view.apart(x)[take, where]
            if index is None:
                return inner(x) if inner else nn.functional.linear(x, head.weight, head.bias)
            if inner:
                return inner(x, rows=columns)
            bias = None if head.bias is None else head.bias[index]
            rows: Tensor = head.weight[index]
            return nn.functional.linear(x, rows, bias)

        head.__dict__["forward"] = forward
        try:
            yield lambda logits: logits
        finally:
            if inner is None:
                del head.__dict__["forward"]
            else:
                head.__dict__["forward"] = inner

    def _outputs(self, view: Visit, batch: Batch, logits: Tensor, keep: bool) -> Outputs:
        m = 1 if view.lone else view.m
        logits = logits.float()
        targets = torch.from_numpy(batch.targets)
        counts = (targets >= 0).sum(1)
        kept = logits.view(m, -1, *logits.shape[1:]) if keep else None
        if batch.columns is not None:
            last = logits[:, -1, :] if kept is None else logits[:, -1, torch.from_numpy(batch.columns)]
            scores = torch.log_softmax(last, -1).view(m, -1, len(batch.columns))
            return Outputs(m, scores, None, kept, counts)
        wanted = view.expand(targets).clamp(min=0)
        logp = logits.gather(-1, wanted[..., None])[..., 0] - torch.logsumexp(logits, -1)
        logp = logp.view(m, *targets.shape) * (targets >= 0)
        if batch.labels is None or (batch.labels < 0).all():
            return Outputs(m, None, logp, kept, counts)
        mean = logp.sum(-1) / counts  # (m, R): mean log-probability of each candidate
        return Outputs(m, _by_item(mean, batch.owner), logp, kept, counts)

    def generate(self, view: Visit, items: Sequence[Item], tokenizer: Any, most: int) -> list[list[str]]:
        """Greedy continuations of the prompts at every point, up to a line end or `most` tokens: (m, B)."""
        prompts = [
            Item((Row(item.rows[0].ids[: item.rows[0].start], item.rows[0].start),), None) for item in items
        ]
        batch = collate(prompts, self.pad_id, side="left")
        most = max(1, min(most, (context_limit(self.model) or 1 << 30) - batch.ids.shape[1]))
        with torch.no_grad():
            ids, mask = (view.expand(torch.from_numpy(x)) for x in (batch.ids, batch.mask))
            out = self.model.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=most, do_sample=False, use_cache=True,
                pad_token_id=self.pad_id,
            )  # fmt: skip
        said = tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)
        lines = [text.strip().split("\n")[0] for text in said]
        return [lines[p * len(items) : (p + 1) * len(items)] for p in range(view.m)]

    # -- deciding what to cache ------------------------------------------------------------------------

    def plan(
        self, items: Sequence[Item], directions: Directions, state: State, eps: float
    ) -> PrefixPlan | None:
        """The deepest cache the trained parameters allow; None: nothing in front is frozen.

        Cost: two forwards of a few items.
        """
        try:
            layers = blocks(self.model)
        except UsageError:
            return None
        trained = set(self.space.owners)
        inside = {sub: i for i, block in enumerate(layers) for sub in block.modules()}
        after = self._after(layers)
        places = [inside.get(owner, len(layers) if owner in after else -1) for owner in trained]
        first = min(places)
        if first <= 0:
            return None
        tuples = run_frozen(self.model, layers, items[:2], self.pad_id)
        if first < len(layers) - 1:
            return PrefixPlan("depth", first, layers, tuples)
        if first == len(layers):
            return PrefixPlan("decode", first, layers, tuples)
        moved = self._keys_move(layers, items[:2], directions, state, eps)
        return PrefixPlan("depth" if moved else "decode", first, layers, tuples)

    def _after(self, layers: Sequence[nn.Module]) -> set[nn.Module]:
        """Modules that first run once the last block is done, found by watching a forward."""
        seen: list[nn.Module] = []
        hooks = [m.register_forward_pre_hook(lambda mod, _: seen.append(mod)) for m in self.model.modules()]
        try:
            with torch.no_grad():
                self.model(input_ids=torch.tensor([[self.pad_id]]), use_cache=False)
        finally:
            for hook in hooks:
                hook.remove()
        last = max(i for i, m in enumerate(seen) if m is layers[-1])
        before = set(seen[:last])
        inner = set(layers[-1].modules())
        return {m for m in seen[last:] if m not in before and m not in inner}

    def _keys_move(
        self,
        layers: Sequence[nn.Module],
        items: Sequence[Item],
        directions: Directions,
        state: State,
        eps: float,
    ) -> bool:
        """Whether the last block's keys or values depend on a trained parameter, or cannot be cached."""
        batch = collate(items, self.pad_id)
        ids = torch.from_numpy(batch.ids)
        seen = []
        for terms in ((), ((Draw(0, 0), max(eps, 1e-2)),)):
            tap = Tap(len(layers) - 1)
            with self.space.visit([Point(terms)], directions, state), torch.no_grad():
                try:
                    self.model(input_ids=ids, past_key_values=tap.cache, use_cache=True)
                except Stop:
                    pass
                except Exception:
                    return True
            if tap.keys is None:
                return True
            seen.append((tap.keys, tap.values))
        return not all(torch.equal(a, b) for a, b in zip(*seen, strict=True))

    def verify(
        self, prefix: Prefix, items: Sequence[Item], which: Any, directions: Directions, state: State, eps: float,
        tolerance: float | None = None,
    ) -> str | None:  # fmt: skip
        """Whether cached and full forwards give the same scores at a perturbed point; else what is wrong.

        `tolerance` is relative to 1 + the largest score; None: 1e-4, in half precision what `NEAR` allows.

        Cost: two forwards, one of them full.
        """
        with self.space.visit([Point(((Draw(0, 0), eps),))], directions, state) as view:
            full = self(view, items)
            try:
                cached = self(view, items, prefix, which)
            except Exception as error:  # a model whose forward cannot be entered half-way: any error means no
                return f"{type(error).__name__}: {error}"
        if tolerance is None:  # other shapes of products round otherwise: 2 ulp of a half are 8e-3
            tolerance = max(1e-4, *(NEAR.get(p.dtype, 0.0) for p in self.model.parameters()))
        a, b = (o.scores if o.scores is not None else o.logp for o in (cached, full))
        assert a is not None and b is not None
        a, b = (torch.nan_to_num(x, neginf=0.0) for x in (a, b))  # candidates a short list does not have
        gap = float((a - b).abs().max())
        return None if gap <= tolerance * (1.0 + float(b.abs().max())) else f"scores differ by {gap:.2g}"


@contextmanager
def last_read(view: Visit, block: nn.Module, read: Tensor) -> Iterator[None]:
    """Let the last block compute what only the positions read need at these positions alone; elsewhere it says 0.

    Keys and values are needed everywhere; queries, the attention's output and the MLP are not.  By the names most
    decoders give them: other blocks run whole.
    """

    def at_read(call: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def forward(x: Tensor) -> Tensor:
            where = read if len(x) == len(read) else view.expand(read)
            take = torch.arange(len(x))[:, None]
            y = call(x[take, where])
            if not isinstance(y, Tensor):  # with router logits, say
                return call(x)
            out = y.new_zeros(*x.shape[:-1], y.shape[-1])
            out[take, where] = y
            return out

        return forward

    with ExitStack() as undo:
        for name in POSITIONWISE:
            child = operator.attrgetter(name)(block) if _has(block, name) else None
            if isinstance(child, nn.Module):
                undo.enter_context(override(child, at_read(child.forward)))
        yield


def _has(block: nn.Module, name: str) -> bool:
    first, _, rest = name.partition(".")
    child = getattr(block, first, None)
    return child is not None and (not rest or _has(child, rest))


def _by_item(rows: Tensor, owner: np.ndarray) -> Tensor:
    """(m, R) scores of candidate rows -> (m, B, C), short candidate lists filled with -inf."""
    counts = np.bincount(owner)
    out = rows.new_full((rows.shape[0], len(counts), int(counts.max())), -torch.inf)
    place = np.concatenate([np.arange(c) for c in counts])
    out[:, torch.from_numpy(owner), torch.from_numpy(place)] = rows
    return out

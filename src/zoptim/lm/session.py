"""A fine-tuning run, opened: model, data, space, questions, from a config and its folder.

    RUN/config.yaml      the resolved config, for people
    RUN/journal.zoj      header (config, base digest, slots, calibration) and records: the truth
    RUN/metrics.jsonl    what was seen on the way
    RUN/cache/           files of a running process; empty when it ends

Every command on a run asks through a session.  Not here: opening an existing run (`existing`), the training loop
(`training`), how good the weights are (`measure`), the mathematics (`engine`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..directions import Dense
from ..journal import canonical_json, digest
from ..method import Method
from ..noise import key_from_seed, permutation
from ..protocols import Point
from ..spaces.module import Module
from ..spaces.streamed import Streamed
from ..spaces.visit import Visit
from . import encode, models, tasks
from . import stream as streams
from .asked import around_choice, method_for, refuse_streamed, refuse_whole
from .config import Config
from .errors import UsageError
from .forward import Outputs, Scorer
from .objectives import Asked, Goal, joined, make
from .prefix import Prefix, PrefixPlan
from .quantized import choosable, codes, held
from .threads import set_threads
from .units import size

JOURNAL, METRICS, RESULT = "journal.zoj", "metrics.jsonl", "result.json"
CACHED = 8192  # training examples whose prefix is cached by default: beyond, caching outlasts training
SUBSET = 1 << 20  # an epoch number no run reaches: names the draw of subsets
NEW_TOKENS = 48  # generated for objectives that read text


class _Still:
    """Directions for visits that go nowhere."""

    memoryless = True
    scope: Literal["rows", "slot"] = "rows"
    vectors = 0

    def init(self, slots: Any, key: int, horizon: int = 1) -> None: ...

    def form(self, *a: Any, **kw: Any) -> None:
        raise AssertionError("nothing to form")

    def learn(self, *a: Any) -> None: ...


STILL = _Still()


@dataclass
class Split:
    """One split's items and, once built, their prefix."""

    examples: list[Any]
    items: list[encode.Item]
    prefix: Prefix | None = None

    def some(self, limit: int | None, key: int) -> Split:
        """At most `limit` examples, drawn by the run key, in their order: a file may be sorted."""
        if limit is None or len(self.items) <= limit:
            return self
        chosen = sorted(permutation(key, SUBSET, len(self.items))[:limit].tolist())
        return Split([self.examples[i] for i in chosen], [self.items[i] for i in chosen])

    @property
    def lengths(self) -> list[int]:
        return [len(item.rows) * item.length for item in self.items]


@dataclass
class Session:
    """Everything a command needs; `say` gets one line for people at a time."""

    config: Config
    loaded: models.Loaded
    task: tasks.Task | None
    space: Module
    scorer: Scorer
    goal: Goal
    say: Callable[[str], None] = lambda text: None
    splits: dict[str, Split] = field(default_factory=dict)
    plan: PrefixPlan | None = None
    compiled: bool = False  # blocks run compiled where they are not perturbed: `compiled`

    # -- opening -------------------------------------------------------------------------------------

    @classmethod
    def open(
        cls, config: Config, *, names: Sequence[str] | None = None, data: bool = True,
        chosen: Mapping[str, np.ndarray] | None = None, say: Callable[[str], None] = lambda text: None,
    ) -> Session:  # fmt: skip
        """Load model and data.  `names`: the trained parameters of an existing run; `chosen`: what it quantised around."""
        set_threads(1 if config.processes > 1 else config.threads, say)
        task = load_task(config, say) if data else None  # first: its errors are quick to come by
        kind = task.kind if task else "classification"
        goal = make(config.objective, kind)
        refuse_whole(config, goal)
        loaded = models.load(
            config.model, dtype=config.dtype, adapter=config.adapter, seed=config.seed, stream=config.stream,
            quantize=None if names is None and around_choice(config) else codes(config), chosen=chosen,
        )  # fmt: skip
        if names is None:
            config = with_train(loaded.model, config)
            names = [name for name, _ in models.select(loaded.model, config.train)]
            names = choosable(loaded.model, names) if around_choice(config) else names
        space = (
            streams.space(loaded, names, config)
            if config.stream
            else _space(loaded.model, names, config, say)
        )
        scorer = Scorer(space, loaded.tokenizer.pad_token_id)
        session = cls(config, loaded, task, space, scorer, goal, say)
        if session.stream:
            refuse_streamed(
                method_for(config, 1.0, 1.0), session.stream.defers
            )  # before all weights are read
            loaded.source["sha256"] = session.digest()
            say(streams.about(session.stream))
        if task:
            for name in ("train", "dev", "test"):
                session.splits[name] = session._split(getattr(task, name))
            key = key_from_seed(config.seed)
            for name, limit in (("train", config.train_limit), ("dev", config.dev_limit)):
                session.splits[name] = session.splits[name].some(limit, key)
        return session

    def around(self, chosen: Mapping[str, np.ndarray]) -> None:
        """Quantise the layers around chosen weights, which are what is trained from here on.

        The session itself changes: another one would keep the weights in floats for as long as anyone held it.
        """
        how = codes(self.config)
        assert how is not None
        self.loaded = models.around(self.loaded, how, chosen)
        names = [held(name) for name in chosen]
        self.space = _space(self.loaded.model, names, self.config, self.say)
        self.scorer = Scorer(self.space, self.loaded.tokenizer.pad_token_id)

    def _split(self, examples: list[Any]) -> Split:
        assert self.task is not None
        config = self.config
        done = encode.encode(
            examples, self.loaded.tokenizer, kind=self.task.kind, max_length=self.limit, chat=config.chat
        )
        for note in done.notes:
            self.say(note)
        return Split(list(examples), done.items)

    @property
    def stream(self) -> Streamed | None:
        """The space, where weights are streamed."""
        return self.space if isinstance(self.space, Streamed) else None

    def digest(self) -> str:
        """sha256 of the model's weights as they are."""
        return models.weights_digest(self.loaded.model, self.stream)

    @property
    def limit(self) -> int:
        """Tokens an example may have."""
        given = self.config.max_length or encode.MAX_LENGTH
        return min(given, models.context_limit(self.loaded.model) or given)

    @property
    def kind(self) -> str:
        return self.task.kind if self.task else "classification"

    # -- asking --------------------------------------------------------------------------------------

    def objective(
        self, split: Split, which: Sequence[int] | np.ndarray,
        more: Callable[[int], np.ndarray] | None = None,
    ) -> Callable[[Visit], Any]:  # fmt: skip
        """The question a step asks about these examples; `more(k)` are those of k batches, for points that ask many.

        Examples go through the model a micro-batch at a time: their losses are put together before any difference is
        taken, so the step is the same to rounding.
        """

        def ask(view: Visit) -> Any:
            if view.items[0].own >= 0:
                view.lone = True
                return self._ask_apart(view, split, [which[item.own] for item in view.items])
            batches = view.items[0].batches
            asked = which if batches == 1 or more is None else more(batches)
            size = self.config.micro_batch or len(which)
            pieces = [asked[i : i + size] for i in range(0, len(asked), size)]
            return joined([self._ask(view, split, piece) for piece in pieces], self.goal.name)

        return ask

    def loss(self, split: Split, which: Sequence[int] | np.ndarray) -> Callable[[], Tensor]:
        """The mean loss of these examples as the weights stand, a scalar with its graph; see `spaces.gradient`."""

        def mean() -> Tensor:
            answer = self._ask(Visit([Point(())], STILL, None), split, which)
            values, counts = answer if isinstance(answer, tuple) else (answer, np.ones(len(which)))
            weights = torch.from_numpy(counts).to(values.dtype)
            total: Tensor = (values[0] * weights).sum() / weights.sum()
            return total

        return mean

    def _ask(self, view: Visit, split: Split, which: Sequence[int] | np.ndarray) -> Any:
        items = [split.items[i] for i in which]
        out, text = self._outputs(view, split, items, which)
        labels = np.array([-1 if i.label is None else i.label for i in items])
        batch = Asked(items, labels, [split.examples[i].completion or "" for i in which])
        return self.goal.values(batch, out, text)

    def _ask_apart(self, view: Visit, split: Split, which: Sequence[int]) -> np.ndarray:
        """One example a point: (m, 1)."""
        if len({len(split.items[i].rows) for i in which}) > 1:
            raise UsageError(
                f"method={self.config.method}: it asks every example at a point of its own, and these have different "
                "numbers of candidates; give all the same, of one token each"
            )
        answer = self._ask(view, split, which)  # as of one point on m examples
        values = np.asarray(answer[0] if isinstance(answer, tuple) else answer, dtype=np.float64)
        if values.ndim != 2:
            raise UsageError(
                f"method={self.config.method}: it needs a loss of every example, and objective={self.goal.name} gives "
                "one number a batch; use --objective loss or accuracy, or another method"
            )
        return values.T

    def _outputs(self, view: Visit, split: Split, items: Any, which: Any) -> tuple[Outputs, Any]:
        text = None
        if self.goal.needs == "text":
            text = self.scorer.generate(view, items, self.loaded.tokenizer, NEW_TOKENS)
            empty = Outputs(view.m, None, None, None, torch.zeros(len(items), dtype=torch.long))
            return empty, text
        keep = self.goal.needs == "logits"
        return self.scorer(view, items, split.prefix, which, keep_logits=keep), text

    # -- caching the prefix ----------------------------------------------------------------------------

    def cache_prefix(self, method: Method, key: int, names: Sequence[str]) -> None:
        """Decide, verify and build the frozen prefix of the named splits."""
        directions, state = (
            Dense("normal"),
            key,
        )  # moves every trained number, whichever a step of the method moves
        train = self.splits["train"]
        if self.plan is None:
            self.plan = self.scorer.plan(train.items, directions, state, method.eps)
            few = train.items[: min(8, len(train.items))]
            while self.plan is not None:
                small = self._prefix(few)
                wrong = self.scorer.verify(small, few, range(len(few)), directions, state, method.eps)
                if wrong is None:
                    break
                self.say(
                    f"going without the {self.plan.mode} cache, it does not reproduce this model ({wrong})"
                )
                self.plan = replace(self.plan, mode="depth") if self.plan.attends else None
        if self.plan is None:
            return
        train = self.splits["train"] = train.some(self.config.train_limit or CACHED, key)
        for name in names:
            split = self.splits[name]
            if split.prefix is None and split.items:
                split.prefix = self._prefix(split.items, name)

    def _prefix(self, items: Sequence[encode.Item], name: str = "") -> Prefix:
        assert self.plan is not None

        def tell(done: int, total: int) -> None:
            if name:
                self.say(f"\rcaching the frozen prefix of {name}: {done:,}/{total:,}")

        return Prefix(
            self.loaded.model, self.plan, items, self.loaded.tokenizer.pad_token_id,
            limit=self.config.cache_gb * 1e9 / 2, folder=self.config.out / "cache", say=tell,
        )  # fmt: skip


def _space(model: Any, names: Sequence[str], config: Config, say: Callable[[str], None]) -> Module:
    """The trained parameters, with the float32 master where the config asks for one."""
    if config.master == "none":
        return Module(model, names)
    trained = set(names)
    dtypes = {p.dtype for name, p in model.named_parameters(remove_duplicate=False) if name in trained}
    if dtypes == {torch.float32}:  # of an adapter: it is float32 on a model of any dtype
        raise UsageError(
            f"master={config.master!r}: the trained parameters are float32 already, nothing is rounded; leave it out"
        )
    space = Module(model, names, master=torch.float32)
    say(f"a float32 master of the trained weights takes {size(space.master_bytes)}")
    return space


def load_task(config: Config, say: Callable[[str], None]) -> tasks.Task:
    """The packaged task or the user's files; guesses are said aloud."""
    if config.task:
        return tasks.load_packaged(config.task, template=config.template, candidates=config.candidates)
    assert config.data is not None
    task = tasks.from_files(
        config.data, template=config.template, candidates=config.candidates, completion=config.completion,
        label=config.label, dev=config.dev, test=config.test,
    )  # fmt: skip
    for note in task.notes:
        say(note)
    return task


def data_digest(task: tasks.Task) -> str:
    """One digest over what a task was made from."""
    return digest(canonical_json(task.source))


def with_train(model: Any, config: Config) -> Config:
    """`--train auto` decided: the adapter if there is one, the scales for qzo, else the last norm, else the last block, else all.

    What is quantised around a choice has matrices to choose from: the last block's.  A split between blocks has all.

    The norm before the head is where forward passes go furthest: a few hundred numbers that reach every logit,
    behind a prefix that is computed once (LOG.md, 2026-11-22).
    """
    if config.train != "auto":
        return config
    if config.method == "qzo" and not config.adapter:
        return replace(config, train="scales")
    if around_choice(config):
        return replace(config, train="last-block")
    first = method_for(config, 1.0, 1.0).first
    if first and first.blocks and not config.adapter:
        return replace(config, train="all")
    for words in ("adapter",) if config.adapter else ("final-norm", "last-block", "all"):
        try:
            models.select(model, words)
        except UsageError:
            continue
        return replace(config, train=words)
    return replace(config, train="all")

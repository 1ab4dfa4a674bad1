"""What the models' own reported usage has taught about the tokens of prompts, by provider and model.

It serves token counts, reservations and the trimming of histories. A report adjusts the weights in memory;
they are stored with the settlement that brought it.
"""

from collections import OrderedDict
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from chathub.billing.token_regression import Weights
from chathub.database.database import Database
from chathub.database.transaction import Transaction
from chathub.formats import estimates
from chathub.formats.messages import Attempt
from chathub.formats.prompt_counts import PromptCounts
from chathub.providers.chat_model import ChatModel

# models that are remembered, and characters of their names
_MOST, _LONGEST_NAME = 500, 200
# a reservation is so much larger than what is expected, after so many reports
_MARGIN, _ENOUGH = 1.15, 5
# reports that are all learned from and stored; after them one of so many, or of more by the same user
_FIRST, _EVERY, _EVERY_OF_ONE = 32, 16, 128

_decode_state = msgspec.json.Decoder(list[float]).decode


class Lesson(Struct, frozen=True):
    """The weights of a model after a report, to be stored with the settlement; ``state`` is JSON.
    ``is_first``: it is the model's first report."""

    provider: str
    model: str
    state: str
    is_first: bool


class TokenWeights:
    """The weights of the models that were used last. A model without reports has the usual ones."""

    def __init__(self) -> None:
        self._by_model: OrderedDict[tuple[str, str], Weights] = OrderedDict()
        # the user whose report was learned from last, and the replies since then
        self._last: dict[tuple[str, str], tuple[int, int]] = {}

    async def load(self, db: Database) -> None:
        newest_first = await db.fetch_all(db.q.token_weights.list_newest_first, most=_MOST)
        for row in reversed(newest_first):
            if weights := Weights.loaded(_decode_state(row.state)):
                self._by_model[row.provider, row.model] = weights

    def expected(self, model: ChatModel, counts: PromptCounts) -> int:
        """About how many tokens a prompt is for a model: at least one."""
        weights = self._by_model.get(_key(model))
        if weights is None:
            return max(1, estimates.expected(counts))
        return max(1, round(weights.tokens(estimates.parts_of(counts))))

    def longest(self, models: Iterable[ChatModel], counts: PromptCounts) -> int:
        """The most tokens that a prompt may be for any of some models. What was learned only adds to what is
        usual: a provider that reports too little must not make reservations small."""
        longest = estimates.longest(counts)
        known = [self._by_model[key] for key in map(_key, models) if key in self._by_model]
        if not (known := [each for each in known if each.reports >= _ENOUGH]):
            return longest
        parts = estimates.parts_of(counts)
        return max(longest, *(round(_MARGIN * each.tokens(parts)) for each in known))

    def is_curious(self, model: ChatModel, user_id: int) -> bool:
        """Whether the next report of a model is learned from: all of the first ones, then some, of different
        users if there are several: the weights count for all of them."""
        key = _key(model)
        weights = self._by_model.get(key)
        if weights is None or weights.reports < _FIRST:
            return True
        last, replies = self._last.get(key, (0, 0))
        is_due = replies + 1 >= (_EVERY_OF_ONE if user_id == last else _EVERY)
        self._last[key] = (user_id, 0) if is_due else (last, replies + 1)
        return is_due

    def learn(
        self, model: ChatModel, attempt: Attempt, counts: PromptCounts, reported: int | None
    ) -> Lesson | None:
        """Learn from what a provider reported of a prompt (None: nothing). An address that a user chose
        teaches nothing: the weights count for all users."""
        if (
            reported is None
            or counts.is_added_to
            or not attempt.endpoint.trusted
            or not attempt.is_successful
        ):
            return None
        key = _key(model)
        if len(key[0]) + len(key[1]) > _LONGEST_NAME:
            return None
        weights = self._by_model.get(key) or Weights()
        if not weights.learn(estimates.parts_of(counts), reported):
            return None
        self._by_model[key] = weights
        self._by_model.move_to_end(key)
        if len(self._by_model) > _MOST:
            forgotten, _ = self._by_model.popitem(last=False)
            self._last.pop(forgotten, None)
        return Lesson(*key, msgspec.json.encode(weights.state).decode(), weights.reports == 1)


def _key(model: ChatModel) -> tuple[str, str]:
    return model.provider_slug, model.upstream_name


def store(tx: Transaction, lesson: Lesson | None, now: int) -> None:
    """Store what a report has taught."""
    if lesson is None:
        return
    tx.run(
        tx.q.token_weights.put,
        provider=lesson.provider,
        model=lesson.model,
        state=lesson.state,
        now=now,
    )
    if lesson.is_first:
        tx.run(tx.q.token_weights.delete_oldest, kept=_MOST)

"""The data of a turn: its request, what is stored at its beginning, and what is stored at its end."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from chathub.accounts.caller import Caller
from chathub.billing.budgets import BudgetOwner, UsageBound
from chathub.billing.ledger import UsageCost
from chathub.billing.token_weights import Lesson, TokenWeights
from chathub.chat.context import CHARACTERS
from chathub.chat.final_status import FinalStatus
from chathub.clock import Month
from chathub.database.rows.messages import ContextMessage
from chathub.database.rows.output_rates import OutputRate
from chathub.errors import ChatHubError
from chathub.formats.messages import Attempt, Image, Message, user_message
from chathub.formats.prompt_counts import PromptCounts, counts_of_prompt
from chathub.formats.registry import TAKE_OWN_IMAGES
from chathub.limits.request_memory import RequestBody
from chathub.providers.candidates import Candidates
from chathub.providers.chat_model import ChatModel
from chathub.schemas.budgets import Budget
from chathub.schemas.chats import BULKY, Options, ToolResult
from chathub.schemas.json import JsonObject
from chathub.sentences import Language, Reason, sentence

# the two texts of a reply
Kind = Literal["content", "reasoning"]


class IdempotencyKey(Struct, frozen=True):
    """The idempotency key of a request, and the digest of the request's content."""

    name: str
    digest: str


# characters of text that are stored of a refused turn: the limit of one message
_REFUSED_TEXT = 200_000


class BranchPoint(Struct, frozen=True):
    """Where in the tree a turn goes: after the conversation's head (``new``), as a sibling of the user
    message ``message_id`` (``edit``), or as another reply to it (``again``). ``fresh``: the server made the
    conversation's id, so there is no such conversation yet."""

    kind: Literal["new", "edit", "again"]
    public_id: str
    message_id: int = 0
    fresh: bool = False


class Prompt(Struct, frozen=True):
    """What a turn begins with: a text with images, or the results of the last reply's tool calls."""

    text: str = ""
    images: tuple[Image, ...] = ()
    results: tuple[ToolResult, ...] = ()

    def messages(self) -> list[Message]:
        """The prompt as messages for a provider."""
        if self.results:
            return [
                Message("tool", result.content, tool_call_id=result.tool_call_id) for result in self.results
            ]
        return [user_message(self.text, self.images)]

    def shortened(self) -> "Prompt":
        """The part that is stored of a refused turn: text of a bounded length, no images."""
        results, remaining = [], _REFUSED_TEXT
        for result in self.results:
            results.append(replace(result, content=result.content[:remaining]))
            remaining -= len(results[-1].content)
        return Prompt(self.text[:_REFUSED_TEXT], results=tuple(results))


class NewTurn(Struct, frozen=True, kw_only=True):
    """A turn before it is stored.

    ``requested_model`` is the name that the conversation keeps, ``model`` the one that is tried first.
    ``options`` are stored with the prompt, for another reply to it. With a ``refusal`` the reply is stored
    as failed. The history's images are read only if the model ``supports_vision``, those of replies only if
    an endpoint takes them (``returns_images``). ``bound`` is what the turn may use, without the history
    (None: nothing, the turn is refused); ``longest`` gives the most tokens that messages may be. ``untitled``
    is the title of a new conversation whose prompt gives none. ``is_incomplete``: only a part of the prompt
    is stored.
    """

    branch_point: BranchPoint
    owner: BudgetOwner
    bound: UsageBound | None
    longest: Callable[[PromptCounts], int]
    prompt: Prompt
    options: JsonObject
    idempotency_key: IdempotencyKey | None
    requested_model: str
    model: str
    provider: str
    key_id: int | None = None
    history_characters: int
    supports_vision: bool
    returns_images: bool = False
    refusal: FinalStatus | None
    untitled: str
    is_incomplete: bool = False

    @property
    def user_id(self) -> int:
        return self.owner.user_id

    @property
    def now(self) -> int:
        return self.owner.month.now

    def refused(self, refusal: FinalStatus) -> "NewTurn":
        """The turn as it is stored if it is refused, without large parts: a user without a budget must not
        fill the disk."""
        prompt = self.prompt.shortened()
        options = {name: value for name, value in self.options.items() if name not in BULKY}
        is_incomplete = prompt != self.prompt or len(options) < len(self.options)
        return replace(self, refusal=refusal, prompt=prompt, options=options, is_incomplete=is_incomplete)


# the final status of a reply that could not be stored yet and whose text was dropped meanwhile
_CUT = FinalStatus("interrupted", Reason("reply_partly_saved"), 503, "interrupted")


class Turn(Struct, frozen=True):
    """A turn whose messages are on disk. ``history`` is the branch before the ``prompt``, oldest first, and
    ``images`` are the images of the history, by message.

    ``reservation_id`` is the reservation of what it may use (0: none), ``reply_cap`` the cap on the reply's
    length in tokens (None: no cap), ``reply_tokens`` the length that is reserved. If the turn was refused,
    ``refusal`` says why, and ``budget`` is the budget that is used up. ``is_limited``: its user has a cost
    budget.
    """

    conversation_id: int
    public_id: str
    title: str
    user_message_id: int
    message_id: int
    prompt: list[Message] = []
    history: Sequence[ContextMessage] = ()
    images: dict[int, list[Image]] = {}
    is_first: bool = False
    reservation_id: int = 0
    reply_cap: int | None = None
    reply_tokens: int = 0
    refusal: FinalStatus | None = None
    budget: Budget | None = None
    is_limited: bool = False

    def without_texts(self) -> "Turn":
        """The part of the turn that is needed after its end."""
        return replace(self, prompt=[], history=(), images={})


class Settlement(Struct, frozen=True, kw_only=True):
    """How a reply ended and what it used.

    ``requested_model`` is the name in the request. ``attempts`` were made with ``models`` (by name), the last
    with ``model``; ``end_reason`` is how it ended, for the ledger. ``key_id`` is the API key of a successful
    reply. ``was_saved``: parts of the text are on disk; ``is_cut``: the rest of it is lost. ``tool_calls``,
    ``state`` and ``sources`` are JSON. ``prompt_estimate`` is for failed attempts; ``lesson`` and ``rate``
    are what the reported usage has taught.
    """

    owner: BudgetOwner
    requested_model: str = ""
    model: ChatModel
    attempts: list[Attempt] = []
    models: dict[str, ChatModel] = {}
    first_at: float | None = None
    key_id: int | None = None
    content: str
    reasoning: str
    tool_calls: str = ""
    state: str = ""
    sources: str = ""
    was_saved: bool
    final_status: FinalStatus
    end_reason: str
    usage_cost: UsageCost
    prompt_estimate: int = 0
    lesson: Lesson | None = None
    rate: OutputRate | None = None
    is_cut: bool = False

    def without_text(self) -> "Settlement":
        return replace(
            self,
            content="",
            reasoning="",
            tool_calls="",
            state="",
            sources="",
            was_saved=True,
            is_cut=True,
            final_status=_CUT,
            end_reason=_CUT.finish_reason,
        )


def _takes_own_images(candidates: Candidates) -> bool:
    """Whether one of the endpoints takes images of replies in the history."""
    endpoints = [endpoint for candidate in candidates.in_order for endpoint in candidate.endpoints]
    return any(endpoint.wire_format in TAKE_OWN_IMAGES for endpoint in endpoints)


class TurnRequest(Struct, frozen=True):
    """A request for a reply, with its candidates or the reason why there are none.

    ``model`` is the requested name; ``body`` is the request's body, whose images stay in memory until the
    reply has ended.
    """

    caller: Caller
    branch_point: BranchPoint
    prompt: Prompt
    model: str
    options: Options
    candidates: Candidates | ChatHubError
    idempotency_key: IdempotencyKey | None
    body: RequestBody

    @property
    def model_name(self) -> str:
        return self.model if isinstance(self.candidates, ChatHubError) else self.candidates.requested

    @property
    def is_large(self) -> bool:
        """Whether more than a text and short options would be stored."""
        has_bulky_options = any(getattr(self.options, name) for name in BULKY)
        is_shortened = self.prompt.shortened() != self.prompt
        return self.branch_point.kind != "again" and (has_bulky_options or is_shortened)

    @property
    def refusal(self) -> FinalStatus | None:
        """The final status of the reply if there are no candidates."""
        error = self.candidates
        if not isinstance(error, ChatHubError):
            return None
        return FinalStatus("error", error.reason, error.status, "error", error.retry_after)

    def new_turn(self, month: Month, language: Language, token_weights: TokenWeights) -> NewTurn:
        """The turn to be stored; ``language`` is that of a title which is not the prompt's."""
        candidates = None if isinstance(self.candidates, ChatHubError) else self.candidates
        models = list(candidates.models.values()) if candidates else []
        longest = partial(token_weights.longest, models)
        return NewTurn(
            branch_point=self.branch_point,
            owner=BudgetOwner(self.caller.id, self.caller.token_id, month),
            bound=self._bound(candidates, longest) if candidates else None,
            longest=longest,
            prompt=self.prompt,
            options=self.options.stored(),
            idempotency_key=self.idempotency_key,
            requested_model=self.model_name,
            model=candidates.model.name if candidates else self.model,
            provider=candidates.model.provider_slug if candidates else "",
            key_id=candidates.first_key_id if candidates else None,
            history_characters=CHARACTERS * candidates.model.context_window if candidates else 0,
            supports_vision=candidates.model.supports_vision if candidates else False,
            returns_images=candidates is not None and _takes_own_images(candidates),
            refusal=self.refusal,
            untitled=sentence(
                "image_conversation" if self.prompt.images else "new_conversation", language, {}
            ),
        )

    def _bound(self, candidates: Candidates, longest: Callable[[PromptCounts], int]) -> UsageBound:
        """What the turn may use, without the history."""
        options = self.options
        system = [Message("system", options.system_prompt)] if options.system_prompt else []
        messages = [*system, *self.prompt.messages()]
        counts = counts_of_prompt(messages, options.tools or [], options.response_format)
        return UsageBound.of(candidates, longest(counts), options.max_tokens)

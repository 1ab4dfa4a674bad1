"""The data of a turn: what a request asks for, what is stored at its beginning and at its end."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from chathub.accounts.caller import Caller
from chathub.billing.budgets import BudgetOwner, UsageBound
from chathub.billing.ledger import UsageCost
from chathub.clock import Month
from chathub.database.rows.messages import ContextMessage
from chathub.errors import ChatHubError
from chathub.formats.estimates import estimate_prompt
from chathub.formats.messages import Attempt, Image, Message
from chathub.limits.request_memory import RequestBody
from chathub.providers.catalog import ChatModel
from chathub.providers.resolver import Candidates
from chathub.schemas.budgets import Budget
from chathub.schemas.chats import BULKY, Options, ToolResult
from chathub.schemas.json import JsonObject


class IdempotencyKey(Struct, frozen=True):
    """A request that may be repeated: its key and the digest of what it asks."""

    name: str
    digest: str


# characters of text that a refused turn keeps: as many as a message is meant to have
_REFUSED_TEXT = 200_000


class BranchPoint(Struct, frozen=True):
    """Where in the tree a turn goes: after the conversation's head (``new``), beside the question
    ``message_id`` (``edit``), or as another answer to it (``again``). ``fresh``: the id is the server's
    own invention, there is no such conversation yet."""

    kind: Literal["new", "edit", "again"]
    public_id: str
    message_id: int = 0
    fresh: bool = False


class Prompt(Struct, frozen=True):
    """What is asked: a text with pictures, or what tools gave for the calls of the last answer."""

    text: str = ""
    images: tuple[Image, ...] = ()
    results: tuple[ToolResult, ...] = ()

    def messages(self) -> list[Message]:
        """As it goes upstream."""
        if self.results:
            return [
                Message("tool", result.content, tool_call_id=result.tool_call_id) for result in self.results
            ]
        return [Message("user", self.text, images=list(self.images))]

    def shortened(self) -> "Prompt":
        """What is kept of it in a refused turn: text of a bounded length, no pictures."""
        results, left = [], _REFUSED_TEXT
        for result in self.results:
            results.append(replace(result, content=result.content[:left]))
            left -= len(results[-1].content)
        return Prompt(self.text[:_REFUSED_TEXT], results=tuple(results))


class FinalStatus(Struct, frozen=True):
    """How a reply ended. ``status`` is the message's, ``code`` the HTTP status of an error (else 0)."""

    status: Literal["done", "stopped", "interrupted", "error"]
    reason: str = ""
    code: int = 0
    finish_reason: str = ""
    retry_after: float | None = None


def status_columns(final_status: FinalStatus | None) -> JsonObject:
    """The columns of a message that tell how its reply ended; None: it has not."""
    if final_status is None:
        return {
            "status": "streaming",
            "reason": "",
            "error_status": 0,
            "finish_reason": "",
            "retry_after": None,
        }
    return {
        "status": final_status.status,
        "reason": final_status.reason,
        "error_status": final_status.code,
        "finish_reason": final_status.finish_reason,
        "retry_after": final_status.retry_after,
    }


class NewTurn(Struct, frozen=True, kw_only=True):
    """All that is known of a turn before it is stored.

    ``options`` are kept with the question, for another answer to it; a ``refusal`` stores the answer as
    failed from the start; the history's pictures are read only if the model ``supports_vision``. ``bound`` is
    what the answer may use, but for the history (None: nothing, it is refused). ``incomplete``: not all of
    the question is stored.
    """

    branch_point: BranchPoint
    owner: BudgetOwner
    bound: UsageBound | None
    prompt: Prompt
    options: JsonObject
    idempotency_key: IdempotencyKey | None
    model: str
    provider: str
    history_characters: int
    supports_vision: bool
    refusal: FinalStatus | None
    incomplete: bool = False

    @property
    def user_id(self) -> int:
        return self.owner.user_id

    @property
    def now(self) -> int:
        return self.owner.month.now

    def refused(self, refusal: FinalStatus) -> "NewTurn":
        """The turn as it is stored when it is refused, without what may be large: a user without a budget
        must not fill the disk."""
        prompt = self.prompt.shortened()
        options = {name: value for name, value in self.options.items() if name not in BULKY}
        cut = prompt != self.prompt or len(options) < len(self.options)
        return replace(self, refusal=refusal, prompt=prompt, options=options, incomplete=cut)


# of a reply that the database has not taken yet, and of one that there was no memory left for until it did
NOT_STORED = FinalStatus("error", "回复暂时无法保存，文字还在，服务器会继续尝试保存", 503, "not_stored")
_CUT = FinalStatus("interrupted", "数据库长时间未能保存这条回复，只保存了一部分", 503, "interrupted")


class Turn(Struct, frozen=True):
    """A begun turn: its messages are on disk. ``prompt`` is what is new, ``history`` the branch before it,
    oldest first, ``images`` the pictures of it by message.

    ``reservation_id`` holds what it may use, ``answer_limit`` is the length its answer is cut to (tokens;
    None: it is not); a ``refusal`` ended it before it began, for want of what ``budget`` tells.
    """

    conversation_id: int
    public_id: str
    title: str
    user_message_id: int
    message_id: int
    prompt: list[Message] = []
    history: Sequence[ContextMessage] = ()
    images: dict[int, list[Image]] = {}
    first: bool = False
    reservation_id: int = 0
    answer_limit: int | None = None
    refusal: FinalStatus | None = None
    budget: Budget | None = None

    def without_texts(self) -> "Turn":
        """What is needed of it once it has ended."""
        return replace(self, prompt=[], history=(), images={})


class Settlement(Struct, frozen=True, kw_only=True):
    """All that is known of a reply at its end.

    ``attempts`` were made with ``models`` (by name), the last with ``model``; ``key_id`` is the key that
    answered well, ``was_saved`` says whether parts of the text are on disk, ``tool_calls`` and ``state``
    are JSON. ``is_cut``: these parts are all that is left of the text.
    """

    owner: BudgetOwner
    model: ChatModel
    attempts: list[Attempt] = []
    models: dict[str, ChatModel] = {}
    first_at: float | None = None
    key_id: int | None = None
    content: str
    reasoning: str
    tool_calls: str = ""
    state: str = ""
    was_saved: bool
    final_status: FinalStatus
    usage_cost: UsageCost
    is_cut: bool = False

    def without_text(self) -> "Settlement":
        return replace(
            self,
            content="",
            reasoning="",
            tool_calls="",
            state="",
            was_saved=True,
            is_cut=True,
            final_status=_CUT,
        )


class TurnRequest(Struct, frozen=True):
    """A request for a reply with its plan, or with why there is none; ``model`` is the name that was
    asked for, ``body`` what it came in, whose pictures are kept until the reply has ended."""

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
        return self.model if isinstance(self.candidates, ChatHubError) else self.candidates.model.name

    @property
    def is_large(self) -> bool:
        """Whether more than a text and short options would be stored of it."""
        options = any(name in BULKY for name in self.options.kept())
        return self.branch_point.kind != "again" and (options or self.prompt.shortened() != self.prompt)

    @property
    def refusal(self) -> FinalStatus | None:
        """How the reply ends before it began, if there is no plan."""
        error = self.candidates
        if not isinstance(error, ChatHubError):
            return None
        return FinalStatus("error", error.sentence, error.status, "error", error.retry_after)

    def beginning(self, month: Month) -> NewTurn:
        """All of it that is stored."""
        candidates = None if isinstance(self.candidates, ChatHubError) else self.candidates
        return NewTurn(
            branch_point=self.branch_point,
            owner=BudgetOwner(self.caller.id, self.caller.token_id, month),
            bound=self._bound(candidates) if candidates else None,
            prompt=self.prompt,
            options=self.options.kept(),
            idempotency_key=self.idempotency_key,
            model=self.model_name,
            provider=candidates.model.provider_slug if candidates else "",
            # no token is longer than four Latin characters by our estimate
            history_characters=4 * candidates.model.context_window if candidates else 0,
            supports_vision=candidates.model.supports_vision if candidates else False,
            refusal=self.refusal,
        )

    def _bound(self, candidates: Candidates) -> UsageBound:
        """What the answer may use, but for the history."""
        options = self.options
        system = [Message("system", options.system_prompt)] if options.system_prompt else []
        messages = [*system, *self.prompt.messages()]
        prompt = estimate_prompt(messages, options.tools or [], options.response_format)
        return UsageBound.of(candidates, prompt, options.max_tokens)

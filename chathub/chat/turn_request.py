"""What is asked of a model: a request for a reply and what was decided about it."""

import hashlib
from typing import Any

import msgspec
from msgspec import Struct

from chathub.accounts.sessions import Caller
from chathub.billing.budgets import BudgetOwner, UsageBound
from chathub.chat.attachments import read as read_images
from chathub.chat.begin import BranchPoint, NewTurn, Prompt
from chathub.chat.idempotency import IdempotencyKey
from chathub.chat.settle import FinalStatus
from chathub.clock import Month
from chathub.errors import BadRequest, ChatHubError
from chathub.formats.estimates import estimate_prompt
from chathub.formats.types import Message
from chathub.limits.request_memory import RequestBody
from chathub.providers.resolver import Candidates
from chathub.schemas.chats import BULKY, Options, Part, ToolResult


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


def prompt_of(
    content: str | list[Part] | None, urls: list[str] | None, results: list[ToolResult] | None = None
) -> Prompt:
    """A message of the wire as what is asked.

    Raises:
        BadRequest: nothing is asked, or a picture is none.
    """
    if results:
        if content or urls:
            raise BadRequest("message、images 与 tool_results 不能同时提供")
        return Prompt(results=tuple(results))
    if content is None:
        raise BadRequest("缺少必填字段 message")
    parts = [Part("text", content)] if isinstance(content, str) else content
    addresses = [part.image_url for part in parts if part.type == "image_url"]
    urls_in_parts = [address if isinstance(address, str) else address.url for address in addresses]
    text = "\n".join(part.text for part in parts if part.type == "text")
    images = tuple(read_images([*urls_in_parts, *(urls or [])]))
    if not text.strip() and not images:
        raise BadRequest("消息内容不能为空")
    return Prompt(text, images)


def idempotency_key_of(key: str | None, request: Options, *more: Any) -> IdempotencyKey | None:
    """The claim of a request that carries a key: the digest is of the canonical body, without what only
    says how the answer is delivered."""
    if not key:
        return None
    body = msgspec.structs.replace(request, client_message_id=None, resumable=None, on_disconnect=None)
    canonical = msgspec.json.encode([*more, body], order="deterministic")
    return IdempotencyKey(key, hashlib.sha256(canonical).hexdigest())

"""Generates one reply: the request to the provider, the reading, its final status and its settlement."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any

import msgspec
from msgspec.structs import replace

from chathub.billing.budgets import BudgetOwner
from chathub.billing.caps import reply_cap, reply_room
from chathub.billing.early_ends import Ending, Seen, cost_of
from chathub.billing.output_rates import OutputRates, lesson_of
from chathub.billing.token_weights import Lesson, TokenWeights
from chathub.chat import attachments, context, settle
from chathub.chat.final_status import NOT_STORED, FinalStatus
from chathub.chat.turn import Settlement, Turn
from chathub.clock import Clock
from chathub.config import Config
from chathub.database.database import Database
from chathub.database.errors import DatabaseUnavailable
from chathub.formats import estimates
from chathub.formats.events import Failure
from chathub.formats.failures.sentences import reason_for
from chathub.formats.failures.table import meaning_of
from chathub.formats.messages import ChatRequest
from chathub.formats.own_tools import is_own
from chathub.formats.prompt_counts import PromptCounts, counts_of_prompt
from chathub.limits.request_memory import BodiesFull, RequestBody, TooManyBodies
from chathub.metrics.metrics import ReplyCounts
from chathub.providers.candidates import Candidate, Candidates
from chathub.providers.chat_model import ChatModel
from chathub.replies.attachments import AttachmentKeeper
from chathub.replies.reply import Reply
from chathub.replies.unstored import UnstoredReplies, reader
from chathub.running.key_reports import KeyReports
from chathub.schemas.attachments import encode_sources
from chathub.schemas.chats import Options
from chathub.sentences import Reason
from chathub.upstream import failover
from chathub.upstream.client import Client
from chathub.upstream.failover import Trial

log = logging.getLogger("chathub.replies")

SHUTDOWN = FinalStatus("interrupted", Reason("shutdown_interrupted_reply"), 503, "interrupted")
_TIME_LIMIT = FinalStatus("error", Reason("reply_took_too_long"), 504, "time_limit")
_SIZE_LIMIT = FinalStatus("error", Reason("reply_too_long"), 502, "size_limit")
_BROKEN = FinalStatus("error", Reason("internal_error"), 500, "error")
# characters from which on a history is long; what each message costs besides its text
_LONG, _PER_MESSAGE = 64 * 1024, 500


class ReplyRunner:
    """Reads replies from their providers and settles them: one ``read`` and one ``run`` for each."""

    def __init__(
        self,
        db: Database,
        client: Client,
        clock: Clock,
        config: Config,
        key_reports: KeyReports,
        unstored: UnstoredReplies,
        attachment_keeper: AttachmentKeeper,
        token_weights: TokenWeights,
        rates: OutputRates,
        reply_counts: ReplyCounts,
    ) -> None:
        self._db = db
        self._rates = rates
        self._reply_counts = reply_counts
        self._attachment_keeper = attachment_keeper
        self._token_weights = token_weights
        self._unstored = unstored
        self._client = client
        self._clock = clock
        self._config = config
        self._key_reports = key_reports

    async def read(self, reply: Reply, candidates: Candidates, options: Options, body: RequestBody) -> None:
        """Feed the reply from the first candidate that replies. This is what is cancelled to stop a reply:
        the connection closes at once. The images of the history count as memory like the request's body."""
        try:
            body.grow(max(0, _image_bytes(reply.turn) - body.size))
        except (BodiesFull, TooManyBodies) as full:
            reply.failure = Failure.found("too_many_images_sent", kind="busy", retry_after=full.retry_after)
            return

        keep = self._attachment_keeper.for_reply(reply)

        async def prepare(candidate: Candidate) -> Trial:
            reply.use_model(candidate.model)
            chat_request = await self._prepared(candidate.model, options, reply)
            chat_request = replace(chat_request, cache_key=candidates.affinity)
            return failover.trial(self._client, chat_request, reply, keep)

        report = self._key_reports.for_request(reply.user_id, candidates)
        reply.failure = await failover.run(candidates.in_order, prepare, report)

    def refuse(self, reply: Reply, refusal: FinalStatus) -> None:
        """End a reply that may not begin."""
        if reply.turn.budget is not None:
            self._reply_counts.refuse(reply.turn.budget)
        reply.end(refusal)

    async def run(self, reply: Reply, candidates: Candidates, reading: asyncio.Task[None]) -> FinalStatus:
        """Wait until a reply is read, and settle it; returns how it ended. No exception escapes."""
        try:
            async with asyncio.timeout(self._config.reply_seconds):
                await reading
            final_status = _natural_status(reply, candidates)
        except asyncio.CancelledError:
            final_status = SHUTDOWN
        except TimeoutError:
            final_status = _TIME_LIMIT
        except Exception as error:
            final_status = _broken(error)
        # from here on no part is saved any more: the message's own columns get the text
        return await self._settle(reply, candidates, reply.begin_settling(final_status))

    async def _settle(self, reply: Reply, candidates: Candidates, final_status: FinalStatus) -> FinalStatus:
        """Store how the reply ended and free its text; returns that, or that it could not be stored yet: then
        it is kept in memory and tried again."""
        try:
            reply.text.pack()
            settlement = self._settlement(reply, candidates, final_status)
            self._count(settlement)
            if settlement.key_id is not None:
                self._key_reports.record_success(
                    settlement.key_id, reply.user_id, settlement.attempts[-1].model
                )
        except Exception:
            log.exception("a reply could not be settled")
            return _BROKEN
        reply.usage_cost, reply.decoder = settlement.usage_cost, None
        try:
            reply.budget = await self._db.write_with_retry(settle.settle, reply.turn, settlement)
        except Exception as error:
            self._unstored.keep(reply, settlement, error)
            return NOT_STORED
        reply.text.move(reader(self._db, reply.turn.message_id))
        return final_status

    def _settlement(self, reply: Reply, candidates: Candidates, final_status: FinalStatus) -> Settlement:
        """All that is stored of the reply at its end."""
        model = reply.model
        assert model is not None
        content, reasoning = reply.text.of("content"), reply.text.of("reasoning")
        tool_calls = list(reply.tool_calls.values())
        output = estimates.estimate(content) + estimates.estimate_calls(tool_calls) + reply.unshown.tokens
        seen = Seen(reply.prompt_estimate, output, estimates.estimate(reasoning))
        usage_cost = cost_of(model, reply.counted(reply.usage), seen, _ending(reply, model), self._rates)
        lesson = lesson_of(model, reply.attempt, usage_cost, seen.output, seen.reasoning)
        is_successful = reply.failure is None and final_status.status == "done"
        return Settlement(
            owner=BudgetOwner(reply.user_id, reply.token_id, self._clock.month()),
            requested_model=reply.requested_model,
            model=model,
            attempts=reply.attempts,
            models=candidates.models,
            first_at=reply.first_at,
            key_id=reply.endpoint.key_id if is_successful and reply.endpoint else None,
            content=content,
            reasoning=reasoning,
            tool_calls=_json(tool_calls),
            state=_json(reply.recorder.state(model.upstream_name, reasoning)),
            sources=encode_sources(reply.sources),
            was_saved=reply.text.was_saved,
            final_status=final_status,
            end_reason=_end_reason(reply, final_status),
            usage_cost=usage_cost,
            prompt_estimate=reply.prompt_estimate,
            lesson=self._lesson(reply),
            rate=self._rates.learn(lesson),
        )

    def _count(self, settlement: Settlement) -> None:
        self._reply_counts.record(
            settlement.attempts,
            settlement.models,
            settlement.usage_cost,
            prompt_estimate=settlement.prompt_estimate,
            first_at=settlement.first_at,
        )

    def _lesson(self, reply: Reply) -> Lesson | None:
        """What the reported usage has taught about the model's tokens."""
        model, reported = reply.model, reply.usage.prompt_tokens if reply.usage else None
        if model is None or not reply.attempts or not self._token_weights.is_curious(model, reply.user_id):
            return None
        return self._token_weights.learn(model, reply.attempts[-1], reply.prompt_counts, reported)

    async def _prepared(self, model: ChatModel, options: Options, reply: Reply) -> ChatRequest:
        """The request to the provider without its endpoint; its tokens are estimated. For a long history it
        is made in a thread, so that the event loop goes on."""
        size = sum(len(row.content) + _PER_MESSAGE for row in reply.turn.history)
        if size <= _LONG:
            return self._request(model, options, reply)
        return await asyncio.to_thread(self._request, model, options, reply)

    def _request(self, model: ChatModel, options: Options, reply: Reply) -> ChatRequest:
        tokens_of = partial(self._token_weights.expected, model)
        chat_request = request_for(model, options, reply.turn, reply.user_id, tokens_of)
        response_format = chat_request.params.get("response_format")
        reply.prompt_counts = counts_of_prompt(chat_request.messages, chat_request.tools, response_format)
        reply.prompt_estimate = tokens_of(reply.prompt_counts)
        return chat_request


def _ending(reply: Reply, model: ChatModel) -> Ending:
    """How the last attempt at a reply ended."""
    return Ending.of(
        reply,
        is_streamed=model.supports_streaming,
        most=reply.turn.reply_tokens,
        is_too_long=reply.is_too_long,
    )


def _end_reason(reply: Reply, final_status: FinalStatus) -> str:
    """How the last attempt ended, for the ledger: the kind of its failure, or the provider's own word."""
    if final_status.status == "error" and reply.failure is not None:
        return reply.failure.kind
    return (final_status.status == "done" and reply.finish_word) or final_status.finish_reason


def _broken(error: Exception) -> FinalStatus:
    """The final status for an exception of ours."""
    if isinstance(error, DatabaseUnavailable):
        return FinalStatus("error", error.reason, error.status, "error")
    log.error("a reply failed", exc_info=error)
    return _BROKEN


def _image_bytes(turn: Turn) -> int:
    """The bytes of the images that a turn has in memory."""
    images = [image for message in turn.prompt for image in message.images]
    return attachments.image_bytes(chain(images, *turn.images.values()))


def request_for(
    model: ChatModel, options: Options, turn: Turn, user_id: int, tokens_of: Callable[[PromptCounts], int]
) -> ChatRequest:
    """The request to the provider without its endpoint."""
    # the provider's own tools have prices that no budget knows
    takes_all = model.allow_extras or not turn.is_limited
    params = options.parameters()
    if cap := reply_cap(params.get("max_tokens"), turn.reply_cap, model.max_tokens):
        params["max_tokens"] = cap
    messages = context.build(
        turn.history,
        turn.prompt,
        turn.images if model.supports_vision else {},
        system_prompt=options.system_prompt,
        window=model.context_window,
        reply_room=reply_room(params.get("max_tokens"), model.max_tokens),
        tokens_of=tokens_of,
    )
    return ChatRequest(
        "",
        model.upstream_name,
        messages,
        stream=model.supports_streaming,
        params=params,
        tools=[tool for tool in options.tools or [] if takes_all or is_own(tool)],
        tool_choice=options.tool_choice,
        caller_id=user_id,
    )


def _json(value: Any) -> str:
    """The JSON of a column; an empty value is an empty text."""
    return msgspec.json.encode(value).decode() if value else ""


def _natural_status(reply: Reply, candidates: Candidates) -> FinalStatus:
    """The final status of a reply that nothing of ours stopped."""
    if reply.is_too_long:
        return _SIZE_LIMIT
    failure = reply.failure
    model = reply.model or candidates.model
    if failure is None:
        reason = "tool_calls" if reply.tool_calls else "stop"
        return FinalStatus("done", finish_reason=reply.finish_reason or reason)
    if failure.kind == "busy":
        return FinalStatus("error", failure.reason, 503, "error", failure.retry_after)
    secrets = [endpoint.api_key for candidate in candidates.in_order for endpoint in candidate.endpoints]
    return FinalStatus(
        "error",
        reason_for(failure, reply.endpoint, secrets, model.provider_name),
        meaning_of(failure).chat_status,
        "idle" if failure.timed_out else "error",
        failure.retry_after,
    )

"""Writes one reply: what goes upstream, what comes back, how it ended, and what is stored of it."""

import asyncio
import logging
from itertools import chain
from typing import Any

import msgspec

from chathub.accounts.bodies import BodiesFull, Body, TooManyBodies
from chathub.catalog import ChatModel
from chathub.chat import context, ledger, pictures, pool, turns
from chathub.chat.budgets import Spender
from chathub.chat.plan import Plan
from chathub.chat.reply import Reply
from chathub.chat.rests import CallersRests
from chathub.chat.settlements import Settlements
from chathub.chat.turns import Ending, Outcome, Turn
from chathub.chat.unstored import Unstored, reader
from chathub.clock import Clock
from chathub.config import Config
from chathub.database.condition import sentence_of
from chathub.database.connection import Database
from chathub.upstream import redaction, routing
from chathub.upstream.client import Client
from chathub.upstream.dialects.reading import EMPTY
from chathub.upstream.failure_class import another_may_help, sentence_for
from chathub.upstream.types import ChatCall, Endpoint, Failure
from chathub.wire.chats import Options

log = logging.getLogger("chathub.replies")

SHUTDOWN = Ending("interrupted", "服务器正在重启，回复中断", 503, "interrupted")
_TIME_LIMIT = Ending("error", "回复时间过长，已中止", 504, "time_limit")
_SIZE_LIMIT = Ending("error", "回复过长，已中止", 502, "size_limit")
_BROKEN = Ending("error", "服务器内部错误", 500, "error")
# a history is long from so many characters on; each message costs some, however short it is
_LONG, _PER_MESSAGE = 256 * 1024, 500
_TOO_MANY_PICTURES = "正在发送的图片过多，请等其中一些回复结束"


class Writer:
    """Sees replies to their end, one call each."""

    def __init__(
        self,
        db: Database,
        client: Client,
        clock: Clock,
        config: Config,
        rests: CallersRests,
        settlements: Settlements,
        unstored: Unstored,
    ) -> None:
        self._db = db
        self._settlements = settlements
        self._unstored = unstored
        self._client = client
        self._clock = clock
        self._config = config
        self._rests = rests

    async def read(self, reply: Reply, plan: Plan, options: Options, body: Body) -> None:
        """Take in what the providers say: the model that was asked for, or what it falls back on. This
        is what is cancelled to stop a reply: the connection closes at once. The pictures of the history
        count like the body that the question came in."""
        try:
            body.grow(max(0, _pictures_of(reply.turn) - body.size))
        except (BodiesFull, TooManyBodies) as full:
            reply.failure = Failure(_TOO_MANY_PICTURES, kind="busy", retry_after=full.retry_after)
            return

        async def report(endpoint: Endpoint, failure: Failure | None) -> None:
            if failure is not None and endpoint.key_id is not None:
                sentence = redaction.scrub(failure.message, [endpoint.api_key])
                now = self._clock.now()
                is_common = self._rests.note_failure(endpoint, reply.user_id, failure, now)
                told = endpoint.key_id, failure, sentence, now
                await self._settlements.store_soon(
                    "key's state", lambda tx: pool.note_failure(tx, *told, is_common=is_common)
                )

        for route in plan.routes:
            reply.turn_to(route.model)
            call, reply.prompt_estimate = await _prepared(route.model, options, reply)
            reply.failure = await routing.run(self._client, route.endpoints, call, reply, report)
            if reply.failure is None or reply.begun or not another_may_help(reply.failure):
                return

    async def write(self, reply: Reply, plan: Plan, reading: asyncio.Task[None]) -> None:
        """See one reply to its end and store it; nothing escapes. ``reply.ending`` is set if the reading
        is cancelled for a reason of ours."""
        try:
            async with asyncio.timeout(self._config.reply_seconds):
                await reading
            ending = _natural_ending(reply, plan)
        except asyncio.CancelledError:
            ending = SHUTDOWN
        except TimeoutError:
            ending = _TIME_LIMIT
        except Exception as error:
            ending = _broken(error)
        # why we stopped it says more than what the provider made of that
        reply.ending = await self._stored(reply, plan, reply.ending or ending)

    async def _stored(self, reply: Reply, plan: Plan, ending: Ending) -> Ending:
        """Store the reply, which then lets go of its text; gives the ending, or that it could not be stored
        yet: then it is kept and tried again."""
        # from here on the message's own columns hold the text, no part may be added any more
        reply.settling = True
        try:
            outcome = self._outcome(reply, plan, ending)
        except Exception:
            log.exception("a reply could not be settled")
            return _BROKEN
        reply.bill = outcome.bill
        try:
            reply.budget = await self._db.insist(turns.settle, reply.turn, outcome)
        except Exception as error:
            self._unstored.keep(reply, outcome, error)
            return turns.NOT_STORED
        reply.let_go(reader(self._db, reply.turn.message_id))
        return ending

    def _outcome(self, reply: Reply, plan: Plan, ending: Ending) -> Outcome:
        """All that there is to store of it."""
        model = reply.answering
        assert model is not None
        reply.pack()
        content, reasoning = reply.text("content"), reply.text("reasoning")
        calls = list(reply.calls.values())
        answer = context.estimate(content) + context.estimate_calls(calls)
        thinking = context.estimate(reasoning)
        bill = ledger.reckon(model, reply.usage, reply.prompt_estimate, answer, thinking)
        well = reply.endpoint if reply.failure is None and ending.status == "done" else None
        if well and well.key_id is not None:
            self._rests.note_success(well.key_id, reply.user_id)
        return Outcome(
            spender=Spender(reply.user_id, reply.token_id, self._clock.month()),
            model=model,
            attempts=reply.attempts,
            models=plan.models,
            first_at=reply.first_at,
            key_id=well.key_id if well else None,
            content=content,
            reasoning=reasoning,
            tool_calls=_json(calls),
            state=_json(reply.state),
            was_saved=reply.was_saved,
            ending=ending,
            bill=bill,
        )


def _broken(error: Exception) -> Ending:
    """How a reply ends that could not go on for a reason of ours."""
    if sentence := sentence_of(error):
        return Ending("error", sentence, 503, "error")
    log.error("a reply failed", exc_info=error)
    return _BROKEN


def _pictures_of(turn: Turn) -> int:
    """The bytes of pictures that a turn has in memory."""
    images = [image for message in turn.asked for image in message.images]
    return pictures.size_of(chain(images, *turn.images.values()))


async def _prepared(model: ChatModel, options: Options, reply: Reply) -> tuple[ChatCall, int]:
    """What goes upstream, but for the endpoint, and about how many tokens it is; of a long conversation it is
    put together beside the event loop."""
    size = sum(len(row["content"]) + _PER_MESSAGE for row in reply.turn.history)
    if size <= _LONG:
        return _call_and_estimate(model, options, reply)
    return await asyncio.to_thread(_call_and_estimate, model, options, reply)


def _call_and_estimate(model: ChatModel, options: Options, reply: Reply) -> tuple[ChatCall, int]:
    call = call_for(model, options, reply.turn, reply.user_id)
    return call, context.estimate_prompt(call.messages, call.tools, call.params.get("response_format"))


def call_for(model: ChatModel, options: Options, turn: Turn, user_id: int) -> ChatCall:
    """What goes upstream, but for the endpoint."""
    params = options.parameters()
    limits = [limit for limit in (params.get("max_tokens"), turn.answer_limit) if limit is not None]
    if limits:
        params["max_tokens"] = min(limits + [model.max_tokens] * bool(model.max_tokens))
    messages = context.build(
        turn.history,
        turn.asked,
        turn.images if model.sees else {},
        system_prompt=options.system_prompt,
        window=model.context_window,
        answer=params.get("max_tokens") or context.answer_room(model.max_tokens),
    )
    return ChatCall(
        "",
        model.name,
        messages,
        stream=model.supports_streaming,
        params=params,
        tools=options.tools or [],
        tool_choice=options.tool_choice,
        caller_id=user_id,
    )


def _json(value: Any) -> str:
    """As it is stored; nothing is an empty text."""
    return msgspec.json.encode(value).decode() if value else ""


def _natural_ending(reply: Reply, plan: Plan) -> Ending:
    """How a reply ended that nobody stopped."""
    if reply.too_long:
        return _SIZE_LIMIT
    failure = reply.failure
    model = reply.answering or plan.model
    if failure is None and reply.finish_reason == "stop" and not reply.begun:
        # not sent to another key: the provider has counted it
        return Ending("error", f"{model.provider_name}：{EMPTY}", 502, "error")
    if failure is None:
        return Ending("done", finish_reason=reply.finish_reason or "stop")
    if failure.kind == "busy":
        return Ending("error", failure.message, 503, "error", failure.retry_after)
    secrets = [endpoint.api_key for route in plan.routes for endpoint in route.endpoints]
    text = sentence_for(failure, reply.endpoint, secrets)
    said = f"返回错误（HTTP {failure.status}）：" if failure.status >= 400 else "："
    return Ending(
        "error",
        f"{model.provider_name}{said}{text}",
        _status_of(failure),
        "idle" if failure.timed_out else reply.finish_reason or "error",
        failure.retry_after,
    )


def _status_of(failure: Failure) -> int:
    """Our status for an upstream failure; never the provider's 401, which would log the user out."""
    if failure.status == 429:
        return 429
    return 504 if failure.timed_out or failure.status in (408, 504, 524) else 502

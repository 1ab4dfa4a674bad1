"""Writes one reply: what goes upstream, what comes back, how it ended, and what is stored of it."""

import asyncio
import logging
from contextlib import aclosing

from chathub.chat import context, ledger, turns
from chathub.chat.plan import Plan
from chathub.chat.reply import Reply
from chathub.chat.turns import Ending, Turn
from chathub.clock import Clock
from chathub.config import Config
from chathub.database.connection import Database
from chathub.upstream import failures, routing
from chathub.upstream.client import Client
from chathub.upstream.types import ChatCall, Failure
from chathub.wire.requests import Options

log = logging.getLogger("chathub.replies")

SHUTDOWN = Ending("interrupted", "服务器正在重启，回复中断", 503, "interrupted")
_TIME_LIMIT = Ending("error", "回复时间过长，已中止", 504, "time_limit")
_SIZE_LIMIT = Ending("error", "回复过长，已中止", 502, "size_limit")
_BROKEN = Ending("error", "服务器内部错误", 500, "error")
_NOT_STORED = Ending("error", "回复保存失败", 500, "error")
# kept free for an answer whose length nobody bounded, in tokens
_ANSWER_ROOM = 4096


class Writer:
    """Sees replies to their end, one call each."""

    def __init__(self, db: Database, client: Client, clock: Clock, config: Config) -> None:
        self._db = db
        self._client = client
        self._clock = clock
        self._config = config

    async def read(self, reply: Reply, plan: Plan, call: ChatCall) -> None:
        """Take in what the provider says. This is what is cancelled to stop a reply: the connection
        closes at once."""

        def use(endpoint: routing.Endpoint) -> None:
            reply.key_id = endpoint.key_id

        async with aclosing(routing.stream(self._client, plan.endpoints, call, use)) as batches:
            async for events in batches:
                reply.feed(events)
                if reply.too_long:
                    return

    async def write(self, reply: Reply, plan: Plan, reading: asyncio.Task[None]) -> None:
        """See one reply to its end and store it; nothing escapes. ``reply.ending`` is set if the reading
        is cancelled for a reason of ours."""
        try:
            async with asyncio.timeout(self._config.reply_seconds):
                await reading
            ending = _natural_ending(reply, plan)
        except asyncio.CancelledError:
            ending = reply.ending or SHUTDOWN
        except TimeoutError:
            ending = _TIME_LIMIT
        except Exception:
            log.exception("a reply failed")
            ending = _BROKEN
        try:
            await self._settle(reply, plan, ending)
        except Exception:
            log.exception("a reply could not be stored")
            ending = _NOT_STORED
        reply.ending = ending

    async def _settle(self, reply: Reply, plan: Plan, ending: Ending) -> None:
        # from here on the message's own columns hold the text, no part may be added any more
        reply.settling = True
        content, reasoning = reply.text("content"), reply.text("reasoning")
        bill = ledger.reckon(plan.model, reply.usage, reply.prompt_estimate, content, reasoning)
        await self._db.write(
            turns.settle,
            reply.turn,
            user_id=reply.user_id,
            model=plan.model.name,
            content=content,
            reasoning=reasoning,
            ending=ending,
            bill=bill,
            day=self._clock.today(),
            now=self._clock.now(),
        )
        reply.bill = bill


def call_for(plan: Plan, options: Options, turn: Turn) -> ChatCall:
    """What goes upstream, but for the endpoint."""
    params = options.parameters()
    limit = plan.model.max_tokens
    if limit and "max_tokens" in params:
        params["max_tokens"] = min(params["max_tokens"], limit)
    messages = context.build(
        turn.history,
        turn.question,
        system_prompt=options.system_prompt,
        window=plan.model.context_window,
        answer=params.get("max_tokens") or min(limit or _ANSWER_ROOM, _ANSWER_ROOM),
    )
    return ChatCall("", plan.model.name, messages, stream=plan.model.supports_streaming, params=params)


def _natural_ending(reply: Reply, plan: Plan) -> Ending:
    """How a reply ended that nobody stopped."""
    if reply.too_long:
        return _SIZE_LIMIT
    failure = reply.failure
    if failure is None:
        return Ending("done", finish_reason=reply.finish_reason or "stop")
    text = failures.scrub(failure.message, [endpoint.api_key for endpoint in plan.endpoints])
    said = f"返回错误（HTTP {failure.status}）：" if failure.status >= 400 else "："
    return Ending(
        "error",
        f"{plan.model.provider_name}{said}{text}",
        _status_of(failure),
        "idle" if failure.kind == "timeout" else reply.finish_reason or "error",
        failure.retry_after,
    )


def _status_of(failure: Failure) -> int:
    """Our status for an upstream failure; never the provider's 401, which would log the user out."""
    if failure.status == 429:
        return 429
    return 504 if failure.kind == "timeout" or failure.status in (408, 504, 524) else 502

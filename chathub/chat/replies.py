"""All replies being written: begun, run to their end in tasks of the server's, stopped, settled."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing, asynccontextmanager
from typing import Any

from msgspec import Struct

from chathub.accounts.sessions import Caller
from chathub.chat import context, ledger, turns
from chathub.chat.plan import Plan
from chathub.chat.reply import Ending, Reply
from chathub.clock import Clock
from chathub.config import Config
from chathub.database.connection import Database
from chathub.errors import ChatHubError, Conflict, NotFound, Unavailable
from chathub.upstream import failures, routing
from chathub.upstream.client import Client
from chathub.upstream.types import ChatCall, Failure
from chathub.wire.requests import Chat

log = logging.getLogger("chathub.replies")

STOPPED = Ending("stopped", "已停止生成", finish_reason="stopped")
SHUTDOWN = Ending("interrupted", "服务器正在重启，回复中断", code=503)
_ANSWER_ROOM = 4096


class Question(Struct, frozen=True):
    """A chat request together with what was decided about it: a plan, or why there is none."""

    caller: Caller
    body: Chat
    plan: Plan | ChatHubError


class Replies:
    """The registry of replies in the making."""

    def __init__(self, db: Database, client: Client, clock: Clock, config: Config) -> None:
        self._db = db
        self._client = client
        self._clock = clock
        self._config = config
        self._live: dict[str, Reply] = {}
        self._writers: dict[int, asyncio.Task[None]] = {}
        self._claimed: set[str] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = False

    @asynccontextmanager
    async def ask(self, question: Question) -> AsyncIterator[Reply]:
        """Store the question and have the answer written; gives the reply as soon as both are on disk,
        counted as followed for as long as the context lasts.

        Goes on even if the caller is cancelled: a client that leaves now cannot leave a stored question
        without a reply.

        Raises:
            NotFound: the conversation is someone else's.
            Conflict: its last reply is still being written and followed.
            Unavailable: the server is shutting down.
        """
        if self._closing:
            raise Unavailable("服务器正在重启，请稍后再试", retry_after=5)
        asking = self._spawn(self._ask(question))
        try:
            yield await asyncio.shield(asking)
        finally:
            asking.add_done_callback(_unfollow)

    async def _ask(self, question: Question) -> Reply:
        public_id = question.body.conversation_id or self._clock.new_id()
        await self._make_way(public_id, question.caller.id)
        if public_id in self._claimed:
            raise Conflict("该对话正在处理另一条消息，请稍后再试")
        self._claimed.add(public_id)
        try:
            turn = await self._begin(question, public_id)
            reply = Reply(turn, question.caller.id, _model_name(question), self._config.reply_characters)
            if isinstance(question.plan, ChatHubError):
                reply.ending = _ending_of(question.plan)
                reply.end()
            else:
                self._start(reply, question.plan, question.body)
            return reply
        finally:
            self._claimed.discard(public_id)

    async def _make_way(self, public_id: str, user_id: int) -> None:
        """A conversation has one reply at a time: one that nobody follows any more is stopped."""
        running = self._live.get(public_id)
        if running is None:
            return
        if running.user_id != user_id:
            raise NotFound("对话不存在")
        if running.followers:
            raise Conflict("该对话的上一条回复仍在生成中", message_id=running.turn.message_id)
        await self.stop(running)

    async def _begin(self, question: Question, public_id: str) -> turns.Turn:
        plan, refusal = question.plan, ""
        if isinstance(plan, ChatHubError):
            provider, characters, refusal = "", 0, plan.sentence
        else:
            # no token is longer than four Latin characters by our estimate
            provider, characters = plan.model.provider_key, 4 * plan.model.context_window
        return await self._db.write(
            turns.begin,
            user_id=question.caller.id,
            public_id=public_id,
            question=question.body.message,
            model=_model_name(question),
            provider=provider,
            history_characters=characters,
            refusal=refusal,
            now=self._clock.now(),
        )

    def _start(self, reply: Reply, plan: Plan, body: Chat) -> None:
        """Register the reply and begin to write it. Only the writer is ever cancelled, so that a reply
        that is stopped before its first step is settled like any other."""
        call = _call(plan, body, reply.turn)
        writer = self._spawn(self._write(reply, plan, call))
        self._live[reply.turn.public_id] = reply
        self._writers[reply.turn.message_id] = writer
        self._spawn(self._run(reply, plan, call, writer))

    async def _run(self, reply: Reply, plan: Plan, call: ChatCall, writer: asyncio.Task[None]) -> None:
        """See one reply to its end and store it; nothing escapes."""
        try:
            async with asyncio.timeout(self._config.reply_seconds):
                await writer
            ending = _natural_ending(reply, plan)
        except asyncio.CancelledError:
            ending = reply.ending or SHUTDOWN
        except TimeoutError:
            ending = Ending("error", "回复时间过长，已中止", code=504)
        except Exception:
            log.exception("a reply failed")
            ending = Ending("error", "服务器内部错误", code=500)
        try:
            reply.bill = await self._settle(reply, plan, call, ending)
        except Exception:
            log.exception("a reply could not be stored")
            ending = Ending("error", "回复保存失败", code=500)
        reply.ending = ending
        if self._live.get(reply.turn.public_id) is reply:
            del self._live[reply.turn.public_id]
        del self._writers[reply.turn.message_id]
        reply.end()

    async def _write(self, reply: Reply, plan: Plan, call: ChatCall) -> None:
        async with aclosing(routing.stream(self._client, plan.endpoints, call)) as batches:
            async for events in batches:
                reply.feed(events)
                if reply.too_long:
                    return

    async def _settle(self, reply: Reply, plan: Plan, call: ChatCall, ending: Ending) -> ledger.Bill:
        content, reasoning = reply.text("content"), reply.text("reasoning")
        prompt = context.estimate_messages(call.messages)
        bill = ledger.reckon(plan.model, reply.usage, prompt, content, reasoning)
        await self._db.write(
            turns.settle,
            reply.turn,
            user_id=reply.user_id,
            model=plan.model.name,
            content=content,
            reasoning=reasoning,
            status=ending.status,
            reason=ending.reason,
            finish_reason=ending.finish_reason,
            bill=bill,
            day=self._clock.today(),
            now=self._clock.now(),
        )
        return bill

    def live(self, public_id: str, user_id: int) -> Reply | None:
        """The reply being written in a user's conversation."""
        reply = self._live.get(public_id)
        return reply if reply and reply.user_id == user_id else None

    def live_message(self, message_id: int, user_id: int) -> Reply | None:
        """The same by the id of the message that is being written."""
        replies = self._live.values()
        return next((r for r in replies if r.turn.message_id == message_id and r.user_id == user_id), None)

    async def stop(self, reply: Reply, ending: Ending = STOPPED) -> None:
        """Close the upstream connection, keep the text, and wait until it is stored."""
        self._cancel(reply, ending)
        await reply.finished()

    def _cancel(self, reply: Reply, ending: Ending) -> None:
        writer = self._writers.get(reply.turn.message_id)
        if writer is not None and reply.ending is None:
            reply.ending = ending
            writer.cancel()

    async def stop_user(self, user_id: int) -> None:
        """Stop every reply of a user whose account was disabled."""
        for reply in [reply for reply in self._live.values() if reply.user_id == user_id]:
            await self.stop(reply)

    async def beat(self) -> None:
        """Wake every reply's followers now and then: the time for their heartbeats."""
        while True:
            await asyncio.sleep(self._config.heartbeat_seconds / 2)
            for reply in list(self._live.values()):
                reply.wake()

    async def close(self) -> None:
        """Take no more questions, store what is being written as interrupted, wait for all of it."""
        self._closing = True
        while self._tasks:
            for reply in list(self._live.values()):
                self._cancel(reply, SHUTDOWN)
            await asyncio.wait(list(self._tasks))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # a caller that left does not ask for the outcome any more
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task


def _unfollow(asking: asyncio.Task[Reply]) -> None:
    if not asking.cancelled() and asking.exception() is None:
        asking.result().followers -= 1


def _model_name(question: Question) -> str:
    return question.body.model if isinstance(question.plan, ChatHubError) else question.plan.model.name


def _call(plan: Plan, body: Chat, turn: turns.Turn) -> ChatCall:
    """What goes upstream, but for the endpoint."""
    params = body.parameters()
    limit = plan.model.max_tokens
    if limit and "max_tokens" in params:
        params["max_tokens"] = min(params["max_tokens"], limit)
    messages = context.build(
        turn.history,
        body.message,
        system_prompt=body.system_prompt,
        window=plan.model.context_window,
        answer=params.get("max_tokens") or min(limit or _ANSWER_ROOM, _ANSWER_ROOM),
    )
    return ChatCall("", plan.model.name, messages, stream=plan.model.supports_streaming, params=params)


def _natural_ending(reply: Reply, plan: Plan) -> Ending:
    """How a reply ended that nobody stopped."""
    if reply.too_long:
        return Ending("error", "回复过长，已中止", code=502)
    failure = reply.failure
    if failure is None:
        return Ending("done", finish_reason=reply.finish_reason or "stop")
    secrets = [endpoint.api_key for endpoint in plan.endpoints]
    text = failures.scrub(failure.message, secrets)
    said = f"返回错误（HTTP {failure.status}）：" if failure.kind == "refused" and failure.status else "："
    return Ending(
        "error",
        f"{plan.model.provider_name}{said}{text}",
        code=_status_of(failure),
        finish_reason=reply.finish_reason,
        retry_after=failure.retry_after,
    )


def _status_of(failure: Failure) -> int:
    """Our status for an upstream failure; never the provider's 401, which would log the user out."""
    if failure.status == 429:
        return 429
    return 504 if failure.kind == "timeout" or failure.status in (408, 504, 524) else 502


def _ending_of(error: ChatHubError) -> Ending:
    return Ending("error", error.sentence, code=error.status, retry_after=error.retry_after)

"""All replies in the making: asked for, followed, stopped, saved once a second, drained at the end."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from chathub.chat import checkpoints, idempotency
from chathub.chat.beginning import begin
from chathub.chat.plan import Plan
from chathub.chat.questions import Question
from chathub.chat.reply import Reply
from chathub.chat.titles import Titles
from chathub.chat.turns import Ending
from chathub.chat.writer import SHUTDOWN, Writer
from chathub.clock import Clock
from chathub.config import Config
from chathub.database.connection import Database
from chathub.errors import ChatHubError, Conflict, NotFound, Unavailable

log = logging.getLogger("chathub.replies")

STOPPED = Ending("stopped", "已停止生成", finish_reason="stopped")
_LEFT = Ending("stopped", "客户端已断开，停止生成", finish_reason="disconnected")
_UNFOLLOWED = Ending("stopped", "长时间无人接收，停止生成", finish_reason="unfollowed")
# nothing speaks against reading on for a moment
_WISHED = (STOPPED, _LEFT, _UNFOLLOWED)
_NO_NEWS = "服务器正在重启，请稍后再试"


class Replies:
    """The registry of replies in the making; one for each conversation."""

    def __init__(self, db: Database, writer: Writer, titles: Titles, clock: Clock, config: Config) -> None:
        self._db = db
        self._writer = writer
        self._titles = titles
        self._clock = clock
        self._config = config
        self._live: dict[str, Reply] = {}
        self._reading: dict[int, asyncio.Task[None]] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}
        # (user, conversation): nobody can hold up a conversation of somebody else's
        self._claimed: set[tuple[int, str]] = set()
        self._beginning: set[asyncio.Task[Any]] = set()
        self._asking: dict[tuple[int, str], tuple[str, asyncio.Task[Reply]]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._draining = False
        self._titling: set[asyncio.Task[None]] = set()

    # --- asking

    @asynccontextmanager
    async def ask(self, question: Question) -> AsyncIterator[Reply]:
        """Store the question and have the answer written; gives the reply as soon as both are on disk,
        counted as followed for as long as the context lasts. A repeated request gets the first one's.

        Goes on even if the caller is cancelled: a client that leaves now cannot leave a stored question
        without a reply.

        Raises:
            NotFound: the conversation or message is someone else's.
            Conflict: its last reply is still being written and followed, or the key was used otherwise.
            TooManyRequests: too many in this minute, or too many answers at once.
            Unavailable: the server is shutting down.
        """
        if self._draining:
            raise Unavailable(_NO_NEWS, retry_after=5)
        asking = self._spawn(self._ask(question))
        try:
            yield await asyncio.shield(asking)
        finally:
            asking.add_done_callback(self._asker_left)

    async def is_repeated(self, question: Question) -> bool:
        """Whether the request was made before and has a reply."""
        claim = question.claim
        if claim is None:
            return False
        now = self._clock.now()
        return await self._db.write(idempotency.claimed, question.caller.id, claim, now) is not None

    async def _ask(self, question: Question) -> Reply:
        if question.claim is None:
            return await self._begin(question)
        key = (question.caller.id, question.claim.name)
        digest, first = self._asking.get(key, (question.claim.digest, None))
        if digest != question.claim.digest:
            raise Conflict("同一幂等键已用于不同的请求")
        if first is not None:
            return self._joined(await asyncio.shield(first))
        self._asking[key] = (digest, asyncio.current_task())  # type: ignore[assignment]
        try:
            known = await self._db.write(idempotency.claimed, key[0], question.claim, self._clock.now())
            if known is not None:
                return await self.find(known, question.caller.id)
            return await self._begin(question)
        except idempotency.Repeated as repeated:
            return await self.find(repeated.message_id, question.caller.id)
        finally:
            del self._asking[key]

    def _joined(self, reply: Reply) -> Reply:
        reply.followers += 1
        self._forget_timer(reply)
        return reply

    async def find(self, message_id: int, user_id: int) -> Reply:
        """A reply by its message, live or out of the database, with one more follower.

        Raises:
            NotFound: the user has no such reply.
        """
        for reply in self._live.values():
            if reply.turn.message_id == message_id and reply.user_id == user_id:
                return self._joined(reply)
        row = await self._db.fetch_one(self._db.q.messages.get_reply, message_id=message_id, user_id=user_id)
        if row is None:
            raise NotFound("消息不存在")
        return Reply.stored(row, user_id)

    async def _begin(self, question: Question) -> Reply:
        public_id = question.place.public_id
        await self._make_way(public_id, question.caller.id)
        claim = (question.caller.id, public_id)
        if claim in self._claimed:
            raise Conflict("该对话正在处理另一条消息，请稍后再试")
        self._claimed.add(claim)
        task = asyncio.current_task()
        assert task is not None
        self._beginning.add(task)
        try:
            turn = await self._db.write(begin, question.beginning(self._clock.month()))
            limit = self._config.reply_characters
            reply = Reply(turn, question.caller.id, question.model_name, limit)
            if turn.refusal is not None or isinstance(question.plan, ChatHubError):
                reply.ending = turn.refusal
                reply.end()
            else:
                self._start(reply, question.plan, question)
            return reply
        finally:
            self._claimed.discard(claim)
            self._beginning.discard(task)

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

    def _start(self, reply: Reply, plan: Plan, question: Question) -> None:
        """Register the reply and begin to write it. Only the reading is ever cancelled, so that a reply
        that is stopped before its first step is settled like any other."""
        reply.answering, reply.token_id = plan.model, question.caller.token_id
        reply.stops_when_left = (question.options.on_disconnect or self._config.on_disconnect) == "stop"
        reading = self._spawn(self._writer.read(reply, plan, question.options))
        self._live[reply.turn.public_id] = reply
        self._reading[reply.turn.message_id] = reading
        self._spawn(self._write(reply, plan, question, reading))

    async def _write(self, reply: Reply, plan: Plan, question: Question, reading: asyncio.Task[None]) -> None:
        await self._writer.write(reply, plan, reading)
        if self._live.get(reply.turn.public_id) is reply:
            del self._live[reply.turn.public_id]
        del self._reading[reply.turn.message_id]
        self._forget_timer(reply)
        reply.end()
        if self._titles.wanted(reply, question.options):
            task = self._spawn(self._titles.suggest(reply, plan))
            self._titling.add(task)
            task.add_done_callback(self._titling.discard)

    # --- following and leaving

    @contextmanager
    def followed(self, reply: Reply) -> Iterator[None]:
        """For a reply from ``find``: its follower leaves when the context ends."""
        try:
            yield
        finally:
            self._leave(reply)

    def _asker_left(self, asking: asyncio.Task[Reply]) -> None:
        if not asking.cancelled() and asking.exception() is None:
            self._leave(asking.result())

    def _leave(self, reply: Reply) -> None:
        reply.followers -= 1
        if reply.followers or reply.ended:
            return
        if reply.stops_when_left:
            self._cancel(reply, _LEFT)
        else:
            # a reply that nobody comes back for is not paid for without end
            self._timers[reply.turn.message_id] = asyncio.get_running_loop().call_later(
                self._config.unfollowed_seconds, self._cancel, reply, _UNFOLLOWED
            )

    def _forget_timer(self, reply: Reply) -> None:
        if timer := self._timers.pop(reply.turn.message_id, None):
            timer.cancel()

    # --- looking and stopping

    def live(self, public_id: str, user_id: int) -> Reply | None:
        """The reply being written in a user's conversation."""
        reply = self._live.get(public_id)
        return reply if reply and reply.user_id == user_id else None

    def of_user(self, user_id: int) -> list[Reply]:
        return [reply for reply in self._live.values() if reply.user_id == user_id]

    async def stop(self, reply: Reply, ending: Ending = STOPPED) -> None:
        """Close the upstream connection, keep the text, and wait until it is stored."""
        self._cancel(reply, ending)
        await reply.finished()

    async def stop_user(self, user_id: int) -> None:
        """Stop every reply of a user whose account was disabled."""
        await self._begun()
        for reply in self.of_user(user_id):
            await self.stop(reply)

    async def stop_key(self, key_id: int) -> None:
        """Stop every reply that is being written with a key that is gone; none may turn to it any more."""
        await self._begun()
        for reply in list(self._live.values()):
            reply.barred.add(key_id)
            if reply.endpoint and reply.endpoint.key_id == key_id:
                await self.stop(reply)

    async def _begun(self) -> None:
        """Wait for the questions that are being stored: their replies are known then."""
        if self._beginning:
            await asyncio.wait(list(self._beginning))

    @asynccontextmanager
    async def quiet(self, public_id: str, user_id: int) -> AsyncIterator[None]:
        """Nothing is written in a user's conversation, and nothing begins, while this lasts."""
        claim = (user_id, public_id)
        while claim in self._claimed:
            await self._begun()
            await asyncio.sleep(0)
        self._claimed.add(claim)
        try:
            if reply := self.live(public_id, user_id):
                await self.stop(reply)
            yield
        finally:
            self._claimed.discard(claim)

    def _cancel(self, reply: Reply, ending: Ending) -> None:
        reading = self._reading.get(reply.turn.message_id)
        if reading is None or (reply.ending is not None and not reply.muted):
            return
        seconds = self._config.usage_seconds
        if seconds and reply.begun and not reply.muted and ending in _WISHED:
            # the provider may yet tell what it used; nobody is shown what else it says
            reply.muted = True
            asyncio.get_running_loop().call_later(seconds, reading.cancel)
        else:
            reading.cancel()
        reply.ending = reply.ending or ending

    # --- all of them

    async def beat(self) -> None:
        """Wake every reply's followers now and then: the time for their heartbeats."""
        while True:
            await asyncio.sleep(self._config.heartbeat_seconds / 2)
            for reply in list(self._live.values()):
                reply.wake()

    async def save(self) -> None:
        """Once a second write down what is new of all live replies, as one transaction."""
        while True:
            await asyncio.sleep(self._config.save_seconds)
            replies = list(self._live.values())
            if fresh := checkpoints.collect(replies):
                try:
                    await self._db.write(checkpoints.save, fresh)
                except Exception:
                    log.exception("replies in the making could not be saved")
                    for reply in replies:
                        reply.save_again()

    async def drain(self, seconds: float) -> None:
        """Take no more questions and give the replies in the making some time to end."""
        self._draining = True
        end = asyncio.get_running_loop().time() + seconds
        # again and again: a question that was just accepted begins its work meanwhile
        while self._tasks and (left := end - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait(list(self._tasks), timeout=left)

    async def close(self) -> None:
        """Store what is still being written as interrupted, and wait for all of it."""
        self._draining = True
        for task in list(self._titling):
            task.cancel()
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

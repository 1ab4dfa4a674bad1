"""All replies in the making: asked for and begun, found, stopped, saved once a second, drained at the end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from chathub.billing.settlement_queue import SettlementQueue
from chathub.chat.begin_turn import RepeatedRequest, begin_turn, find_repeated
from chathub.chat.live import Live
from chathub.chat.reply import Reply
from chathub.chat.runner import SHUTDOWN, Writer
from chathub.chat.saving import ReplySaver
from chathub.chat.titles import Titles
from chathub.chat.turn import Settlement, TurnRequest
from chathub.chat.unstored import Unstored
from chathub.clock import Clock
from chathub.config import Config
from chathub.database.connection import Database
from chathub.disk import Disk
from chathub.errors import ChatHubError, Conflict, NotFound, Unavailable
from chathub.limits.reply_memory import ReplyMemory
from chathub.providers.resolver import Candidates

_NO_NEWS = "服务器正在重启，请稍后再试"


class Replies:
    """Replies from the question to their end; one at a time in each conversation."""

    def __init__(
        self,
        db: Database,
        disk: Disk,
        writer: Writer,
        titles: Titles,
        clock: Clock,
        config: Config,
        holdings: ReplyMemory,
        settlement_queue: SettlementQueue,
        unstored: Unstored,
    ) -> None:
        self._settlement_queue = settlement_queue
        self._unstored = unstored
        self._db = db
        self._disk = disk
        self._writer = writer
        self._titles = titles
        self._clock = clock
        self._config = config
        self._holdings = holdings
        self._live = Live(config)
        # (user, conversation): nobody can hold up a conversation of somebody else's
        self._locks: dict[tuple[int, str], asyncio.Future[None]] = {}
        # by user: what was asked and is not known as a reply yet
        self._beginning: dict[asyncio.Task[Reply], int] = {}
        self._asking: dict[tuple[int, str], tuple[str, asyncio.Task[Reply]]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._draining = False
        self._saver = ReplySaver(db)
        self._titling: set[asyncio.Task[None]] = set()

    # --- asking

    @asynccontextmanager
    async def begin_turn(self, turn_request: TurnRequest) -> AsyncIterator[Reply]:
        """Store the question and have the answer written; gives the reply as soon as both are on disk,
        counted as followed for as long as the context lasts. A repeated request gets the first one's.

        Goes on even if the caller is cancelled: a client that leaves now cannot leave a stored question
        without a reply.

        Raises:
            NotFound: the conversation or message is someone else's.
            Gone: the user deleted the conversation.
            Conflict: its last reply is still being written and followed, or the key was used otherwise.
            TooManyRequests: too many in this minute, or too many answers at once.
            Unavailable: the server ends, its file is gone, or too much waits to be stored already.
            DiskLow: there is too little room to store it; nothing was stored.
        """
        if self._draining:
            raise Unavailable(_NO_NEWS, retry_after=5)
        asking = self._spawn(self._attach_or_begin(turn_request))
        # nothing was awaited since the plan was made: who removes a key of it meanwhile waits for the reply
        self._beginning[asking] = turn_request.caller.id
        asking.add_done_callback(self._beginning.pop)
        turn_request.body.keep_until_done(asking)
        try:
            yield await asyncio.shield(asking)
        finally:
            asking.add_done_callback(self._asker_left)

    async def is_repeated(self, turn_request: TurnRequest) -> bool:
        """Whether the request was made before and has a reply."""
        idempotency_key = turn_request.idempotency_key
        if idempotency_key is None:
            return False
        now = self._clock.now()
        return await self._db.read(find_repeated, turn_request.caller.id, idempotency_key, now) is not None

    async def _attach_or_begin(self, turn_request: TurnRequest) -> Reply:
        if turn_request.idempotency_key is None:
            return await self._begin(turn_request)
        key = (turn_request.caller.id, turn_request.idempotency_key.name)
        digest, first = self._asking.get(key, (turn_request.idempotency_key.digest, None))
        if digest != turn_request.idempotency_key.digest:
            raise Conflict("同一幂等键已用于不同的请求")
        if first is not None:
            return self._live.join(await asyncio.shield(first))
        self._asking[key] = (digest, asyncio.current_task())  # type: ignore[assignment]
        try:
            known = await self._db.read(
                find_repeated, key[0], turn_request.idempotency_key, self._clock.now()
            )
            if known is not None:
                return await self.find(known, turn_request.caller.id)
            return await self._begin(turn_request)
        except RepeatedRequest as repeated:
            return await self.find(repeated.message_id, turn_request.caller.id)
        finally:
            del self._asking[key]

    async def find(self, message_id: int, user_id: int) -> Reply:
        """A reply by its message, live or out of the database, with one more follower.

        Raises:
            NotFound: the user has no such reply.
        """
        if reply := self._live.find(message_id, user_id):
            return self._live.join(reply)
        unstored = self._unstored.find(message_id, user_id)
        row = await self._db.fetch_one(self._db.q.messages.get_reply, message_id=message_id, user_id=user_id)
        if row is None:
            raise NotFound("消息不存在")
        if unstored is not None:
            return self._live.join(unstored)
        return Reply.stored(row, user_id)

    async def _begin(self, turn_request: TurnRequest) -> Reply:
        self._db.condition.check()
        self._disk.check(large=turn_request.is_large)
        self._settlement_queue.check(sum(reply.size for reply in self._live))
        async with self._lock_conversation(turn_request.caller.id, turn_request.branch_point.public_id):
            await self._stop_unfollowed(turn_request.branch_point.public_id, turn_request.caller.id)
            unstored = self.unstored(turn_request.branch_point.public_id, turn_request.caller.id)
            ended, month = self._settlement_queue.reservations, self._clock.month()
            turn = await self._db.write(begin_turn, turn_request.beginning(month), unstored, ended)
            limit = self._config.reply_characters
            reply = Reply(turn, turn_request.caller.id, turn_request.model_name, limit)
            if turn.refusal is not None or isinstance(turn_request.candidates, ChatHubError):
                reply.final_status = turn.refusal
                reply.end()
            else:
                self._start(reply, turn_request.candidates, turn_request)
            return reply

    @asynccontextmanager
    async def _lock_conversation(self, user_id: int, public_id: str) -> AsyncIterator[None]:
        """Whoever else wants the user's conversation waits until this ends."""
        idempotency_key = (user_id, public_id)
        while busy := self._locks.get(idempotency_key):
            await asyncio.wait([busy])
        self._locks[idempotency_key] = asyncio.get_running_loop().create_future()
        try:
            yield
        finally:
            self._locks.pop(idempotency_key).set_result(None)

    async def _stop_unfollowed(self, public_id: str, user_id: int) -> None:
        """A conversation has one reply at a time: one that nobody follows any more is stopped."""
        running = self._live.in_conversation(public_id)
        if running is None:
            return
        if running.user_id != user_id:
            raise NotFound("对话不存在")
        if running.followers:
            raise Conflict("该对话的上一条回复仍在生成中", message_id=running.turn.message_id)
        await self._live.stop(running)

    def _start(self, reply: Reply, candidates: Candidates, turn_request: TurnRequest) -> None:
        """Register the reply and begin to write it."""
        reply.use_model(candidates.model)
        reply.count_in(self._holdings.of(reply.user_id))
        reply.token_id = turn_request.caller.token_id
        reply.stops_when_left = (turn_request.options.on_disconnect or self._config.on_disconnect) == "stop"
        reading = self._spawn(self._writer.read(reply, candidates, turn_request.options, turn_request.body))
        self._live.add(reply, reading)
        writing = self._spawn(self._write(reply, candidates, turn_request, reading))
        turn_request.body.keep_until_done(writing)

    async def _write(
        self, reply: Reply, candidates: Candidates, turn_request: TurnRequest, reading: asyncio.Task[None]
    ) -> None:
        await self._writer.write(reply, candidates, reading)
        self._live.remove(reply)
        reply.end()
        if self._titles.wanted(reply, turn_request.options):
            task = self._spawn(self._titles.suggest(reply, candidates))
            self._titling.add(task)
            task.add_done_callback(self._titling.discard)

    # --- following and leaving

    @contextmanager
    def followed(self, reply: Reply) -> Iterator[None]:
        """For a reply from ``find``: its follower leaves when the context ends."""
        try:
            yield
        finally:
            self._live.leave(reply)

    def _asker_left(self, asking: asyncio.Task[Reply]) -> None:
        if not asking.cancelled() and asking.exception() is None:
            self._live.leave(asking.result())

    # --- looking and stopping

    def live(self, public_id: str, user_id: int) -> Reply | None:
        """The reply being written in a user's conversation."""
        reply = self._live.in_conversation(public_id)
        return reply if reply and reply.user_id == user_id else None

    def unstored(self, public_id: str, user_id: int) -> dict[int, Settlement]:
        """How the replies of a user's conversation ended that the database has not taken yet, by message."""
        return self._unstored.settlements(public_id, user_id)

    def of_user(self, user_id: int) -> list[Reply]:
        return [reply for reply in self._live if reply.user_id == user_id]

    async def wait_begun(self, user_id: int | None = None) -> None:
        """Wait for what was asked (by one user, or all): the replies to it are known then."""
        asking = [task for task, asker in self._beginning.items() if user_id in (None, asker)]
        if asking:
            await asyncio.wait(asking)

    async def stop(self, reply: Reply) -> None:
        """Close the upstream connection, keep the text, and wait until it is stored."""
        await self._live.stop(reply)

    async def stop_user(self, user_id: int) -> None:
        """Stop every reply of a user whose account was disabled."""
        await self._stop_all(lambda reply: reply.user_id == user_id)

    async def stop_key(self, key_id: int) -> None:
        """Stop every reply that is being written with a key that is gone; none may turn to it any more."""

        def uses_key(reply: Reply) -> bool:
            reply.excluded_keys.add(key_id)
            return reply.endpoint is not None and reply.endpoint.key_id == key_id

        await self._stop_all(uses_key)

    async def _stop_all(self, concerned: Callable[[Reply], bool]) -> None:
        """Those being written at once, those being begun as soon as they are known."""
        await self._live.stop_all(concerned)
        await self.wait_begun()
        await self._live.stop_all(concerned)

    @asynccontextmanager
    async def exclusive(self, public_id: str, user_id: int) -> AsyncIterator[None]:
        """Nothing is written in a user's conversation, and nothing begins, while this lasts."""
        async with self._lock_conversation(user_id, public_id):
            if reply := self.live(public_id, user_id):
                await self._live.stop(reply)
            yield

    # --- all of them

    async def beat(self) -> None:
        """Wake every reply's followers now and then: the time for their heartbeats."""
        while True:
            await asyncio.sleep(self._config.heartbeat_seconds / 2)
            for reply in self._live:
                reply.wake()

    async def save(self) -> None:
        """Once a second write down what is new of all live replies, as one transaction, and try again what
        could not be stored."""
        while True:
            await asyncio.sleep(self._config.save_seconds)
            await self._saver.save(self._live)
            await self._settlement_queue.retry()

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
            for reply in self._live:
                self._live.cancel(reply, SHUTDOWN)
            await asyncio.wait(list(self._tasks))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # a caller that left does not ask for the outcome any more
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

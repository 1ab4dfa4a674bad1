"""The running replies of all conversations: begun, followed, stopped, saved and finished."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chathub.billing.settlement_queue import SettlementQueue
from chathub.billing.token_weights import TokenWeights
from chathub.chat.begin_turn import begin_turn
from chathub.chat.idempotency import RepeatedRequest, find_repeated_reply
from chathub.chat.turn import IdempotencyKey, Settlement, TurnRequest
from chathub.clock import Clock
from chathub.config import Config
from chathub.database.clean_shutdown import mark_alive
from chathub.database.database import Database
from chathub.errors import ChatHubError, Conflict, NotFound
from chathub.limits.reply_memory import ReplyMemory
from chathub.providers.candidates import Candidates
from chathub.replies.reply import Reply
from chathub.replies.runner import SHUTDOWN, ReplyRunner
from chathub.replies.running import RunningReply
from chathub.replies.saving import ReplySaver
from chathub.replies.titles import Titles
from chathub.replies.unstored import UnstoredReplies
from chathub.running.admission import Admission
from chathub.running.registry import Registry


class ConversationReplies:
    """The running reply of each conversation; one at a time."""

    def __init__(
        self,
        db: Database,
        registry: Registry,
        admission: Admission,
        runner: ReplyRunner,
        titles: Titles,
        clock: Clock,
        config: Config,
        reply_memory: ReplyMemory,
        settlement_queue: SettlementQueue,
        unstored: UnstoredReplies,
        token_weights: TokenWeights,
    ) -> None:
        self._db = db
        self._registry = registry
        self._admission = admission
        self._runner = runner
        self._titles = titles
        self._clock = clock
        self._config = config
        self._reply_memory = reply_memory
        self._settlement_queue = settlement_queue
        self._unstored = unstored
        self._token_weights = token_weights
        self._saver = ReplySaver(db)
        # by the conversation's public id
        self._running: dict[str, RunningReply] = {}
        # by user and conversation: no user can block a conversation of another
        self._locks: dict[tuple[int, str], asyncio.Future[None]] = {}
        # by user and idempotency key: the digest and the task of the request that came first
        self._first_requests: dict[tuple[int, str], tuple[str, asyncio.Task[Reply]]] = {}

    # --- begin

    @asynccontextmanager
    async def begin_turn(self, turn_request: TurnRequest) -> AsyncIterator[Reply]:
        """Store the turn and start its reply; yields the reply as soon as both are on disk. The context
        counts as a follower. A repeated request gets the reply of the first one.

        The work goes on if the caller is cancelled: a client that leaves now cannot leave a stored message
        without a reply.

        Raises:
            NotFound: the conversation or message is another user's.
            Gone: the user deleted the conversation.
            Conflict: its last reply is still running and followed, or the key was used for something else.
            TooManyRequests: too many in this minute, or too many replies at once.
            Unavailable: the server is shutting down, the database file is gone, or too much waits to be
                stored already.
            DiskLow: there is too little room to store it; nothing was stored.
            StorageFull: the user stores as much as it may; nothing was stored.
        """
        self._registry.check_open()
        # nothing was awaited since the request was resolved: when one of its API keys is removed meanwhile,
        # the removal waits for the reply
        beginning = self._registry.begin(turn_request.caller.id, self._attach_or_begin(turn_request))
        turn_request.body.keep_until_done(beginning)
        try:
            yield await asyncio.shield(beginning)
        finally:
            beginning.add_done_callback(self._leave_begun)

    async def is_repeated(self, turn_request: TurnRequest) -> bool:
        """Whether the request was made before and has a reply."""
        idempotency_key = turn_request.idempotency_key
        if idempotency_key is None:
            return False
        user_id, now = turn_request.caller.id, self._clock.now()
        return await self._db.read(find_repeated_reply, user_id, idempotency_key, now) is not None

    async def _attach_or_begin(self, turn_request: TurnRequest) -> Reply:
        idempotency_key = turn_request.idempotency_key
        if idempotency_key is None:
            return await self._begin(turn_request)
        key = (turn_request.caller.id, idempotency_key.name)
        digest, first = self._first_requests.get(key, (idempotency_key.digest, None))
        if digest != idempotency_key.digest:
            raise Conflict("idempotency_key_reused")
        if first is not None:
            return self._join(await asyncio.shield(first))
        self._first_requests[key] = (digest, asyncio.current_task())  # type: ignore[assignment]
        try:
            return await self._stored_or_begun(turn_request, idempotency_key)
        finally:
            del self._first_requests[key]

    async def _stored_or_begun(self, turn_request: TurnRequest, idempotency_key: IdempotencyKey) -> Reply:
        """The reply that an earlier request with the key got, or a new one."""
        user_id, now = turn_request.caller.id, self._clock.now()
        message_id = await self._db.read(find_repeated_reply, user_id, idempotency_key, now)
        if message_id is None:
            try:
                return await self._begin(turn_request)
            except RepeatedRequest as repeated:
                message_id = repeated.message_id
        return await self._get(message_id, user_id)

    async def _begin(self, turn_request: TurnRequest) -> Reply:
        growing = sum(running.reply.size for running in self._running.values())
        self._admission.check(growing=growing, large=turn_request.is_large)
        user_id, public_id = turn_request.caller.id, turn_request.branch_point.public_id
        async with self._lock_conversation(user_id, public_id):
            await self._stop_unfollowed(public_id, user_id)
            unstored = self.unstored(public_id, user_id)
            ended, month = self._settlement_queue.reservations, self._clock.month()
            new_turn = turn_request.new_turn(month, self._config.language, self._token_weights)
            turn = await self._db.write(begin_turn, new_turn, unstored, ended)
            reply = Reply(turn, user_id, turn_request.model_name, self._config.reply_characters)
            if turn.refusal is not None:
                self._runner.refuse(reply, turn.refusal)
            else:
                # a turn without candidates is refused
                assert not isinstance(turn_request.candidates, ChatHubError)
                self._start(reply, turn_request.candidates, turn_request)
            return reply

    @asynccontextmanager
    async def _lock_conversation(self, user_id: int, public_id: str) -> AsyncIterator[None]:
        """Others who need the user's conversation wait until this context ends."""
        key = (user_id, public_id)
        while busy := self._locks.get(key):
            await asyncio.wait([busy])
        self._locks[key] = asyncio.get_running_loop().create_future()
        try:
            yield
        finally:
            self._locks.pop(key).set_result(None)

    async def _stop_unfollowed(self, public_id: str, user_id: int) -> None:
        """Stop the conversation's running reply if it has no followers: there is one reply at a time."""
        running = self._running.get(public_id)
        if running is None:
            return
        if running.user_id != user_id:
            raise NotFound("conversation_not_found")
        if running.followers and not running.has_left:
            raise Conflict("reply_in_progress", details={"message_id": running.reply.turn.message_id})
        await running.stop_and_store()

    # --- run

    def _start(self, reply: Reply, candidates: Candidates, turn_request: TurnRequest) -> None:
        """Register the reply and begin to read it."""
        options, body = turn_request.options, turn_request.body
        reply.use_model(candidates.model)
        reply.count_in(self._reply_memory.of(reply.user_id))
        reply.token_id = turn_request.caller.token_id
        stops_when_left = (options.on_disconnect or self._config.on_disconnect) == "stop"
        reading = self._registry.spawn(self._runner.read(reply, candidates, options, body))
        seconds = self._config.unfollowed_seconds
        running = RunningReply(reply, reading, self._registry, seconds, stops_when_left=stops_when_left)
        self._running[reply.turn.public_id] = running
        self._registry.add(running)
        body.keep_until_done(self._registry.spawn(self._run(running, candidates, turn_request)))

    async def _run(self, running: RunningReply, candidates: Candidates, turn_request: TurnRequest) -> None:
        """See a reply to its end."""
        reply = running.reply
        final_status = await self._runner.run(reply, candidates, running.reading)
        del self._running[reply.turn.public_id]
        self._registry.remove(running)
        running.forget_timers()
        reply.end(final_status)
        self._titles.begin(reply, candidates, turn_request.options)

    # --- follow

    @asynccontextmanager
    async def follow(self, message_id: int, user_id: int) -> AsyncIterator[Reply]:
        """A user's reply, running or stored; the context counts as a follower.

        Raises:
            NotFound: the user has no such reply.
        """
        reply = await self._get(message_id, user_id)
        try:
            yield reply
        finally:
            self._leave(reply)

    async def _get(self, message_id: int, user_id: int) -> Reply:
        """A user's reply by its message, with one more follower."""
        for running in self.of_user(user_id):
            if running.reply.turn.message_id == message_id:
                return self._join(running.reply)
        unstored = self._unstored.find(message_id, user_id)
        row = await self._db.fetch_one(self._db.q.messages.get_reply, message_id=message_id, user_id=user_id)
        if row is None:
            raise NotFound("message_not_found")
        return unstored or Reply.stored(row, user_id)

    def _join(self, reply: Reply) -> Reply:
        if running := self._running_of(reply):
            running.join()
        return reply

    def _leave(self, reply: Reply) -> None:
        if running := self._running_of(reply):
            running.leave()

    def _leave_begun(self, beginning: asyncio.Task[Reply]) -> None:
        if not beginning.cancelled() and beginning.exception() is None:
            self._leave(beginning.result())

    def _running_of(self, reply: Reply) -> RunningReply | None:
        running = self._running.get(reply.turn.public_id)
        return running if running and running.reply is reply else None

    # --- find and stop

    def of_user(self, user_id: int) -> list[RunningReply]:
        return [running for running in self._running.values() if running.user_id == user_id]

    def find_running(self, public_id: str, user_id: int) -> Reply | None:
        """The running reply of a user's conversation."""
        running = self._running.get(public_id)
        return running.reply if running and running.user_id == user_id else None

    def unstored(self, public_id: str, user_id: int) -> dict[int, Settlement]:
        """How replies of a user's conversation ended whose end is not in the database yet, by message."""
        return self._unstored.settlements(public_id, user_id)

    async def stop(self, place: str | int, user_id: int) -> Reply | None:
        """Stop a user's running reply, by its conversation's public id or its message's id: keep the text,
        and wait until it is stored, unless its usage is still read."""
        await self._registry.wait_begun(user_id)
        for running in self.of_user(user_id):
            if place in (running.reply.turn.public_id, running.reply.turn.message_id):
                await running.stop_for_user()
                return running.reply
        return None

    @asynccontextmanager
    async def exclusive(self, public_id: str, user_id: int) -> AsyncIterator[None]:
        """Nothing is generated in a user's conversation, and nothing begins, while this context lasts."""
        async with self._lock_conversation(user_id, public_id):
            running = self._running.get(public_id)
            if running and running.user_id == user_id:
                await running.stop_and_store()
            yield

    # --- all of them

    async def beat(self) -> None:
        """Wake the followers of every reply periodically: the time for their heartbeats."""
        while True:
            await asyncio.sleep(self._config.heartbeat_seconds / 2)
            for running in self._running.values():
                running.reply.wake()

    async def save(self) -> None:
        """Once a second save the new text of all running replies, in one transaction, and retry what could
        not be stored. While anything runs, a crash is to leave when that was."""
        while True:
            await asyncio.sleep(self._config.save_seconds)
            if self._registry.is_busy:
                await asyncio.to_thread(mark_alive, self._db.path)
            await self._saver.save([running.reply for running in self._running.values()])
            await self._settlement_queue.retry()

    async def close(self) -> None:
        """Store what is still running as interrupted, and wait for all of it."""
        self._titles.cancel()
        await self._registry.close(self._interrupt)

    def _interrupt(self) -> None:
        for running in self._running.values():
            running.end(SHUTDOWN)

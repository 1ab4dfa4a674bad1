"""A stored response while it is generated, and those who follow it."""

import asyncio
from collections import deque
from typing import NamedTuple

from chathub.gateway.request import GatewayRequest
from chathub.replies.followers import Followers
from chathub.sentences import Reason
from chathub.stored_responses.events import Batch

# bytes of the newest events that are kept in memory for those who follow
_TAIL = 64 * 1024


class Ending(NamedTuple):
    """How a response is ended before it is whole; ``code`` is that of its error if it failed."""

    status: str
    reason: Reason
    code: str = "server_error"


CANCELLED = Ending("cancelled", Reason("response_cancelled"))
_UNFOLLOWED = Ending("cancelled", Reason("reply_unfollowed"))


class StoredRun:
    """A response that is generated. ``begun`` is done with its row ``id`` (0 until then) when it is stored.
    ``is_shown``: a client has the head of its stream, so that a failure is an event; ``is_over``: its last
    event is stored; ``error`` is why it could not be stored, or not be ended.
    """

    def __init__(self, unfollowed_seconds: float | None) -> None:
        self.is_shown = False
        self.is_over = False
        self.id = 0
        self.begun: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        # an error is for the client that began it; if that has left, for nobody
        self.begun.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.request: GatewayRequest | None = None
        self.ending: Ending | None = None
        self.error: Exception | None = None
        self.has_ended = False
        self.last = -1
        self._followers = Followers()
        # the client that began it follows from the start
        self._following = 1
        self._unfollowed_seconds = unfollowed_seconds
        self._unfollowed: asyncio.TimerHandle | None = None
        self._tail: deque[Batch] = deque()
        self._tail_size = 0

    @property
    def provider(self) -> str:
        """The name of the provider that was called last."""
        models = [meter.model for meter in self.request.meters] if self.request else []
        return models[-1].provider_name if models and models[-1] else ""

    # --- its log

    def add(self, batch: Batch) -> None:
        """Show events that are on disk."""
        self.last = batch.last
        self._tail.append(batch)
        self._tail_size += len(batch.data)
        while self._tail and self._tail_size > _TAIL:
            self._tail_size -= len(self._tail.popleft().data)
        self._followers.wake()

    def newer(self, after: int) -> list[Batch] | None:
        """The events behind a sequence number; None: they are on disk only."""
        if after >= self.last:
            return []
        if not self._tail or self._tail[0].first > after + 1:
            return None
        return [batch for batch in self._tail if batch.last > after]

    async def shown(self, seconds: float) -> None:
        """Wait for its first event, but at most so many seconds: then its client gets the head of its stream.

        Raises:
            ChatHubError: it failed before.
        """
        while self.last < 0 and not self.has_ended:
            if not await self.wait(seconds):
                self.is_shown = True
                return
        if self.error is not None:
            raise self.error

    async def wait(self, seconds: float) -> bool:
        """Wait for news for a while; whether there are any."""
        try:
            async with asyncio.timeout(seconds):
                await self._followers.wait()
        except TimeoutError:
            return False
        return True

    async def finished(self) -> None:
        """Wait until it has ended and is stored."""
        while not self.has_ended:
            await self._followers.wait()

    # --- its followers

    def join(self) -> None:
        """Count one more client that follows."""
        self._following += 1
        self._forget_unfollowed()

    def leave(self) -> None:
        """Count one less. What nobody follows ends after a while, unless it was to run in the background."""
        self._following -= 1
        if not self._following and self._unfollowed_seconds is not None and not self.has_ended:
            loop = asyncio.get_running_loop()
            self._unfollowed = loop.call_later(self._unfollowed_seconds, self.stop, _UNFOLLOWED)

    def _forget_unfollowed(self) -> None:
        if self._unfollowed is not None:
            self._unfollowed.cancel()
            self._unfollowed = None

    # --- its end

    def stop(self, ending: Ending) -> None:
        """Close the connection to the provider at once. The first reason is the one that is stored."""
        if self.ending is None and not self.has_ended:
            self.ending = ending
            if self.request is not None:
                self.request.stop()

    def fail(self, error: Exception) -> None:
        """It is not stored, or its end is not: this is the error of those who wait for it."""
        self.error = error
        if not self.begun.done():
            self.begun.set_exception(error)

    def end(self) -> None:
        """It has ended."""
        self.has_ended = True
        self._forget_unfollowed()
        self._followers.wake()

"""A reply while it is generated: its reading task, its followers, and how it is stopped."""

import asyncio
from functools import partial

from chathub.chat.final_status import FinalStatus
from chathub.formats.messages import Endpoint
from chathub.replies.reply import Reply
from chathub.running.registry import Registry
from chathub.sentences import Reason

_STOPPED = FinalStatus("stopped", Reason("reply_stopped"), finish_reason="stopped")
_LEFT = FinalStatus("stopped", Reason("client_left"), finish_reason="disconnected")
_UNFOLLOWED = FinalStatus("stopped", Reason("reply_unfollowed"), finish_reason="unfollowed")


class RunningReply:
    """A reply with the task that reads it from the provider: a ``Run`` of the registry.

    Only the reading is ever cancelled, so that a reply that is stopped before its first step is settled
    like any other. ``stops_when_left``: it is stopped as soon as its last follower leaves.
    """

    def __init__(
        self,
        reply: Reply,
        reading: asyncio.Task[None],
        registry: Registry,
        unfollowed_seconds: float,
        *,
        stops_when_left: bool,
    ) -> None:
        self.reply = reply
        self.reading = reading
        # the client that began the turn follows from the start
        self.followers = 1
        self._registry = registry
        self._unfollowed_seconds = unfollowed_seconds
        self._stops_when_left = stops_when_left
        self._unfollowed: asyncio.TimerHandle | None = None
        # set while it has ended for its followers and its usage is still read
        self._usage_wait: asyncio.TimerHandle | None = None

    # --- as a run

    @property
    def user_id(self) -> int:
        return self.reply.user_id

    @property
    def endpoint(self) -> Endpoint | None:
        return self.reply.endpoint

    def exclude_key(self, key_id: int) -> None:
        self.reply.excluded_keys.add(key_id)

    @property
    def has_left(self) -> bool:
        return self._usage_wait is not None

    def stop(self) -> None:
        """Close the connection to the provider at once, and keep the text."""
        self.end(_STOPPED)

    async def stop_and_store(self) -> None:
        """``stop``, and wait until the reply is stored."""
        self.stop()
        await self.reply.finished()

    async def stop_for_user(self) -> None:
        """The same, but where the provider has said that its reply is over, the usage that follows is read
        on, which nobody waits for."""
        self.end(_STOPPED, reads_on=self.reply.has_finish)
        if not self.has_left:
            await self.reply.finished()

    # --- its followers

    def join(self) -> None:
        """Count one more follower."""
        self.followers += 1
        self._forget_unfollowed()

    def leave(self) -> None:
        """Count one follower less. When the last one leaves, the reply ends at once or after a while: a reply
        without followers must not cost money without end."""
        self.followers -= 1
        if self.followers:
            return
        if self._stops_when_left:
            self.end(_LEFT, reads_on=True)
        else:
            self._unfollowed = asyncio.get_running_loop().call_later(
                self._unfollowed_seconds, partial(self.end, _UNFOLLOWED, reads_on=True)
            )

    def _forget_unfollowed(self) -> None:
        if self._unfollowed is not None:
            self._unfollowed.cancel()
            self._unfollowed = None

    # --- its end

    def forget_timers(self) -> None:
        """It has ended."""
        self._forget_unfollowed()
        if self._usage_wait is not None:
            self._usage_wait.cancel()

    def end(self, final_status: FinalStatus, *, reads_on: bool = False) -> None:
        """End the reading; with ``reads_on`` after a while, in which the provider may tell its usage: what
        else it says is not shown. The first reason is the one that is stored; another one ends that wait."""
        if self._usage_wait is not None:
            self.reading.cancel()
        if not self.reply.state.can_stop:
            return
        self.reply.begin_stopping(final_status)
        seconds = self._registry.usage_seconds if reads_on and self.reply.may_tell_usage else 0
        if seconds:
            self._usage_wait = asyncio.get_running_loop().call_later(seconds, self.reading.cancel)
        else:
            self.reading.cancel()

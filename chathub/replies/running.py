"""A reply while it is generated: its reading task, its followers, and how it is stopped."""

import asyncio

from chathub.chat.turn import FinalStatus
from chathub.config import Config
from chathub.formats.messages import Endpoint
from chathub.replies.reply import Reply
from chathub.sentences import Reason

_STOPPED = FinalStatus("stopped", Reason("reply_stopped"), finish_reason="stopped")
_LEFT = FinalStatus("stopped", Reason("client_left"), finish_reason="disconnected")
_UNFOLLOWED = FinalStatus("stopped", Reason("reply_unfollowed"), finish_reason="unfollowed")
# the ends that leave time to wait for the usage that the provider reports
_ON_PURPOSE = (_STOPPED, _LEFT, _UNFOLLOWED)


class RunningReply:
    """A reply with the task that reads it from the provider: a ``Run`` of the registry.

    Only the reading is ever cancelled, so that a reply that is stopped before its first step is settled
    like any other. ``stops_when_left``: it is stopped as soon as its last follower leaves.
    """

    def __init__(
        self, reply: Reply, reading: asyncio.Task[None], config: Config, *, stops_when_left: bool
    ) -> None:
        self.reply = reply
        self.reading = reading
        # the client that began the turn follows from the start
        self.followers = 1
        self._config = config
        self._stops_when_left = stops_when_left
        self._unfollowed: asyncio.TimerHandle | None = None
        # set while it is stopped and its usage is still read
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

    def stop(self) -> None:
        """Close the connection to the provider and keep the text."""
        self.end(_STOPPED)

    # --- its followers

    def join(self) -> None:
        """Count one more follower."""
        self.followers += 1
        self.forget_timer()

    def leave(self) -> None:
        """Count one follower less. When the last one leaves, the reply ends at once or after a while: a reply
        without followers must not cost money without end."""
        self.followers -= 1
        if self.followers:
            return
        if self._stops_when_left:
            self.end(_LEFT)
        else:
            self._unfollowed = asyncio.get_running_loop().call_later(
                self._config.unfollowed_seconds, self.end, _UNFOLLOWED
            )

    def forget_timer(self) -> None:
        """The reply goes on without followers."""
        if self._unfollowed is not None:
            self._unfollowed.cancel()
            self._unfollowed = None

    # --- its end

    def end(self, final_status: FinalStatus) -> None:
        """End the reading. The first reason is the one that is stored; another one ends the wait for the
        usage."""
        if self._usage_wait is not None:
            self.reading.cancel()
        if not self.reply.state.can_stop:
            return
        self.reply.begin_stopping(final_status)
        seconds = self._config.usage_seconds
        if seconds and self.reply.has_output and final_status in _ON_PURPOSE:
            # the provider may still report the usage; what else it says is not shown
            self._usage_wait = asyncio.get_running_loop().call_later(seconds, self.reading.cancel)
        else:
            self.reading.cancel()

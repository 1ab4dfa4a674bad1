"""The replies that are being written: who follows them, and how they are cut off."""

import asyncio
from collections.abc import Callable, Iterator

from chathub.chat.reply import Reply
from chathub.chat.turn import FinalStatus
from chathub.config import Config

STOPPED = FinalStatus("stopped", "已停止生成", finish_reason="stopped")
_LEFT = FinalStatus("stopped", "客户端已断开，停止生成", finish_reason="disconnected")
_UNFOLLOWED = FinalStatus("stopped", "长时间无人接收，停止生成", finish_reason="unfollowed")
# nothing speaks against reading on for a moment
_WISHED = (STOPPED, _LEFT, _UNFOLLOWED)


class Live:
    """One reply for each conversation, with the task that reads it; iterating takes a copy.

    Only the reading is ever cancelled, so that a reply that is stopped before its first step is settled
    like any other.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._replies: dict[str, Reply] = {}
        self._reading: dict[int, asyncio.Task[None]] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}

    def __iter__(self) -> Iterator[Reply]:
        return iter(list(self._replies.values()))

    def add(self, reply: Reply, reading: asyncio.Task[None]) -> None:
        self._replies[reply.turn.public_id] = reply
        self._reading[reply.turn.message_id] = reading

    def remove(self, reply: Reply) -> None:
        if self._replies.get(reply.turn.public_id) is reply:
            del self._replies[reply.turn.public_id]
        del self._reading[reply.turn.message_id]
        self._forget_timer(reply)

    def in_conversation(self, public_id: str) -> Reply | None:
        return self._replies.get(public_id)

    def find(self, message_id: int, user_id: int) -> Reply | None:
        """A user's reply by its message."""
        for reply in self._replies.values():
            if reply.turn.message_id == message_id and reply.user_id == user_id:
                return reply
        return None

    def join(self, reply: Reply) -> Reply:
        """Count one more follower."""
        reply.followers += 1
        self._forget_timer(reply)
        return reply

    def leave(self, reply: Reply) -> None:
        """Count one follower less; the last one's leaving may end the reply, at once or after a while."""
        reply.followers -= 1
        if reply.followers or reply.ended:
            return
        if reply.stops_when_left:
            self.cancel(reply, _LEFT)
        else:
            # a reply that nobody comes back for is not paid for without end
            self._timers[reply.turn.message_id] = asyncio.get_running_loop().call_later(
                self._config.unfollowed_seconds, self.cancel, reply, _UNFOLLOWED
            )

    def _forget_timer(self, reply: Reply) -> None:
        if timer := self._timers.pop(reply.turn.message_id, None):
            timer.cancel()

    def cancel(self, reply: Reply, final_status: FinalStatus) -> None:
        """Close the upstream connection; what ended a reply first stays its reason."""
        reading = self._reading.get(reply.turn.message_id)
        if reading is None or (reply.final_status is not None and not reply.drains_usage):
            return
        seconds = self._config.usage_seconds
        if seconds and reply.has_output and not reply.drains_usage and final_status in _WISHED:
            # the provider may yet tell what it used; nobody is shown what else it says
            reply.drains_usage = True
            asyncio.get_running_loop().call_later(seconds, reading.cancel)
        else:
            reading.cancel()
        reply.final_status = reply.final_status or final_status

    async def stop(self, reply: Reply) -> None:
        """Close the upstream connection, keep the text, and wait until it is stored."""
        self.cancel(reply, STOPPED)
        await reply.finished()

    async def stop_all(self, concerned: Callable[[Reply], bool]) -> None:
        replies = [reply for reply in self if concerned(reply)]
        for reply in replies:
            self.cancel(reply, STOPPED)
        for reply in replies:
            await reply.finished()

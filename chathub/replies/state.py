"""The states of a reply in memory, and the transitions between them.

The message's column and the wire have five words. The states before the end are ``streaming`` there; an
``unstored`` reply is ``streaming`` in the column and an ``error`` on the wire (``final_status.NOT_STORED``).
"""

from enum import Enum

from chathub.chat.final_status import FinalStatus
from chathub.database.rows.messages import StoredReply
from chathub.sentences import Reason


class ReplyState(Enum):
    # the turn is on disk, nothing of the reply has come yet
    BEGINNING = "beginning"
    # text or a tool call has come
    STREAMING = "streaming"
    # a user or the server ends it: only the usage is still read
    STOPPING = "stopping"
    # the reading has ended, and its end is being written to the database
    SETTLING = "settling"
    # it has ended, and the database could not take its end yet
    UNSTORED = "unstored"
    # it has ended, and its end is on disk
    DONE = "done"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    ERROR = "error"

    @property
    def is_generating(self) -> bool:
        """Whether it is still being read."""
        return self in _GENERATING

    @property
    def can_stop(self) -> bool:
        """Whether there is something to stop, which nothing has stopped yet."""
        return ReplyState.STOPPING in TRANSITIONS[self]

    @property
    def has_ended(self) -> bool:
        """Whether its text and status are final for its followers."""
        return not self.is_generating and self is not ReplyState.SETTLING

    def to(self, new: "ReplyState") -> "ReplyState":
        """The new state.

        Raises:
            IllegalTransition: this state does not lead to it.
        """
        if new not in TRANSITIONS[self]:
            raise IllegalTransition(f"a reply cannot go from {self.value} to {new.value}")
        return new


class IllegalTransition(Exception):
    """A mistake of ours: the reply is not in a state that allows this."""


_GENERATING = frozenset({ReplyState.BEGINNING, ReplyState.STREAMING, ReplyState.STOPPING})
_STORED = frozenset({ReplyState.DONE, ReplyState.STOPPED, ReplyState.INTERRUPTED, ReplyState.ERROR})

TRANSITIONS: dict[ReplyState, frozenset[ReplyState]] = {
    # an error at once: the turn was refused, no provider is called
    ReplyState.BEGINNING: frozenset(
        {ReplyState.STREAMING, ReplyState.STOPPING, ReplyState.SETTLING, ReplyState.ERROR}
    ),
    ReplyState.STREAMING: frozenset({ReplyState.STOPPING, ReplyState.SETTLING}),
    ReplyState.STOPPING: frozenset({ReplyState.SETTLING}),
    ReplyState.SETTLING: _STORED | {ReplyState.UNSTORED},
    ReplyState.UNSTORED: _STORED,
    ReplyState.DONE: frozenset(),
    ReplyState.STOPPED: frozenset(),
    ReplyState.INTERRUPTED: frozenset(),
    ReplyState.ERROR: frozenset(),
}


def stored_status(row: StoredReply) -> FinalStatus:
    """How a reply that does not run ended. One that is ``streaming`` still could not be stored at its end."""
    if row.status == "streaming":
        return FinalStatus("interrupted", Reason("reply_not_saved"), 500, "error")
    reason = Reason.stored(row.reason_json, row.reason)
    return FinalStatus(row.status, reason, row.error_status, row.finish_reason, row.retry_after)

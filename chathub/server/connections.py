"""The open connections of the server: how many there may be, and which of them are idle."""

import os
import resource
import time
from collections.abc import Callable
from typing import Protocol

# most requests at once, however many descriptors there are; a connection costs about 15 KB
_MOST = 4096
# one in so many descriptors is for anything but clients and providers
_PART = 8
# seconds that a connection is idle before it may be closed for a new one
_GRACE = 0.3
# descriptors that a request and its response need
_NEEDED = 2


class Connection(Protocol):
    """What can be closed at once, without sending the rest."""

    def abort(self) -> None: ...


class Connections:
    """Counts connections and the requests on them.

    ``most`` requests may be served at once. ``spare`` more connections may be open: idle ones, those whose
    request is incomplete, and those whose request is refused. ``freed`` is called when there may be room
    again.
    """

    def __init__(
        self,
        most: int = _MOST,
        spare: int = _MOST // _PART,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self.most = most
        self._open_most = most + spare
        self._open: set[Connection] = set()
        # since when they are idle, the longest first
        self._idle: dict[Connection, float] = {}
        self._seconds = seconds
        self.freed: Callable[[], None] = lambda: None

    def fit(self) -> None:
        """Set the bounds by the descriptors that this process may still open: a request takes one for its
        client and one for its provider."""
        left = _limit() - _next_descriptor()
        spare = max(2, min(left, _MOST) // _PART)
        self.most = max(1, min(_MOST, (left - spare) // 2))
        self._open_most = self.most + spare

    def opened(self, connection: Connection) -> None:
        self._open.add(connection)
        self._idle[connection] = self._seconds()

    def head_received(self, connection: Connection) -> None:
        """The head of a request came: until its body is complete, the connection counts as idle from now
        on."""
        if self._idle.pop(connection, None) is not None:
            self._idle[connection] = self._seconds()

    def request_received(self, connection: Connection) -> None:
        """A request is complete, to the last byte of its body."""
        self._idle.pop(connection, None)

    def response_sent(self, connection: Connection) -> None:
        """The response is sent: the connection is idle until the next request."""
        if connection in self._open:
            self._idle.pop(connection, None)
            self._idle[connection] = self._seconds()
            self.freed()

    def closed(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._idle.pop(connection, None)
        self.freed()

    def has_room(self, coming: int = 0) -> bool:
        """Whether one more connection may be opened; ``coming`` are accepted and not open yet."""
        return len(self._open) + coming < self._open_most

    @property
    def is_overloaded(self) -> bool:
        """Whether the newest request is one too many: too many are being served, or the descriptors that it
        needs are in use otherwise."""
        return len(self._open) - len(self._idle) > self.most or _next_descriptor() > _limit() - _NEEDED

    def close_idle(self) -> bool:
        """Close the connection that has been idle the longest; false if none has been idle for a moment: a
        new connection is about to send its request."""
        for connection, since in self._idle.items():
            if self._seconds() - since < _GRACE:
                break
            # its descriptor is free before the loop handles anything new
            del self._idle[connection]
            self._open.discard(connection)
            connection.abort()
            return True
        return False


def _limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST**2 if soft == resource.RLIM_INFINITY else soft


def _next_descriptor() -> int:
    """The lowest free number, which the next descriptor gets; the limit itself if none is free."""
    try:
        number = os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return _limit()
    os.close(number)
    return number

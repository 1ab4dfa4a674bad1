"""Accepting connections, and no more than the process has descriptors for.

asyncio's own server accepts until the system refuses, logs a traceback for each refusal, and after a second
tries again as often as its backlog is long: with 64 descriptors that is 36 MB of log in half a minute.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Sequence

from aiohttp import web

from chathub.log import RateLimitedWarning
from chathub.server.connections import Connections

log = logging.getLogger("chathub.listener")

# connections that are accepted in one turn of the loop
_AT_ONCE = 16
# seconds after which accepting is tried again although no connection was closed
_PAUSE = 0.3
# the process or the system has no descriptor or memory left
_SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Site(web.BaseSite):
    """Serves a runner's application on listening sockets."""

    def __init__(
        self, runner: web.BaseRunner, sockets: Sequence[socket.socket], connections: Connections
    ) -> None:
        super().__init__(runner)
        self._sockets = sockets
        self._connections = connections

    @property
    def name(self) -> str:
        return ", ".join(str(listening.getsockname()) for listening in self._sockets)

    async def start(self) -> None:
        """Accept connections from now on."""
        await super().start()
        assert self._runner.server is not None
        listener = _Listener(self._runner.server, self._connections)
        # a runner uses only its sockets and close()
        self._server = listener  # type: ignore[assignment]
        for listening in self._sockets:
            listener.listen(listening)
        self._connections.fit()


class _Listener:
    """Listening sockets that are watched only while one more connection may be opened."""

    def __init__(self, factory: web.Server, connections: Connections) -> None:
        self.sockets: list[socket.socket] = []
        self._factory = factory
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._coming: set[asyncio.Task[None]] = set()
        self._again: asyncio.TimerHandle | None = None
        self._warning = RateLimitedWarning(log, "new connections had to wait for a free descriptor: %d times")
        connections.freed = self._resume

    def listen(self, listening: socket.socket) -> None:
        listening.setblocking(False)
        self.sockets.append(listening)
        self._loop.add_reader(listening, self._accept, listening)

    def close(self) -> None:
        self._resume()
        for listening in self.sockets:
            self._loop.remove_reader(listening)
            listening.close()
        self.sockets.clear()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            if not self._connections.has_room(len(self._coming)):
                self._make_room()
                return
            try:
                accepted, _ = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _SHORT:
                    raise
                self._make_room()
                return
            task = self._loop.create_task(self._open(accepted))
            self._coming.add(task)
            task.add_done_callback(self._coming.discard)

    async def _open(self, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._factory, accepted)
        except OSError:
            # the client has closed it already
            accepted.close()

    def _make_room(self) -> None:
        """Close an idle connection, so that the loop's next round can accept one; if there is none, wait
        until another connection is closed."""
        if self._connections.close_idle() or self._again is not None:
            return
        self._warning.warn()
        for listening in self.sockets:
            self._loop.remove_reader(listening)
        self._again = self._loop.call_later(_PAUSE, self._resume)

    def _resume(self) -> None:
        if self._again is None:
            return
        self._again.cancel()
        self._again = None
        for listening in self.sockets:
            self._loop.add_reader(listening, self._accept, listening)

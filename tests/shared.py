"""One server for many tests of a module, those with ``@pytest.mark.shared``.

Such a test changes nothing that another test of its module reads. The fixtures ``config``, ``client``,
``admin`` and ``user`` are then those of the shared server.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from threading import Thread
from typing import Any, Self, TypeVar

from aiohttp.test_utils import TestClient, TestServer
from listening import Server

from chathub.app import create_app
from chathub.config import Config

T = TypeVar("T")
# seconds that a start or stop may take on a busy machine
_PATIENCE = 60


class SharedServer:
    """A server in a thread of its own: each test has an event loop, and a server outlives that."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._server = Server(create_app(config))
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="shared server")

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._run(self._server.start_server(keepalive_timeout=30))
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self._run(self._server.close())
        finally:
            self._end()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[TestClient]:
        """A client of the server on the caller's event loop."""
        client = TestClient(_Elsewhere(self._server))
        try:
            yield client
        finally:
            await client.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE)

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE)
        self._loop.close()


class _Elsewhere(TestServer):
    """A server that runs already, and continues when its client closes."""

    def __init__(self, server: TestServer) -> None:
        super().__init__(server.app, host=server.host, port=server.port)
        self._root = server.make_url("/")

    async def close(self) -> None:
        self._root = None

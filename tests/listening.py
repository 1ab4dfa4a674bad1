"""The server as the command line runs it, in the test's process and on a free port."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from chathub.server.protocol import Runner


class Server(TestServer):
    """A server whose connections are those of production."""

    async def _make_runner(self, **options: Any) -> Runner:
        # which the runner creates for itself
        del options["handler_cancellation"]
        return Runner(self.app, **options)


@asynccontextmanager
async def listening(app: web.Application) -> AsyncIterator[int]:
    """Run an application with the production runner; returns its port on 127.0.0.1."""
    runner = Runner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()

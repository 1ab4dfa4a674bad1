"""The server as the command line runs it, in the test's process and on a free port."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from chathub.server import Runner


@asynccontextmanager
async def listening(app: web.Application) -> AsyncIterator[int]:
    """Run an application with production's runner; gives its port on 127.0.0.1."""
    runner = Runner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()

"""What ChatHub is compared with: aiohttp doing the same with nothing around it, in a process of its own.

``bare.py FILE UPSTREAM``: GET / gives the bytes of FILE; POST / sends the body on to UPSTREAM and gives the
answer back, JSON as JSON, a stream as it is read (``readany`` → ``write``). No login, no database, no
shape of its own for events. The settings of server and client are those that ChatHub uses.
"""

import argparse
import asyncio
import contextlib
from pathlib import Path

import aiohttp
from aiohttp import web
from processes import announce, raise_file_limit

BYTES = web.AppKey("BYTES", bytes)
UPSTREAM = web.AppKey("UPSTREAM", str)
SESSION = web.AppKey("SESSION", aiohttp.ClientSession)
_EVENTS = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}


async def give(request: web.Request) -> web.Response:
    return web.Response(body=request.app[BYTES], content_type="application/json", charset="utf-8")


async def forward(request: web.Request) -> web.StreamResponse:
    body = await request.read()
    headers = {"Content-Type": "application/json"}
    async with request.app[SESSION].post(request.app[UPSTREAM], data=body, headers=headers) as upstream:
        if upstream.content_type.endswith("json"):
            return web.Response(body=await upstream.read(), content_type="application/json")
        response = web.StreamResponse(headers=_EVENTS)
        await response.prepare(request)
        while data := await upstream.content.readany():
            await response.write(data)
        await response.write_eof()
        return response


async def serve(given: bytes, upstream: str) -> None:
    raise_file_limit()
    timeout = aiohttp.ClientTimeout(total=None, connect=10, sock_connect=10, sock_read=120)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        app = web.Application()
        app[BYTES], app[UPSTREAM], app[SESSION] = given, upstream, session
        app.router.add_get("/", give)
        app.router.add_post("/", forward)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, keepalive_timeout=30)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        announce(runner.addresses[0][1])
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("upstream")
    arguments = parser.parse_args()
    run = asyncio.run
    with contextlib.suppress(ImportError):
        from uvloop import run  # as ChatHub does; the benchmark hides uvloop unless its flag is given
    run(serve(arguments.file.read_bytes(), arguments.upstream))


if __name__ == "__main__":
    main()

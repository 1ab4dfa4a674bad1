"""A provider with the largest allowed replies: a process of its own.

The model's name selects the reply: ``whole-<bytes>`` one JSON reply of that size, ``single-<count>`` a stream
of so many characters, each in an event of its own; any other name one word.
"""

import asyncio
import json
import re

from aiohttp import web
from processes import announce

_MODEL = re.compile(rb'"model": ?"(\w+)-(\d+)"')
_AT_ONCE = 500
_EVENT = '{"choices":[{"index":0,"delta":{"content":"字"}}]}'
_END = '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'


async def answer(request: web.Request) -> web.StreamResponse:
    found = _MODEL.search(await request.read())
    kind, amount = (found[1], int(found[2])) if found else (b"", 0)
    if kind == b"single":
        return await _singles(request, amount)
    text = "x" * max(amount - 200, 1)
    whole = {"choices": [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}]}
    return web.Response(body=json.dumps(whole).encode(), content_type="application/json")


async def _singles(request: web.Request, count: int) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    batch = f"data: {_EVENT}\n\n".encode() * _AT_ONCE
    for _ in range(count // _AT_ONCE):
        await response.write(batch)
    await response.write(f"data: {_END}\n\ndata: [DONE]\n\n".encode())
    await response.write_eof()
    return response


async def main() -> None:
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    announce(runner.addresses[0][1])
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())

"""A provider on loopback that does what a test scripts: an aiohttp app with a script of responses."""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Self

from aiohttp import web
from aiohttp.test_utils import TestServer

Script = Callable[[web.Request], Awaitable[web.StreamResponse]]


def chunk(content: str | None = None, finish: str | None = None, **delta: Any) -> bytes:
    """One event of an OpenAI stream."""
    if content is not None:
        delta["content"] = content
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return data({"id": "c1", "object": "chat.completion.chunk", "model": "m", "choices": [choice]})


def usage(prompt: int, completion: int, **more: Any) -> bytes:
    total = prompt + completion
    told = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total, **more}
    return data({"id": "c1", "object": "chat.completion.chunk", "choices": [], "usage": told})


def data(value: Any) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def reply(*texts: str, prompt: int = 7, completion: int = 3, finish: str = "stop") -> list[bytes]:
    """A whole stream with usage."""
    return [*(chunk(text) for text in texts), chunk(finish=finish), usage(prompt, completion), DONE]


class ScriptedServer:
    """A server on loopback that responds to every POST with ``script``; ``gate`` is for scripts that wait."""

    script: Script

    def __init__(self, most_bytes: int = 64 * 1024 * 1024, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.gate = asyncio.Event()
        app = web.Application(client_max_size=most_bytes)
        app.router.add_post("/{path:.*}", self._handle)
        self._server = TestServer(app)

    async def __aenter__(self) -> Self:
        await self._server.start_server(shutdown_timeout=0.1, ssl=self._tls)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.gate.set()
        await self._server.close()

    @property
    def base_url(self) -> str:
        return str(self._server.make_url("/v1"))

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        await self._record(request)
        try:
            return await self.script(request)
        except (asyncio.CancelledError, ConnectionError):
            self._note_closed()
            raise

    async def _record(self, request: web.Request) -> None:
        """Read a request and keep what tests look at."""
        raise NotImplementedError

    def _note_closed(self) -> None:
        """ChatHub has closed a connection before its response was complete."""

    def respond(self, body: bytes, content_type: str, status: int = 200) -> Script:
        """One whole response."""

        async def run(request: web.Request) -> web.StreamResponse:
            return web.Response(body=body, status=status, headers={"Content-Type": content_type})

        return run


class Provider(ScriptedServer):
    """Responds to ``POST /v1/chat/completions`` with ``script`` and records every request.

    ``bodies``, ``headers`` and ``targets`` (the paths as they were written) are those received; ``closed``
    counts connections that ChatHub closed before the response was complete.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls=tls)
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[Any] = []
        self.targets: list[str] = []
        self.closed = 0
        self.script: Script = self.stream(reply("你好", "，世界"))

    @property
    def last(self) -> dict[str, Any]:
        """The body of the newest request."""
        return self.bodies[-1]

    @property
    def unmarked(self) -> dict[str, Any]:
        """The same without the markers for Anthropic's cache."""
        return dict(without_markers(self.last))

    async def _record(self, request: web.Request) -> None:
        self.headers.append(request.headers.copy())
        self.targets.append(request.raw_path)
        self.bodies.append(json.loads(await request.read()) | {"_path": request.path})

    def _note_closed(self) -> None:
        self.closed += 1

    def stream(
        self,
        parts: Iterable[bytes],
        *,
        pause: float = 0,
        stall_after: int | None = None,
        cut: bool = False,
        content_type: str = "text/event-stream",
    ) -> Script:
        """Stream the parts; ``stall_after`` that many wait for ``gate``; ``cut`` breaks the connection."""
        pieces = list(parts)

        async def run(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": content_type})
            await response.prepare(request)
            for number, piece in enumerate(pieces):
                if number == stall_after:
                    await self.gate.wait()
                await response.write(piece)
                if pause:
                    await asyncio.sleep(pause)
            if stall_after is not None and stall_after >= len(pieces):
                await self.gate.wait()
            if cut:
                assert request.transport is not None
                request.transport.close()
                return response
            await response.write_eof()
            return response

        return run

    def answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> Script:
        """One whole response: JSON, or the text or bytes given."""
        raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()

        async def run(request: web.Request) -> web.StreamResponse:
            return web.Response(
                status=status, body=raw, headers={"Content-Type": "application/json", **(headers or {})}
            )

        return run

    def hang(self) -> Script:
        """Send no response until ``gate`` opens."""

        async def run(request: web.Request) -> web.StreamResponse:
            await self.gate.wait()
            return web.Response(status=503)

        return run

    def one_after_the_other(self, *scripts: Script) -> Script:
        """One script for each request; the last one repeats."""
        left = list(scripts)

        async def run(request: web.Request) -> web.StreamResponse:
            return await (left.pop(0) if len(left) > 1 else left[0])(request)

        return run


def without_markers(body: Any) -> Any:
    """A body of Anthropic's format without its markers for the cache, and with single texts as strings, which
    means the same."""
    if isinstance(body, list):
        return [without_markers(each) for each in body]
    if not isinstance(body, dict):
        return body
    plain = {name: without_markers(value) for name, value in body.items() if name != "cache_control"}
    for name in ("system", "content"):
        match plain.get(name):
            case [{"type": "text", "text": text, **others}] if not others:
                plain[name] = text
    return plain

"""The load generator: an HTTP client that uses little CPU itself."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_LAST = b"0\r\n\r\n"
Watch = Callable[[bytes], None]


@dataclass
class Answer:
    status: int
    body: bytes
    reads: int

    def json(self) -> Any:
        return json.loads(self.body)


def message(method: str, path: str, token: str = "", body: Any = None) -> bytes:
    """A whole HTTP request."""
    data = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "User-Agent: bench", "Accept: */*"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
    return "\r\n".join([*lines, "", ""]).encode() + data


class Connection(asyncio.Protocol):
    """A connection that carries one request after the other; reconnects when the server closed it.

    ``watch`` sees the bytes of an answer as they come; they are not kept then.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._transport: asyncio.Transport | None = None
        self._done: asyncio.Future[Answer] | None = None
        self._watch: Watch | None = None

    async def ask(self, request: bytes, watch: Watch | None = None) -> Answer:
        """Send a request and return its response.

        Raises ConnectionError if the connection is cut.
        """
        loop = asyncio.get_running_loop()
        if self._transport is None or self._transport.is_closing():
            await loop.create_connection(lambda: self, "127.0.0.1", self._port)
        assert self._transport is not None
        self._head, self._body, self._reads, self._tail = b"", bytearray(), 0, b""
        self._left: int | None = None
        self._watch, self._done = watch, loop.create_future()
        self._transport.write(request)
        return await self._done

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._done is not None and not self._done.done():
            self._done.set_exception(ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        if not self._status_known():
            data = self._take_head(data)
            if not data and not (self._status_known() and self._left == 0):
                return
        self._reads += 1
        if self._watch is not None:
            self._watch(data)
        else:
            self._body += data
        if self._left is not None:
            self._left -= len(data)
            if self._left <= 0:
                self._finish()
        else:
            self._tail = (self._tail + data)[-5:] if len(data) < 5 else data[-5:]
            if self._tail == _LAST:
                self._finish()

    def _status_known(self) -> bool:
        return self._head.endswith(b"\r\n\r\n")

    def _take_head(self, data: bytes) -> bytes:
        whole = self._head + data
        head, found, rest = whole.partition(b"\r\n\r\n")
        self._head = head + found
        if not found:
            return b""
        length = _LENGTH.search(head)
        self._left = int(length[1]) if length else None
        return rest

    def _finish(self) -> None:
        assert self._done is not None
        if not self._done.done():
            self._done.set_result(Answer(int(self._head[9:12]), bytes(self._body), self._reads))


async def repeat(port: int, request: bytes, count: int, connections: int) -> None:
    """Send a request ``count`` times over some connections.

    Raises:
        RuntimeError: an answer was not 200.
    """

    async def one(connection: Connection, times: int) -> None:
        for _ in range(times):
            check(await connection.ask(request))

    await over(port, connections, lambda connection: one(connection, count // connections))


async def over(port: int, connections: int, work: Callable[[Connection], Awaitable[None]]) -> None:
    """Do some work concurrently over each of so many connections."""
    opened = [Connection(port) for _ in range(connections)]
    try:
        async with asyncio.TaskGroup() as group:
            for connection in opened:
                group.create_task(work(connection))  # type: ignore[arg-type]
    finally:
        for connection in opened:
            connection.close()


def check(answer: Answer) -> Answer:
    if answer.status != 200:
        raise RuntimeError(f"status {answer.status}: {answer.body[:300].decode(errors='replace')}")
    return answer


class Hub:
    """A running ChatHub with the scripted provider as one of its providers."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._models: set[str] = set()
        self.token = ""

    async def set_up(self, upstream: int) -> None:
        """Log in, and add the upstream as a provider that needs no API key (once for a database)."""
        self._admin = await self._sign_in("admin", "admin123")
        self.token = await self._sign_in("user", "user123")
        # one user stands for all: the budget is still checked, and must suffice for them
        await self.call("PUT", "/api/users/2", {"usage_limit": 10**15}, token=self._admin)
        provider = {
            "provider_key": "bench",
            "display_name": "Bench",
            "default_base_url": f"http://127.0.0.1:{upstream}/v1",
            "needs_key": False,
        }
        await self.call("POST", "/api/providers", provider, token=self._admin)

    async def _sign_in(self, name: str, password: str) -> str:
        answer = await self.call(
            "POST", "/api/auth/login", {"username": name, "password": password}, token=""
        )
        return answer.json()["token"]

    async def call(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> Answer:
        connection = Connection(self.port)
        try:
            token = self.token if token is None else token
            return check(await connection.ask(message(method, path, token, body)))
        finally:
            connection.close()

    async def offer(self, model: str, *, streams: bool = True, **more: Any) -> None:
        """Add a model whose name tells the upstream what to do (see ``upstream``)."""
        if model not in self._models:
            new = {"model_name": model, "display_name": model, "model_provider": "bench", **more}
            await self.call("POST", "/api/models", {**new, "supports_streaming": streams}, token=self._admin)
            self._models.add(model)

    def chat(self, model: str, *, stream: bool) -> bytes:
        """A message that begins a conversation."""
        path = "/api/chat/stream" if stream else "/api/chat"
        return message("POST", path, self.token, {"message": _QUESTION, "model": model})


_QUESTION = "Why is the sky blue? Please answer in one short sentence."


def forwarded(model: str, *, stream: bool) -> bytes:
    """The same request as ChatHub sends it to the provider, for the bare forwarder."""
    messages = [{"role": "user", "content": _QUESTION}]
    return message("POST", "/", body={"model": model, "messages": messages, "stream": stream})

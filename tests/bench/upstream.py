"""A provider that costs next to nothing: OpenAI's chat completions on a bare asyncio protocol.

Run as a process of its own. The model's name says what it does: ``bench-<chunks>-<pause>-<burst>`` streams
that many chunks of 290 bytes, ``burst`` of them in one TCP segment, ``pause`` milliseconds between the
segments (0: as fast as it can). Every text begins with the time it was written at (``@nanoseconds@``), so
that a client on the same machine can tell how long it was under way. A request that asks for no stream
gets the text of as many chunks in one JSON answer.
"""

import asyncio
import json
import random
import re
import time

from processes import announce, raise_file_limit

_MODEL = re.compile(rb'"model": ?"bench-(\d+)-(\d+)-(\d+)"')
_STREAM = re.compile(rb'"stream": ?true')
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_SIZE = 290
_HEAD = (
    b'data: {"id":"chatcmpl-0123456789","object":"chat.completion.chunk","created":1700000000,"model":"bench"'
)
_USAGE = b'"usage":{"prompt_tokens":9,"completion_tokens":8,"total_tokens":17}'


def _event(rest: bytes) -> bytes:
    return _HEAD + b"," + rest + b"}\n\n"


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _choice(delta: bytes, finish: bytes = b"null") -> bytes:
    return _event(
        b'"choices":[{"index":0,"delta":{%b},"logprobs":null,"finish_reason":%b}]' % (delta, finish)
    )


_BARE = len(_choice(b'"content":"@%020d@ "' % 0)) + len(',"system_fingerprint":""')
# the field that fills a chunk up to its size
_PADDING = b'"system_fingerprint":"%b"' % (b"f" * (_SIZE - _BARE))
_PREFIX, _SUFFIX = _choice(b'"content":"@%b@ "').replace(_HEAD, _HEAD + b"," + _PADDING).split(b"%b")
_END = (
    _framed(_choice(b"", b'"stop"'))
    + _framed(_event(b'"choices":[],' + _USAGE))
    + _framed(b"data: [DONE]\n\n")
    + b"0\r\n\r\n"
)
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def _stamp() -> bytes:
    return b"%020d" % time.monotonic_ns()


class Provider(asyncio.Protocol):
    """One connection; requests follow each other."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._timer: asyncio.Handle | None = None
        self._left = self._burst = 0
        self._pause = self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if found and length and len(body) >= int(length[1]):
            self._received = b""
            self._answer(body)

    def _answer(self, body: bytes) -> None:
        model = _MODEL.search(body)
        chunks, pause, burst = map(int, model.groups()) if model else (8, 0, 8)
        if not _STREAM.search(body):
            self._answer_whole(chunks)
            return
        self._left, self._burst, self._pause = chunks, burst, pause / 1000
        self._transport.write(_STREAM_HEAD)
        # many slow streams must not send at the same moment
        self._due = self._loop.time() + random.random() * self._pause
        self._timer = self._loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        if self._left <= 0:
            self._transport.write(_END)
            return
        count = min(self._burst, self._left)
        self._left -= count
        self._transport.write(b"".join([_framed(_PREFIX + _stamp() + _SUFFIX) for _ in range(count)]))
        self._due += self._pause
        self._timer = (
            self._loop.call_at(self._due, self._tick) if self._pause else self._loop.call_soon(self._tick)
        )

    def _answer_whole(self, chunks: int) -> None:
        text = f"@{_stamp().decode()}@ " * chunks
        message = {"role": "assistant", "content": text}
        answer = {
            "id": "chatcmpl-0123456789",
            "object": "chat.completion",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        }
        body = json.dumps(answer).encode()[:-1] + b", " + _USAGE + b"}"
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        self._transport.write(head + body)


async def main() -> None:
    raise_file_limit()
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", 0, backlog=2048)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())

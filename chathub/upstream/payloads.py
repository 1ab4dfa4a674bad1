"""The bodies of requests to providers, which say when they are sent."""

import asyncio
from collections.abc import Callable

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from chathub.formats.forms.encode import Extent, FormBody

# bytes of a large body, and of one write of it
_LARGE_BODY, _PIECE = 512 * 1024, 65_536
# is called when a request is sent
WhenSent = Callable[[], None]


class BytesBody(aiohttp.Payload):
    """A body in memory. A large one goes in pieces, so that it does not delay the event loop."""

    _value: bytes
    _autoclose = True

    def __init__(self, body: bytes, when_sent: WhenSent) -> None:
        super().__init__(body, content_type="application/json")
        self._size = len(body)
        self._when_sent = when_sent

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._value.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        self._when_sent()
        size = len(self._value)
        if size <= _LARGE_BODY:
            await writer.write(self._value)
            return
        for start in range(0, size, _PIECE):
            await writer.write(self._value[start : start + _PIECE])
            await asyncio.sleep(0)


class FilledForm(aiohttp.Payload):
    """A form: its files are read while they are sent, and are never in memory."""

    _value: FormBody
    _autoclose = True

    def __init__(self, form: FormBody, when_sent: WhenSent) -> None:
        super().__init__(form, content_type=form.content_type)
        self._size = form.size
        self._when_sent = when_sent

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._value.texts.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        self._when_sent()
        for piece in self._value.pieces:
            if isinstance(piece, bytes):
                await writer.write(piece)
            else:
                await self._write_kept(writer, piece)

    async def _write_kept(self, writer: AbstractStreamWriter, extent: Extent) -> None:
        start, end = extent.start, extent.start + extent.size
        while start < end:
            data = await self._value.read(start, min(_PIECE, end - start))
            if not data:
                # the request has ended, and its files with it
                raise ConnectionResetError
            await writer.write(data)
            start += len(data)

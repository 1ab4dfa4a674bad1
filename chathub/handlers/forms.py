"""Reads a request that is a form: its files go to the disk as they arrive, only short texts are in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from chathub.app_keys import BODY, CALLER, CONFIG, REQUEST_MEMORY, UPLOADS
from chathub.errors import BadRequest, TooLarge
from chathub.formats.forms.decode import FormDecoder, Part, boundary_in
from chathub.formats.forms.encode import Extent
from chathub.formats.forms.form import LONGEST_TEXT, LONGEST_TEXTS, Field, Form
from chathub.limits.uploads import PIECE, Upload

# a form may take longer than other bodies, but no longer than with so many bytes per second
_LEAST_RATE = 65_536
# bytes of memory that a part takes besides its names and its text
_PER_PART = 1024


@asynccontextmanager
async def read_form(request: web.Request) -> AsyncIterator[Form]:
    """The form in the request's body. Its files are there during the context.

    Raises:
        NotForm: its content type is that of something else.
        BadRequest: it is no whole form, or did not arrive in time.
        TooLarge: it is longer than ``CHATHUB_UPLOAD_BYTES``, or its texts are longer than texts may be.
        TooManyUploads, UploadsFull, BodiesFull, TooManyBodies, DiskLow, Unavailable: there is no room for it.
    """
    decoder = FormDecoder(boundary_in(request.headers.get("Content-Type", "")))
    upload = request.app[UPLOADS].begin(request[CALLER].id)
    try:
        collector = _Collector(upload, request)
        try:
            await _receive(request, decoder, collector)
        except TimeoutError:
            raise BadRequest("body_timeout") from None
        except web.RequestPayloadError:
            raise BadRequest("body_incomplete") from None
        if not decoder.is_whole:
            raise BadRequest("form_incomplete")
        await upload.flush()
        yield Form(collector.fields, upload.read)
    finally:
        upload.close()


async def _receive(request: web.Request, decoder: FormDecoder, collector: "_Collector") -> None:
    limit, received = request.app[UPLOADS].largest, 0
    if (request.content_length or 0) > limit:
        raise TooLarge("body_too_large", most=limit)
    async with asyncio.timeout(request.app[CONFIG].body_seconds) as deadline:
        until = deadline.when() or 0
        while not request.content.at_eof():
            data = await request.content.readany()
            received += len(data)
            if received > limit:
                raise TooLarge("body_too_large", most=limit)
            deadline.reschedule(until + received / _LEAST_RATE)
            for piece in decoder.feed(data):
                await collector.take(piece)


class _Collector:
    """Keeps the pieces of a form: all of them on the disk, short texts also in memory."""

    def __init__(self, upload: Upload, request: web.Request) -> None:
        self._upload = upload
        self._memory = request[BODY] = request.app[REQUEST_MEMORY].of(request[CALLER].id)
        self._texts = 0
        self.fields: list[Field] = []

    async def take(self, piece: Part | bytes) -> None:
        if isinstance(piece, Part):
            text = b"" if piece.filename is None else None
            self._memory.grow(_PER_PART + sum(len(word or "") for word in piece))
            self.fields.append(Field(piece, Extent(self._upload.size, 0), text))
            return
        part, extent, text = self.fields[-1]
        extent = Extent(extent.start, extent.size + len(piece))
        self.fields[-1] = Field(part, extent, self._longer(text, piece))
        # what waits to be written is in memory, too
        if self._upload.size < PIECE:
            self._memory.grow(len(piece))
        await self._upload.write(piece)

    def _longer(self, text: bytes | None, piece: bytes) -> bytes | None:
        """A text with some more bytes; None once it is not short any more."""
        if text is None or len(text) + len(piece) > LONGEST_TEXT:
            self._texts -= len(text or b"")
            return None
        self._texts += len(piece)
        if self._texts > LONGEST_TEXTS:
            raise TooLarge("form_texts_too_large", most=LONGEST_TEXTS)
        self._memory.grow(len(piece))
        return text + piece

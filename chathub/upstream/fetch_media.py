"""Fetches images and documents by their address, where the provider does not fetch them itself.

The address comes from a client, so it goes over the session for users' URLs, whose connections the guard
checks. Redirects are followed a few times, each as an address of its own.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urljoin

import aiohttp
from msgspec.structs import replace

from chathub.formats.media import IMAGES, media_type_of, type_of
from chathub.formats.messages import ChatRequest, File, Image, Message, Part, content_of
from chathub.formats.urls import origin
from chathub.sentences import Param
from chathub.upstream.network_failures import TROUBLE

# bytes of one image or document, and of all of a request
MOST_BYTES = 10 * 1024 * 1024
MOST_BYTES_TOGETHER = 20 * 1024 * 1024
# of all requests at once
MOST_BYTES_HELD = 64 * 1024 * 1024
# images and documents that are fetched for one request, and how often each may redirect
_MOST = 20
_REDIRECTS = 3
# seconds for all of a request
_SECONDS = 30.0
# characters of an address in a sentence
_SHOWN = 200
# the code if other requests hold too much just now
BUSY = "addresses_busy"
_MOVED = (301, 302, 303, 307, 308)
_HEADERS = {"Accept": "image/*, application/pdf, text/*", "Accept-Encoding": "identity"}
# what a server may say of a document without that its bytes show it
_TEXTS = ("text/plain", "text/html", "text/markdown", "text/csv", "application/json")


class FetchFailed(Exception):
    """What an address leads to cannot be fetched; ``code`` and ``params`` are those of the sentence."""

    def __init__(self, code: str, **params: Param) -> None:
        super().__init__(code)
        self.code = code
        self.params = params


class MediaFetcher:
    """Fetches for all requests; what they hold together is bounded."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._held = 0

    @contextmanager
    def lease(self) -> Iterator["Fetched"]:
        """What one request fetches; it is held until the end of the block."""
        fetched = Fetched(self._session, self._grow)
        try:
            yield fetched
        finally:
            self._held -= fetched.size

    def _grow(self, size: int) -> None:
        if self._held + size > MOST_BYTES_HELD:
            raise FetchFailed(BUSY)
        self._held += size


class Fetched:
    """The images and documents that one request has fetched, by their addresses; ``size`` are their bytes."""

    def __init__(self, session: aiohttp.ClientSession, grow: Callable[[int], None]) -> None:
        self._session = session
        self._grow = grow
        self._found: dict[str, tuple[str, bytes]] = {}
        self.size = 0

    async def fill(
        self, chat_request: ChatRequest, is_handed_on: Callable[[Image | File], bool]
    ) -> ChatRequest:
        """The request with the bytes of all images and documents whose address is not handed on.

        Raises:
            FetchFailed: one of them cannot be fetched, or they are too large.
        """
        addresses = {
            part.url
            for message in chat_request.messages
            for part in message.parts
            if isinstance(part, Image | File) and part.url and not is_handed_on(part)
        }
        if not addresses:
            return chat_request
        if len(addresses) > _MOST:
            raise FetchFailed("too_many_addresses", most=_MOST)
        try:
            async with asyncio.timeout(_SECONDS):
                for address in sorted(addresses - self._found.keys()):
                    self._found[address] = await self._fetch(address)
        except TimeoutError:
            raise FetchFailed("addresses_too_slow") from None
        messages = [_filled(message, self._found) for message in chat_request.messages]
        return replace(chat_request, messages=messages)

    async def _fetch(self, address: str) -> tuple[str, bytes]:
        """The media type and the bytes at an address."""
        url = address
        for _ in range(_REDIRECTS + 1):
            try:
                origin(url)  # refuses what is no plain http(s) address
                async with self._session.get(url, allow_redirects=False, headers=_HEADERS) as response:
                    if response.status in _MOVED:
                        url = urljoin(url, response.headers.get("Location", ""))
                        continue
                    if response.status != 200:
                        raise FetchFailed("address_unfetched", address=address[:_SHOWN])
                    content = await self._read(response, address)
                    return _type_of(response, content), content
            except TROUBLE:
                raise FetchFailed("address_unfetched", address=address[:_SHOWN]) from None
        raise FetchFailed("address_unfetched", address=address[:_SHOWN])

    async def _read(self, response: aiohttp.ClientResponse, address: str) -> bytes:
        most = min(MOST_BYTES, MOST_BYTES_TOGETHER - self.size)
        content = bytearray()
        async for piece in response.content.iter_any():
            self._grow(len(piece))
            self.size += len(piece)
            content += piece
            if len(content) > most:
                raise FetchFailed("address_too_large", address=address[:_SHOWN], most=most)
        return bytes(content)


def _filled(message: Message, fetched: Mapping[str, tuple[str, bytes]]) -> Message:
    if isinstance(message.content, str):
        return message
    parts: list[Part] = []
    for part in message.content:
        if isinstance(part, Image | File) and part.url in fetched:
            media_type, content = fetched[part.url]
            if isinstance(part, Image) and media_type not in IMAGES:
                raise FetchFailed("address_no_image", address=part.url[:_SHOWN])
            part = replace(part, media_type=media_type, data=content, url="")
        parts.append(part)
    return replace(message, content=content_of(parts))


def _type_of(response: aiohttp.ClientResponse, content: bytes) -> str:
    """The media type by the bytes; that of a text as the server says it."""
    said = media_type_of(response.headers.get("Content-Type", ""))
    return type_of(content) or (said if said in _TEXTS else "application/octet-stream")

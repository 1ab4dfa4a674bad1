"""Images in requests: data URLs, base64 and https addresses into ``Image``, within limits."""

import re
from typing import Literal

from msgspec import Struct

from chathub.formats.messages import Image
from chathub.formats.urls import origin
from chathub.schemas import base64
from chathub.sentences import Reason

# media type → how such a file begins
_BEGINNINGS = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": (b"RIFF",),
}
MEDIA_TYPES = tuple(_BEGINNINGS)

_ADDRESS = re.compile(r"https://[^/?#\s]+\S*", re.IGNORECASE)
_PLAIN_HEAD = re.compile(r"image/(png|jpeg|gif|webp);base64,", re.IGNORECASE)


class ImageLimits(Struct, frozen=True):
    """How many images a request may hold, and how large: bytes of one and of all, characters of an address.

    ``strict``, for images that are stored and shown in browsers: no parameters in a data URL, a valid host in
    an address, and content that begins as its media type says.
    """

    count: int
    size: int
    total: int
    address: int
    strict: bool = False


Problem = Literal[
    "count", "address", "host", "data_url", "media_type", "size", "encoding", "content", "total"
]


class ImageError(ValueError):
    """An image that cannot be accepted; ``image_reason`` says what to tell the client."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


class ImageDecoder:
    """Decodes the images of one request and counts them. Each method raises ``ImageError``."""

    def __init__(self, limits: ImageLimits) -> None:
        self._limits = limits
        self._count = 0
        self._total = 0

    def decode_url(self, url: str) -> Image:
        """From a data URL with base64, or an https address, which is passed on and not fetched."""
        if url[:5].lower() == "data:":
            return self._decode_data_url(url[5:])
        self._add()
        self._check_address(url)
        return Image(url=url)

    def decode_base64(self, media_type: str, data: str) -> Image:
        self._add()
        kind = media_type.strip().lower().replace("image/jpg", "image/jpeg")
        if kind not in MEDIA_TYPES:
            raise ImageError("media_type")
        if len(data) > self._limits.size // 3 * 4 + 4:
            raise ImageError("size")
        try:
            content = base64.decode(data)
        except ValueError:
            raise ImageError("encoding") from None
        if self._limits.strict and not _begins_as(kind, content):
            raise ImageError("content")
        if not content:
            raise ImageError("encoding")
        self._total += len(content)
        if self._total > self._limits.total:
            raise ImageError("total")
        return Image(kind, content)

    def _decode_data_url(self, url: str) -> Image:
        head, _, data = url.partition(",")
        media_type, *options = head.split(";")
        if not options or options[-1].strip().lower() != "base64":
            raise ImageError("data_url")
        if self._limits.strict and not _PLAIN_HEAD.match(url):
            raise ImageError("data_url")
        return self.decode_base64(media_type, data)

    def _check_address(self, url: str) -> None:
        if len(url) > self._limits.address:
            raise ImageError("address")
        if not self._limits.strict:
            if not (_ADDRESS.fullmatch(url) and url.isprintable()):
                raise ImageError("address")
            return
        if not url.startswith("https://"):
            raise ImageError("address")
        try:
            origin(url)
        except ValueError:
            raise ImageError("host") from None

    def _add(self) -> None:
        self._count += 1
        if self._count > self._limits.count:
            raise ImageError("count")


def image_reason(problem: Problem, limits: ImageLimits, field: str) -> Reason:
    """What the client reads about an image in a field."""
    match problem:
        case "count":
            return Reason("too_many_images", {"most": limits.count})
        case "size":
            return Reason("image_too_large", {"field": field, "most": limits.size})
        case "total":
            return Reason("images_too_large", {"most": limits.total})
        case "host":
            return Reason("image_address_invalid", {"field": field})
        case "encoding":
            return Reason("image_undecodable", {"field": field})
        case "content":
            return Reason("image_type_mismatch")
        case _:
            return Reason("image_not_accepted", {"field": field})


def _begins_as(media_type: str, content: bytes) -> bool:
    is_webp = media_type == "image/webp"
    return content.startswith(_BEGINNINGS[media_type]) and (not is_webp or content[8:12] == b"WEBP")

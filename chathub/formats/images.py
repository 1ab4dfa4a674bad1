"""Images in requests: data URLs, base64 and https addresses into ``Image``, within limits."""

import re
from typing import Literal

from msgspec import Struct

from chathub.formats.media import IMAGES, decode_base64, media_type_of, type_of, type_of_base64
from chathub.formats.messages import Image
from chathub.formats.urls import origin
from chathub.schemas import base64
from chathub.sentences import Reason

_ADDRESS = re.compile(r"https?://[^/?#\s]+\S*", re.IGNORECASE)
_PLAIN_HEAD = re.compile(r"image/(png|jpeg|gif|webp);base64,", re.IGNORECASE)


# characters that are decoded to see how a file begins
_HEAD = 64


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
        """From a data URL with base64, or an address: an https one if ``strict``."""
        if url[:5].lower() == "data:":
            return self._decode_data_url(url[5:])
        self._add()
        self._check_address(url)
        return Image(url=url)

    def decode_base64(self, media_type: str, data: str) -> Image:
        """An image under the type that its bytes have: providers refuse it under another one."""
        kind = media_type_of(media_type)
        actual = type_of_base64(data[:_HEAD])
        if not self._limits.strict and actual in IMAGES:
            kind = actual
        if kind not in IMAGES:
            self._add()
            raise ImageError("media_type")
        content = self.decode_content(data, self._limits.size)
        if self._limits.strict and type_of(content) != kind:
            raise ImageError("content")
        return Image(kind, content)

    def decode_content(self, data: str, most: int) -> bytes:
        """The bytes of a file in base64, of at most ``most`` bytes; only if ``strict`` they must be in its
        standard form."""
        self._add()
        if len(data) > most // 3 * 4 + 4 + (0 if self._limits.strict else most // 16):
            raise ImageError("size")
        try:
            content = base64.decode(data) if self._limits.strict else decode_base64(data)
        except ValueError:
            raise ImageError("encoding") from None
        if not content:
            raise ImageError("encoding")
        if len(content) > most:
            raise ImageError("size")
        self._total += len(content)
        if self._total > self._limits.total:
            raise ImageError("total")
        return content

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

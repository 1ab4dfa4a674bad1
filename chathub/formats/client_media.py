"""The images, documents and recordings of one client request, decoded within limits."""

from chathub.errors import BadRequest
from chathub.formats.images import ImageDecoder, ImageError, ImageLimits, image_reason
from chathub.formats.media import media_type_of, type_of_base64
from chathub.formats.messages import Audio, File, Image

IMAGE_LIMITS = ImageLimits(count=20, size=10 * 1024 * 1024, total=32 * 1024 * 1024, address=8192)


class ClientMedia:
    """Decodes the media of one request; ``param`` is the field in which one stands.

    Raises:
        BadRequest: what cannot be accepted, or one too many.
    """

    def __init__(self) -> None:
        self._decoder = ImageDecoder(IMAGE_LIMITS)

    def from_url(self, url: str, param: str) -> Image | File:
        """From a data URL, or an address, which is passed on or fetched later. Some clients put documents in
        place of images."""
        if url[:5].lower() == "data:" and _kind_of(url) == "application/pdf":
            return self.file_from_url(url, "", param)
        try:
            return self._decoder.decode_url(url)
        except ImageError as error:
            raise _refused(error, param) from None

    def from_base64(self, media_type: str, data: str, param: str) -> Image:
        try:
            return self._decoder.decode_base64(media_type, data)
        except ImageError as error:
            raise _refused(error, param) from None

    def file_from_url(self, url: str, name: str, param: str) -> File:
        """A document from a data URL, from an address, or from base64 alone."""
        if url[:5].lower() == "data:":
            head, _, data = url[5:].partition(",")
            return self.file(head, data, name, param)
        if url[:4].lower() == "http":
            try:
                return File(url=self._decoder.decode_url(url).url, name=name)
            except ImageError as error:
                raise _refused(error, param) from None
        return self.file(type_of_base64(url) or "application/octet-stream", url, name, param)

    def file(self, media_type: str, data: str, name: str, param: str) -> File:
        try:
            content = self._decoder.decode_content(data, IMAGE_LIMITS.total)
        except ImageError as error:
            raise _refused(error, param) from None
        return File(media_type_of(media_type), content, name=name)

    def audio(self, media_type: str, data: str, param: str) -> Audio:
        return Audio(media_type, self.file(media_type, data, "", param).data)


def _refused(error: ImageError, param: str) -> BadRequest:
    return BadRequest.of(image_reason(error.problem, IMAGE_LIMITS, param), details={"param": param})


def _kind_of(url: str) -> str:
    return media_type_of(url[5:].partition(",")[0])

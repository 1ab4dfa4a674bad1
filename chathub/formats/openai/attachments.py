"""Attachments in OpenAI's format: decoded from a message or a delta, encoded for clients.

Images are in ``images`` (OpenRouter and those that follow it) or in parts of ``content``; a recording is in
``audio``, in a stream in pieces. Sources: OpenAI's API reference ("Audio"), OpenRouter's documentation
("Image Generation").
"""

from collections.abc import Iterable, Iterator
from typing import Any

from chathub.formats import attachments
from chathub.formats.attachments import Base64Pieces
from chathub.formats.events import Attachment, Event
from chathub.formats.loose_json import as_object, as_string
from chathub.schemas import base64
from chathub.schemas.json import JsonObject

# bytes and pieces of a recording that are kept
_MOST_BYTES, _MOST_PIECES = 32 * 1024 * 1024, 100_000


def _images_in(delta: JsonObject) -> Iterator[Attachment]:
    images = delta.get("images")
    for image in images if isinstance(images, list) else []:
        if isinstance(image, str) and image:
            yield attachments.from_url(image, "image/*")
        else:
            yield attachments.in_part(image) or Attachment("")


def split(delta: JsonObject) -> Iterator[JsonObject | Attachment]:
    """A message or a delta, cut where it has attachments: in its ``content``, and at its end the images."""
    content = delta.get("content")
    if isinstance(content, list) and any(map(attachments.is_media, content)):
        yield from _cut(delta, content)
    else:
        yield delta
    yield from _images_in(delta)


def _cut(delta: JsonObject, content: list[object]) -> Iterator[JsonObject | Attachment]:
    others, run = {**delta}, list[object]()
    for part in content:
        if attachments.is_media(part):
            yield {**others, "content": run}
            others, run = {}, []
            yield attachments.in_part(part) or Attachment("")
        else:
            run.append(part)
    yield {**others, "content": run}


class Recording:
    """The recording of a response, from the pieces in ``audio``."""

    def __init__(self) -> None:
        self._pieces = Base64Pieces()
        self._transcript: list[str] = []
        self._media_type = ""
        self._count = 0

    def take(self, delta: JsonObject) -> bool:
        """Add what a message or a delta has; whether there was anything."""
        audio = as_object(delta.get("audio"))
        data, said = as_string(audio.get("data")), as_string(audio.get("transcript"))
        if self._pieces.size > _MOST_BYTES or self._count > _MOST_PIECES or not (data or said):
            return bool(data or said)
        self._count += 1
        if data:
            self._pieces.add(data)
        if said:
            self._transcript.append(said)
        if form := as_string(audio.get("format")):
            self._media_type = f"audio/{form}"
        return True

    def close(self) -> Iterator[Attachment]:
        """The recording, if there is one; what shows no type of its own is raw sound."""
        if not self._count:
            return
        pieces, self._pieces, self._count = self._pieces, Base64Pieces(), 0
        said = attachments.transcript_of("".join(self._transcript))
        media_type = self._media_type or "audio/pcm"
        yield attachments.from_bytes(pieces.close(), media_type, transcript=said)


# --- for clients


def encoded(attachment: Attachment, index: int, id: str) -> tuple[str, Any] | None:
    """The field of a message or a delta for an attachment, and its value: an image in ``images``, as
    OpenRouter sends it, or the recording in ``audio``. None: the format has no place for it."""
    kind = attachment.media_type.partition("/")[0]
    if kind == "image" and (attachment.data or attachment.url):
        url = attachment.url or f"data:{attachment.media_type};base64,{base64.encode(attachment.data)}"
        return "images", [{"type": "image_url", "image_url": {"url": url}, "index": index}]
    if kind == "audio" and attachment.data:
        recording = {"id": f"audio_{id.removeprefix('chatcmpl-')}", "data": base64.encode(attachment.data)}
        return "audio", recording | {"expires_at": 0, "transcript": attachment.transcript}
    return None


def with_attachments(events: Iterable[Event], id: str) -> tuple[list[Event], JsonObject]:
    """The events of a whole reply, and the fields of its message that have its attachments. What no field can
    have is a sentence in the text."""
    fields: JsonObject = {}

    def keeps(attachment: Attachment) -> bool:
        field = encoded(attachment, len(fields.get("images", ())), id)
        if field is None or (field[0] == "audio" and "audio" in fields):
            return False
        name, value = field
        fields[name] = [*fields[name], *value] if name in fields else value
        return True

    return attachments.worded(events, keeps), fields

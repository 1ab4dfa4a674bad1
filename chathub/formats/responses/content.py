"""Decodes the content of an input item of Responses into parts, in their order."""

import contextlib
from typing import Any

import msgspec
from msgspec import Raw, Struct

from chathub.errors import BadRequest
from chathub.formats.cache_points import points_in
from chathub.formats.client_media import ClientMedia
from chathub.formats.client_request import PARTS_OF_ONE, Parts, decode, refuse
from chathub.formats.loose_json import as_object
from chathub.formats.media import AUDIO_FORMATS, IMAGES
from chathub.formats.messages import CachePoint, NativeBlock, Part, TextPart
from chathub.formats.openai.repair_parts import data_url
from chathub.formats.raw_json import first_of, items, look
from chathub.formats.stand_ins import unknown_block
from chathub.schemas.json import JsonObject

FIELD = "input"
_TEXTS = frozenset({"input_text", "output_text", "text", "summary_text", "reasoning_text"})
_IMAGES = frozenset({"input_image", "computer_screenshot"})


class _Part(Struct, frozen=True):
    """A part of any kind."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    file_id: str | None = None
    filename: str | None = None
    input_audio: "_Recording | None" = None


class _Recording(Struct, frozen=True):
    data: str
    format: str = "wav"


class _Kind(Struct, frozen=True):
    """The type of a part, and whether the prompt may be cached up to its end: in OpenAI's word, or in that of
    Anthropic and relays."""

    type: str = ""
    prompt_cache_breakpoint: Any = None
    cache_control: Any = None

    @property
    def points(self) -> list[CachePoint]:
        is_marked = as_object(self.prompt_cache_breakpoint).get("mode") == "explicit"
        return points_in(self.cache_control) or ([CachePoint("5m")] if is_marked else [])


_kind = msgspec.json.Decoder(_Kind)
_decode_part = msgspec.json.Decoder(_Part).decode
_decode_object = msgspec.json.Decoder(JsonObject).decode
_decode_text = msgspec.json.Decoder(str).decode
_KNOWN = _TEXTS | _IMAGES | {"refusal", "input_file", "input_audio"}


class Content:
    """Decodes the content of one request's items, within limits.

    Raises:
        BadRequest: a part that is not valid; one of an unknown kind is kept as a ``NativeBlock``.
    """

    def __init__(self) -> None:
        self._media = ClientMedia()
        self.counted = Parts(FIELD)

    def parts_of(self, content: Raw, place: str) -> list[Part]:
        """The parts of a field: a text, a list of parts, or nothing."""
        if first_of(content) in (b"", b"n"):
            return []
        if first_of(content) != b"[":
            text = decode(_decode_text, content, place)
            return [TextPart(text)] if text else []
        raws = items(content, PARTS_OF_ONE)
        if raws is None:
            refuse(place, "list_too_long", most=PARTS_OF_ONE)
        self.counted.add(raws)
        parts: list[Part] = []
        for number, raw in enumerate(raws):
            kind = decode(_kind.decode, raw, f"{place}[{number}]")
            part = self._part(kind.type, raw, f"{place}[{number}]")
            parts += [*([part] if part != TextPart("") else []), *kind.points]
        return parts

    def result_of(self, output: Raw, place: str) -> list[Part]:
        """The parts of a call's result, which may be any JSON: what is neither a text nor a list of parts
        nor a screenshot is its own text."""
        if first_of(output) == b"{" and _kind_of(output) in _IMAGES:
            return [self._part(_kind_of(output), output, place)]
        if first_of(output) == b"[":
            listed = items(output, PARTS_OF_ONE)
            is_text = not all(map(_kind_of, listed or []))
        else:
            is_text = first_of(output) not in (b'"', b"", b"n")
        if is_text:
            return [TextPart(bytes(output).decode("utf-8", "replace"))]
        return self.parts_of(output, place)

    def image_of(self, base64: str) -> list[Part]:
        """An image that a model has made, in a list that is empty if it is not accepted."""
        with contextlib.suppress(BadRequest):
            return [self._media.from_url(data_url(f"data:image/png;base64,{base64}"), FIELD)]
        return []

    def _part(self, kind: str, raw: Raw, place: str) -> Part:
        if kind not in _KNOWN:
            self.counted.add_values(raw)
            return NativeBlock("responses", decode(_decode_object, raw, place), unknown_block(kind))
        part = decode(_decode_part, raw, place)
        if kind in _TEXTS:
            return TextPart(_given(part.text, f"{place}.text"))
        if kind == "refusal":
            return TextPart(_given(part.refusal, f"{place}.refusal"))
        if kind == "input_audio":
            sound: Any = _given(part.input_audio, f"{place}.input_audio")
            media_type = AUDIO_FORMATS.get(sound.format, f"audio/{sound.format}")
            return self._media.audio(media_type, sound.data, f"{place}.input_audio")
        if part.file_id:
            refuse(f"{place}.file_id", "stored_file_unsupported")
        if kind in _IMAGES:
            url = _given(part.image_url, f"{place}.image_url")
            return self._media.from_url(data_url(url), f"{place}.image_url")
        return self._file(part, place)

    def _file(self, part: _Part, place: str) -> Part:
        name = part.filename or ""
        if part.file_data:
            url = data_url(part.file_data)
            # an image in it is no document
            if url.startswith(tuple(f"data:{kind};" for kind in IMAGES)):
                return self._media.from_url(url, f"{place}.file_data")
            return self._media.file_from_url(url, name, f"{place}.file_data")
        url = _given(part.file_url, f"{place}.file_data")
        return self._media.file_from_url(url, name, f"{place}.file_url")


def _given(value: Any, place: str) -> Any:
    if value is None:
        refuse(place, "field_required")
    return value


def _kind_of(raw: Raw) -> str:
    """The type of a part; empty for what is none."""
    found = look(raw, _kind)
    return found.type if found else ""

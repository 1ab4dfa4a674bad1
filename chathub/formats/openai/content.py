"""Decodes the content of a message in OpenAI's format into parts, in their order."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from chathub.formats.cache_points import points_in
from chathub.formats.client_media import ClientMedia
from chathub.formats.client_request import Parts, decode, refuse
from chathub.formats.media import AUDIO_FORMATS
from chathub.formats.messages import NativeBlock, Part, TextPart, content_of
from chathub.formats.stand_ins import unknown_block
from chathub.schemas.json import JsonObject


class _Kind(Struct, frozen=True):
    type: str
    cache_control: Any = None


class _Text(Struct, tag="text", frozen=True):
    text: str


class _Refusal(Struct, tag="refusal", frozen=True):
    refusal: str


class _Url(Struct, frozen=True):
    url: str


class _Image(Struct, tag="image_url", frozen=True):
    image_url: _Url | str  # several clients send the bare string


class _Recording(Struct, frozen=True):
    data: str
    format: str = "wav"


class _Audio(Struct, tag="input_audio", frozen=True):
    input_audio: _Recording


class _Document(Struct, frozen=True):
    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class _File(Struct, tag="file", frozen=True):
    file: _Document


_decode_kind = msgspec.json.Decoder(_Kind).decode
_decode_part = msgspec.json.Decoder(_Text | _Refusal | _Image | _Audio | _File).decode
_decode_object = msgspec.json.Decoder(JsonObject).decode
_KNOWN = frozenset({"text", "refusal", "image_url", "input_audio", "file"})


def parts_of(
    content: str | list[Raw], place: str, media: ClientMedia, counted: Parts
) -> str | Sequence[Part]:
    """The content of a message.

    Raises:
        BadRequest: a part that is not valid; one of an unknown kind is kept as a ``NativeBlock``.
    """
    if isinstance(content, str):
        return content
    counted.add(content)
    parts: list[Part] = []
    for number, raw in enumerate(content):
        at = f"{place}.content[{number}]"
        kind = decode(_decode_kind, raw, at)
        if (part := _part(kind.type, raw, at, media, counted)) is not None:
            parts.append(part)
        parts += points_in(kind.cache_control)
    return content_of(parts)


def _part(kind: str, raw: Raw, place: str, media: ClientMedia, counted: Parts) -> Part | None:
    if kind not in _KNOWN:
        counted.add_values(raw)
        block = decode(_decode_object, raw, place)
        # reasoning in parts is Mistral's
        return NativeBlock("openai", block, "" if kind == "thinking" else unknown_block(kind))
    part: Any = decode(_decode_part, raw, place)
    match part:
        case _Text(text) | _Refusal(text):
            return TextPart(text)
        case _Image(image):
            return media.from_url(image if isinstance(image, str) else image.url, f"{place}.image_url")
        case _Audio(_Recording(data, name)):
            return media.audio(AUDIO_FORMATS.get(name, f"audio/{name}"), data, f"{place}.input_audio")
        case _File(file):
            return _file(file, raw, place, media)
    return None


def _file(file: _Document, raw: Raw, place: str, media: ClientMedia) -> Part:
    if file.file_data:
        return media.file_from_url(file.file_data, file.filename or "", f"{place}.file.file_data")
    if not file.file_id:
        refuse(f"{place}.file.file_data", "field_required")
    name = f" {file.filename}" if file.filename else ""
    return NativeBlock("openai", decode(_decode_object, raw, place), unknown_block(f"stored file{name}"))

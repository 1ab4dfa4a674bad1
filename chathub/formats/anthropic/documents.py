"""Decodes images, documents and blocks of other kinds in Anthropic's format into parts.

Source: Anthropic's API reference ("Vision", "PDF support", "Search results", "Web search tool").
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from chathub.formats.client_media import ClientMedia
from chathub.formats.client_request import PARTS_OF_ONE, Parts, decode, refuse
from chathub.formats.loose_json import as_object, as_string
from chathub.formats.messages import File, Image, NativeBlock, Part, TextPart
from chathub.formats.stand_ins import unknown_block
from chathub.schemas.bounds import has_more
from chathub.schemas.json import JsonObject

# search results that are named in the stand-in of a search
_SHOWN = 50


class _Base64(Struct, tag="base64", frozen=True):
    media_type: str
    data: str


class _Url(Struct, tag="url", frozen=True):
    url: str


class _PlainText(Struct, tag="text", frozen=True):
    data: str
    media_type: str = "text/plain"


class _Content(Struct, tag="content", frozen=True):
    content: Raw


class _Stored(Struct, tag="file", frozen=True):
    """A file that the client has uploaded to Anthropic."""

    file_id: str


class ImageBlock(Struct, tag="image", frozen=True):
    source: _Base64 | _Url | _Stored
    cache_control: Any = None


class DocumentBlock(Struct, tag="document", frozen=True):
    source: _Base64 | _Url | _PlainText | _Content | _Stored
    title: str | None = None
    cache_control: Any = None


class TextBlock(Struct, tag="text", frozen=True):
    text: str
    cache_control: Any = None


_decode_object = msgspec.json.Decoder(JsonObject).decode
_decode_inner = msgspec.json.Decoder(str | list[TextBlock | ImageBlock]).decode


class BlockDecoder:
    """Decodes the media and the unknown blocks of one request, within limits.

    Raises:
        BadRequest: a block that is not valid, or more than a request may have.
    """

    def __init__(self) -> None:
        self._media = ClientMedia()
        self.parts = Parts()

    def image(self, block: ImageBlock, raw: Raw, place: str) -> Part:
        match block.source:
            case _Base64(media_type, data):
                return self._media.from_base64(media_type, data, f"{place}.source")
            case _Url(url):
                found = self._media.from_url(url, f"{place}.source")
                return found if isinstance(found, File) else Image(url=found.url)
            case _Stored(file_id):
                return self.native(raw, place, unknown_block(f"stored image {file_id}"))

    def document(self, block: DocumentBlock, raw: Raw, place: str) -> Sequence[Part]:
        name, param = block.title or "", f"{place}.source"
        match block.source:
            case _Base64(media_type, data):
                return [self._media.file(media_type, data, name, param)]
            case _Url(url):
                return [self._media.file_from_url(url, name, param)]
            case _PlainText(text, media_type):
                return [File(media_type, text.encode("utf-8", "replace"), name=name)]
            case _Content(content):
                return self._inner(content, name, f"{param}.content")
            case _Stored(file_id):
                return [self.native(raw, place, unknown_block(f"stored file {name or file_id}"))]

    def _inner(self, content: Raw, name: str, place: str) -> Sequence[Part]:
        if has_more(content, PARTS_OF_ONE):
            refuse(place, "list_too_long", most=PARTS_OF_ONE)
        blocks: Any = decode(_decode_inner, content, place)
        self.parts.add(blocks)
        if isinstance(blocks, str):
            return [File("text/plain", blocks.encode("utf-8", "replace"), name=name)]
        title: list[Part] = [TextPart(f"[{name}]")] if name else []
        return [
            *title,
            *(
                TextPart(block.text)
                if isinstance(block, TextBlock)
                else self.image(block, content, f"{place}[{number}]")
                for number, block in enumerate(blocks)
            ),
        ]

    def native(self, raw: Raw, place: str, text: str) -> NativeBlock:
        """A block of Anthropic's own, with its text for all others."""
        self.parts.add_values(raw)
        return NativeBlock("anthropic", decode(_decode_object, raw, place), text)

    def unknown(self, raw: Raw, place: str, kind: str, role: str) -> NativeBlock:
        """A block of a kind that other formats do not have. Of what the user sent, others are told; what the
        provider itself did is left out, except for what it found."""
        if kind.endswith("search_tool_result") or kind == "search_result":
            block = self.native(raw, place, "")
            text = _search_result(block.block) if kind == "search_result" else _found(block.block)
            return NativeBlock("anthropic", block.block, text)
        return self.native(raw, place, "" if role == "assistant" else unknown_block(kind))


def _search_result(block: JsonObject) -> str:
    """A search result that the client found itself."""
    content = block.get("content")
    texts = [
        as_string(as_object(each).get("text")) for each in (content if isinstance(content, list) else [])
    ]
    heading = " ".join(filter(None, (as_string(block.get("title")), as_string(block.get("source")))))
    return "\n".join(filter(None, [f"[{heading}]" if heading else "", *texts]))


def _found(block: JsonObject) -> str:
    """What the provider's own search found: titles and addresses."""
    content = block.get("content")
    results = [as_object(each) for each in (content if isinstance(content, list) else [])[:_SHOWN]]
    shown = [
        f"{as_string(each.get('title'))} <{url}>" for each in results if (url := as_string(each.get("url")))
    ]
    return f"[Search results: {'; '.join(shown)}]" if shown else ""

"""Rows of the table of formats about the parts of a message: images, documents and sounds."""

import base64
import json
from typing import Any

from gateway import PIXEL
from table_cells import NONE, Cell, carried
from table_programs import Fields
from table_sdks import anthropic

PDF = base64.b64encode(b"%PDF-1.4 a page").decode()
WAVE = base64.b64encode(b"RIFF\x24\x00\x00\x00WAVEfmt a sound").decode()
ADDRESS = "https://images.example/cat.png"


def text(words: str) -> Fields:
    return {"type": "text", "text": words}


def images(cell: Cell) -> str:
    """An image as data and one by its address, between two texts."""
    data, address = images_in(_format_of(cell))
    one, two = (text_of(cell, words) for words in ("one", "two"))
    cell.ask(over=cell.program.hello([one, data, two, address]))
    one, two = (
        ({"text": "one"}, {"text": "two"}) if cell.wire_format == "gemini" else map(text, ("one", "two"))
    )
    data, address = images_in(cell.wire_format)
    return carried(_same(cell.parts(), [one, data, two, address]))


def cache_markers(cell: Cell) -> str:
    """A text that is marked for the provider's cache for an hour."""
    marker = {"type": "ephemeral", "ttl": "1h"}
    if cell.client == "api":
        cell.ask()
        is_marked = (
            cell.wire_format == "anthropic" and "cache_control" in cell.body["messages"][-1]["content"][-1]
        )
        return "set by ChatHub" if is_marked else NONE
    marked = {**text_of(cell, "long"), "cache_control": marker}
    cell.ask(over=cell.program.hello([marked, text_of(cell, "short")]))
    if cell.wire_format == cell.program.own_format or cell.wire_format == "anthropic":
        return carried(cell.parts(keeps_markers=True)[0].get("cache_control") == marker)
    assert "cache_control" not in json.dumps(cell.body)
    return NONE


def _format_of(cell: Cell) -> str:
    """The format of a client's parts: ChatHub's own API has those of Chat Completions."""
    return "openai" if cell.client == "api" else cell.client


def text_of(cell: Cell, words: str) -> Fields:
    """A text of a client's message."""
    return {"type": "input_text", "text": words} if cell.client == "responses" else text(words)


def images_in(wire_format: str) -> tuple[Fields, Fields]:
    if wire_format == "responses":
        urls = (f"data:image/png;base64,{PIXEL}", ADDRESS)
        data, address = ({"type": "input_image", "detail": "auto", "image_url": url} for url in urls)
    elif wire_format == "openai":
        urls = (f"data:image/png;base64,{PIXEL}", ADDRESS)
        data, address = ({"type": "image_url", "image_url": {"url": url}} for url in urls)
    elif wire_format == "anthropic":
        sources = (
            {"type": "base64", "media_type": "image/png", "data": PIXEL},
            {"type": "url", "url": ADDRESS},
        )
        data, address = ({"type": "image", "source": source} for source in sources)
    else:
        data = {"inlineData": {"mimeType": "image/png", "data": PIXEL}}
        address = {"fileData": {"mimeType": "image/png", "fileUri": ADDRESS}}
    return data, address


def _same(parts: list[Any], wanted: list[Any]) -> bool:
    """Whether the parts are the wanted ones; an address needs no media type."""
    for part in [*parts, *wanted]:
        part.get("fileData", {}).pop("mimeType", None)
    return parts == wanted


def pdf(cell: Cell) -> str:
    content = [text_of(cell, "what is it?"), file_in(_format_of(cell))]
    cell.ask(over=cell.program.hello(content))
    part = cell.parts()[-1]
    if cell.wire_format == "gemini":
        return carried(part == {"inlineData": {"mimeType": "application/pdf", "data": PDF}})
    if cell.wire_format == "anthropic":
        return carried(part["type"] == "document" and part["source"] == file_in("anthropic")["source"])
    return carried(
        part["type"] == "file" and part["file"]["file_data"] == f"data:application/pdf;base64,{PDF}"
    )


def file_in(wire_format: str) -> Fields:
    if wire_format == "responses":
        data = f"data:application/pdf;base64,{PDF}"
        return {"type": "input_file", "filename": "a.pdf", "file_data": data}
    if wire_format == "anthropic":
        source = {"type": "base64", "media_type": "application/pdf", "data": PDF}
        return {"type": "document", "source": source}
    return {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}}


def audio(cell: Cell) -> str:
    if cell.client == "anthropic":
        kinds = [block.__annotations__["type"] for block in anthropic.types.ContentBlockParam.__args__]
        assert kinds and not any("audio" in str(kind) for kind in kinds)
        return NONE
    sound = sound_in()
    cell.ask(over=cell.program.hello([text_of(cell, "what is it?"), sound]))
    part = cell.parts()[-1]
    if cell.wire_format == "gemini":
        return carried(part == {"inlineData": {"mimeType": "audio/wav", "data": WAVE}})
    if "recording" in part.get("text", ""):
        return "as a text that names it"
    return carried(part == sound)


def sound_in() -> Fields:
    """A recording in a format of OpenAI."""
    return {"type": "input_audio", "input_audio": {"data": WAVE, "format": "wav"}}

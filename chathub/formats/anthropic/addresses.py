"""Images and documents that the messages of a forwarded request name by their address."""

import msgspec
from msgspec import Raw, Struct

from chathub.formats.anthropic.encode_request import source_of
from chathub.formats.client_format import Replace
from chathub.formats.client_request import MESSAGES, PARTS_OF_ONE
from chathub.formats.messages import File, Image
from chathub.formats.raw_json import ABSENT, changed, look, with_each_raw


class _Message(Struct):
    content: Raw = ABSENT


class _Block(Struct):
    type: str = ""
    source: Raw = ABSENT
    content: Raw = ABSENT


class _Source(Struct):
    type: str = ""
    url: str = ""


_message = msgspec.json.Decoder(_Message)
_block = msgspec.json.Decoder(_Block)
_source = msgspec.json.Decoder(_Source)


def replace_parts(messages: Raw, replace: Replace) -> Raw:
    """The messages with other images and documents in place of those by address."""
    # most requests have no address: their messages are not taken apart
    if b'"url"' not in bytes(messages):
        return messages
    return with_each_raw(messages, lambda message: _replaced_in(message, replace), MESSAGES)


def _replaced_in(message: Raw, replace: Replace) -> Raw:
    found = look(message, _message)
    return _with_blocks(message, found.content, replace) if found else message


def _with_blocks(holder: Raw, content: Raw, replace: Replace, levels: int = 2) -> Raw:
    """A message, or a tool's result, with some of its blocks replaced."""
    better = with_each_raw(content, lambda block: _replaced(block, replace, levels), PARTS_OF_ONE)
    return holder if better is content else changed(holder, {"content": better})


def _replaced(block: Raw, replace: Replace, levels: int) -> Raw:
    found = look(block, _block)
    if found is None:
        return block
    if found.type == "tool_result" and levels > 1:
        return _with_blocks(block, found.content, replace, levels - 1)
    source = look(found.source, _source) if found.type in ("image", "document") else None
    if source is None or source.type != "url":
        return block
    part = replace(Image(url=source.url) if found.type == "image" else File(url=source.url))
    return block if part is None else changed(block, {"source": source_of(part)})

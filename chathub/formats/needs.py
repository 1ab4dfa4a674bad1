"""What a program's request needs of a model beyond text, by its body as the client wrote it."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

# types of parts and blocks that are images, in the formats of clients
_IMAGES = frozenset({"image", "image_url", "input_image"})
# deeper in a message no format has images: a tool's result has blocks
_DEPTH = 6


class Needs(NamedTuple):
    images: bool = False
    tools: bool = False


def needs_of(fields: Mapping[str, Raw]) -> Needs:
    """What a body needs, by its fields. What cannot be read needs nothing: its error comes when it is
    decoded."""
    tools = any(_decoded(fields.get(name)) for name in ("tools", "functions"))
    return Needs(_has_images(fields.get("messages")), tools)


def _has_images(messages: Raw | None) -> bool:
    # nearly all bodies have no such word: they are not decoded
    text = bytes(messages or b"")
    if b"image" not in text and b"\\u" not in text:
        return False
    decoded = _decoded(messages)
    contents = (each.get("content") for each in decoded or [] if isinstance(each, dict))
    return any(part.get("type") in _IMAGES for content in contents for part in _parts(content))


def _parts(content: object, depth: int = _DEPTH) -> Iterator[dict[str, Any]]:
    """The parts of a message, and those in them."""
    for part in content if isinstance(content, list) and depth else []:
        if isinstance(part, dict):
            yield part
            yield from _parts(part.get("content"), depth - 1)


def _decoded(raw: Raw | None) -> Any:
    """A list; None for anything else."""
    try:
        value = msgspec.json.decode(raw or b"null")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return value if isinstance(value, list) else None

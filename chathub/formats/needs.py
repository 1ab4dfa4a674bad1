"""What a request needs of a model, or of its provider's format, beyond text."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from chathub.formats.loose_json import as_string
from chathub.formats.raw_json import ABSENT, value_of
from chathub.formats.responses.decode_request import LOGPROBS
from chathub.formats.responses.tools import named_tools, tools_in

# fields that form the reply, and that nothing can stand for in a format without them
_FORMING = ("seed", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs")
# types of parts and blocks that are images, in the formats of clients
_IMAGES = frozenset({"image", "image_url", "input_image"})
# deeper in a message no format has images: a tool's result has blocks
_DEPTH = 6


_texts = msgspec.json.Decoder(list[str])
_scalar = msgspec.json.Decoder(bool | float | str | None)


class Needs(NamedTuple):
    """``fields`` are those that the provider's format must have."""

    images: bool = False
    tools: bool = False
    fields: tuple[str, ...] = ()


def needs_of(fields: Mapping[str, Raw], wire_format: str) -> Needs:
    """What a client's body of this format needs. What cannot be read needs nothing: its error comes when it
    is decoded."""
    if wire_format == "responses":
        # tools that a provider runs itself are left out where it has none
        tools = any(True for _ in named_tools(tools_in(fields)))
        tops = value_of(fields.get("top_logprobs", ABSENT), _scalar)
        included = value_of(fields.get("include", ABSENT), _texts) or []
        values = {"top_logprobs": tops, "logprobs": LOGPROBS in included}
        return Needs(_has_images(fields.get("input")), tools, forming(values))
    tools = any(_decoded(fields[name]) for name in ("tools", "functions") if name in fields)
    # clients of Messages have no such fields
    named = _FORMING if wire_format == "openai" else ()
    values = {name: value_of(fields[name], _scalar) for name in named if name in fields}
    return Needs(_has_images(fields.get("messages")), tools, forming(values))


def forming(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields that form the reply. A penalty of 0 and ``false`` change nothing; 0 is a seed as well."""
    return tuple(
        name for name in _FORMING if (value := values.get(name)) is not None and (value or name == "seed")
    )


def _has_images(messages: Raw | None) -> bool:
    # nearly all bodies have no such word: they are not decoded
    text = bytes(messages or b"")
    if messages is None or (b"image" not in text and b"\\u" not in text):
        return False
    decoded = _decoded(messages)
    said = [each for each in decoded or [] if isinstance(each, dict)]
    contents = (each.get(name) for each in said for name in ("content", "output"))
    return any(as_string(part.get("type")) in _IMAGES for content in contents for part in _parts(content))


def _parts(content: object, depth: int = _DEPTH) -> Iterator[dict[str, Any]]:
    """The parts of a message, and those in them."""
    for part in content if isinstance(content, list) and depth else []:
        if isinstance(part, dict):
            yield part
            yield from _parts(part.get("content"), depth - 1)


def _decoded(raw: Raw) -> Any:
    """A list; None for anything else."""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return value if isinstance(value, list) else None

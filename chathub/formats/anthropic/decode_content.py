"""Decodes the blocks of a message in Anthropic's format into parts, in their order."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from chathub.formats.anthropic.documents import BlockDecoder, DocumentBlock, ImageBlock, TextBlock
from chathub.formats.anthropic.thinking import decode_redacted, decode_thinking
from chathub.formats.cache_points import points_in
from chathub.formats.client_request import NAME_LENGTH, decode, object_text
from chathub.formats.messages import Message, Part, TextPart, ToolCall, content_of

Name = Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH)]


class _Kind(Struct, frozen=True):
    type: str


class _ToolUse(Struct, tag="tool_use", frozen=True):
    id: str
    name: Name
    input: Raw
    cache_control: Any = None


class _ToolResult(Struct, tag="tool_result", frozen=True):
    tool_use_id: str
    content: str | list[Raw] | None = None
    is_error: bool | None = None
    cache_control: Any = None


class _Thinking(Struct, tag="thinking", frozen=True):
    thinking: str
    signature: str | None = None


class _Redacted(Struct, tag="redacted_thinking", frozen=True):
    data: str


_decode_kind = msgspec.json.Decoder(_Kind).decode
_decode_user = msgspec.json.Decoder(TextBlock | ImageBlock | DocumentBlock | _ToolResult).decode
_decode_assistant = msgspec.json.Decoder(TextBlock | _ToolUse | _Thinking | _Redacted).decode
_decode_result = msgspec.json.Decoder(TextBlock | ImageBlock | DocumentBlock).decode
_KNOWN = frozenset(
    {"text", "image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking"}
)  # fmt: skip


def user_messages(blocks: list[Raw], place: str, decoder: BlockDecoder) -> list[Message]:
    """A user's message; each tool result becomes a message of its own, before it: results must directly
    follow their calls."""
    results: list[Message] = []
    parts: list[Part] = []
    for number, raw in enumerate(blocks):
        at = f"{place}[{number}]"
        block = _decoded(raw, at, _decode_user)
        if isinstance(block, _ToolResult):
            results.append(_result(block, f"{at}.content", decoder))
        else:
            parts += _parts(block, raw, at, decoder, "user")
    return results if results and not parts else [*results, Message("user", content_of(parts))]


def _result(result: _ToolResult, place: str, decoder: BlockDecoder) -> Message:
    """A tool result. Other formats have no field for a failed call, so it is said in the text."""
    parts: list[Part] = []
    if isinstance(result.content, str):
        parts = [TextPart(result.content)] if result.content else []
    else:
        decoder.parts.add(result.content)
        for number, raw in enumerate(result.content or []):
            at = f"{place}[{number}]"
            parts += _parts(_decoded(raw, at, _decode_result), raw, at, decoder, "tool")
    text = "\n".join([part.text for part in parts if isinstance(part, TextPart)])
    if result.is_error and not text.lower().startswith("error"):
        parts = _as_error(parts)
    parts += points_in(result.cache_control)
    return Message("tool", content_of(parts), tool_call_id=result.tool_use_id)


def _as_error(parts: Sequence[Part]) -> list[Part]:
    """The parts of a failed tool call's result."""
    if not parts:
        return [TextPart("Error")]
    first, *others = parts
    if isinstance(first, TextPart):
        return [TextPart(f"Error: {first.text}"), *others]
    return [TextPart("Error:"), *parts]


def assistant_message(blocks: list[Raw], place: str, decoder: BlockDecoder) -> Message:
    parts, model = list[Part](), ""
    for number, raw in enumerate(blocks):
        at = f"{place}[{number}]"
        block = _decoded(raw, at, _decode_assistant)
        if isinstance(block, _ToolUse):
            parts.append(ToolCall(block.id, block.name, object_text(block.input, f"{at}.input")))
            parts += points_in(block.cache_control)
        elif isinstance(block, _Redacted):
            parts.append(decode_redacted(block.data))
        elif isinstance(block, _Thinking):
            thoughts, maker = decode_thinking(block.thinking, block.signature or "")
            parts += thoughts
            model = maker or model
        else:
            parts += _parts(block, raw, at, decoder, "assistant")
    return Message("assistant", content_of(parts), model=model)


def _decoded(raw: Raw, place: str, decoder: Callable[[bytes | Raw], Any]) -> Any:
    """A block of a known kind; the kind itself of any other."""
    kind = decode(_decode_kind, raw, place).type
    return decode(decoder, raw, place) if kind in _KNOWN else kind


def _parts(block: Any, raw: Raw, place: str, decoder: BlockDecoder, role: str) -> Sequence[Part]:
    match block:
        case TextBlock(text, point):
            return [*([TextPart(text)] if text else []), *points_in(point)]
        case ImageBlock(_, point):
            return [decoder.image(block, raw, place), *points_in(point)]
        case DocumentBlock(_, _, point):
            return [*decoder.document(block, raw, place), *points_in(point)]
    return [decoder.unknown(raw, place, block, role)]

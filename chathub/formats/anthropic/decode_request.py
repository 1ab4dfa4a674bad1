"""Decodes a body of ``POST /v1/messages`` into a ``ClientRequest``.

Source: Anthropic's API reference ("Create a Message", "Tool use", "Vision", "Extended thinking"). Fields
that have no meaning outside Anthropic (``metadata``, ``cache_control``, ``service_tier`` …) are ignored:
clients set them without knowing which provider replies.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from chathub.formats.anthropic.thinking import decode_redacted, decode_thinking
from chathub.formats.body_fields import Known, fields_of
from chathub.formats.client_request import (
    NAME_LENGTH,
    STOPS,
    TOOLS,
    ClientImages,
    ClientRequest,
    Head,
    Parts,
    check_arguments,
    decode,
    messages_of,
    object_text,
    refuse,
    whole_number,
)
from chathub.formats.messages import Message, Part, TextPart, ToolCall, content_of
from chathub.schemas.json import JsonObject

Name = Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH)]


class _Text(Struct, tag="text", frozen=True):
    text: str


class _Base64(Struct, tag="base64", frozen=True):
    media_type: str
    data: str


class _Url(Struct, tag="url", frozen=True):
    url: str


class _Image(Struct, tag="image", frozen=True):
    source: _Base64 | _Url


class _ToolUse(Struct, tag="tool_use", frozen=True):
    id: str
    name: Name
    input: Raw


class _ToolResult(Struct, tag="tool_result", frozen=True):
    tool_use_id: str
    content: str | list[_Text | _Image] | None = None
    is_error: bool | None = None


class _Thinking(Struct, tag="thinking", frozen=True):
    thinking: str
    signature: str | None = None


class _Redacted(Struct, tag="redacted_thinking", frozen=True):
    data: str


class _User(Struct, tag_field="role", tag="user", frozen=True):
    content: str | list[_Text | _Image | _ToolResult]


class _Assistant(Struct, tag_field="role", tag="assistant", frozen=True):
    content: str | list[_Text | _ToolUse | _Thinking | _Redacted]


class _System(Struct, tag_field="role", tag="system", frozen=True):
    """Newer versions of the API allow instructions between the messages."""

    content: str | list[_Text]


class _Tool(Struct, frozen=True):
    name: Name
    input_schema: JsonObject
    description: str | None = None
    strict: bool | None = None
    # the provider's own tools have a type of their own; no other provider can run them
    type: Literal["custom"] | None = None


class _Choice(Struct, frozen=True):
    type: Literal["auto", "any", "tool", "none"]
    name: Name | None = None
    disable_parallel_tool_use: bool | None = None


class _Body(Struct, kw_only=True, frozen=True):
    """``max_tokens`` is required by Anthropic only, and optional here."""

    model: Name
    messages: Raw
    system: str | list[_Text] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: Annotated[list[str], Meta(max_length=STOPS)] | None = None
    thinking: JsonObject | None = None
    output_config: JsonObject | None = None
    tools: Annotated[list[_Tool], Meta(max_length=TOOLS)] | None = None
    tool_choice: _Choice | None = None
    stream: bool | None = None


class _Head(Struct, frozen=True):
    model: Name
    stream: bool | None = None
    max_tokens: Any = None


_decode_head = msgspec.json.Decoder(_Head).decode
_decode_body = msgspec.json.Decoder(_Body).decode
_decode_message = msgspec.json.Decoder(_User | _Assistant | _System).decode
_KNOWN = Known(*_Body.__struct_fields__)


def decode_fields(body: bytes) -> dict[str, Raw]:
    """All fields of a body, each as the client wrote it.

    Raises:
        BadRequest: a field that a provider may read in another way than ChatHub; see ``fields_of``.
    """
    return fields_of(body, _KNOWN)


def decode_head(body: bytes) -> Head:
    """The fields that ChatHub must know of a body that is forwarded unchanged; no others are checked.

    Raises:
        BadRequest: one of these fields is invalid.
    """
    decoded = decode(_decode_head, body)
    length = whole_number(decoded.max_tokens)
    return Head(decoded.model, bool(decoded.stream), max_tokens=length)


def decode_request(body: bytes) -> ClientRequest:
    """A request of ``POST /v1/messages``, decoded.

    Raises:
        BadRequest: what ChatHub cannot translate; ``details["param"]`` names the field.
    """
    decode_fields(body)
    decoded = decode(_decode_body, body)
    messages = [Message("system", system)] if (system := _text(decoded.system or "")) else []
    images, parts = ClientImages(), Parts()
    for number, message in enumerate(messages_of(decoded.messages, _decode_message)):
        parts.add(message.content, *_results(message.content))
        messages += _messages(message, f"messages[{number}].content", images)
    check_arguments(messages)
    return ClientRequest(
        model=decoded.model,
        messages=messages,
        params=_params(decoded),
        tools=[_tool(tool) for tool in decoded.tools or []],
        tool_choice=_tool_choice(decoded.tool_choice),
        stream=bool(decoded.stream),
        extra={} if decoded.top_k is None else {"top_k": decoded.top_k},
    )


def _params(decoded: _Body) -> JsonObject:
    names = ("temperature", "top_p", "max_tokens", "thinking")
    params = {name: value for name in names if (value := getattr(decoded, name)) is not None}
    if effort := (decoded.output_config or {}).get("effort"):
        params["effort"] = effort
    if decoded.stop_sequences:
        params["stop"] = decoded.stop_sequences
    if decoded.tool_choice and decoded.tool_choice.disable_parallel_tool_use:
        params["parallel_tool_calls"] = False
    return params


def _tool(tool: _Tool) -> JsonObject:
    function: JsonObject = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = tool.input_schema
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _tool_choice(choice: _Choice | None) -> str | JsonObject | None:
    if choice is None:
        return None
    if choice.type == "tool":
        if choice.name is None:
            refuse("tool_choice.name", "field_required")
        return {"type": "function", "function": {"name": choice.name}}
    return {"auto": "auto", "none": "none"}.get(choice.type, "required")


def _messages(message: _User | _Assistant | _System, place: str, decoder: ClientImages) -> list[Message]:
    """A client's message as one or several: each tool result becomes a message of its own."""
    match message:
        case _System(content):
            return [Message("system", _text(content))]
        case _Assistant(content):
            return [_assistant(content, place)]
        case _User(str(content)):
            return [Message("user", content)]
        case _User(blocks):
            # results first: they must directly follow their calls
            results = [
                _result(block, f"{place}[{number}].content", decoder)
                for number, block in enumerate(blocks)
                if isinstance(block, _ToolResult)
            ]
            parts = _parts([*blocks], place, decoder)
            return results if results and not parts else [*results, Message("user", content_of(parts))]


def _results(content: str | list[Any]) -> list[str | list[Any] | None]:
    """The contents of the tool results among the blocks."""
    return [block.content for block in content if isinstance(block, _ToolResult)]


def _result(result: _ToolResult, place: str, decoder: ClientImages) -> Message:
    """A tool result. Other formats have no field for a failed call, so it is said in the text."""
    content = result.content or ""
    parts = Message("tool", content).parts if isinstance(content, str) else _parts(content, place, decoder)
    if result.is_error and not _text(content).lower().startswith("error"):
        parts = _as_error(parts)
    return Message("tool", content_of(parts), tool_call_id=result.tool_use_id)


def _as_error(parts: Sequence[Part]) -> list[Part]:
    """The parts of a failed tool call's result."""
    if not parts:
        return [TextPart("Error")]
    first, *others = parts
    if isinstance(first, TextPart):
        return [TextPart(f"Error: {first.text}"), *others]
    return [TextPart("Error:"), *parts]


def _assistant(content: str | list[Any], place: str) -> Message:
    if isinstance(content, str):
        return Message("assistant", content)
    parts, model = list[Part](), ""
    for number, block in enumerate(content):
        if isinstance(block, _Text) and block.text:
            parts.append(TextPart(block.text))
        elif isinstance(block, _ToolUse):
            values = object_text(block.input, f"{place}[{number}].input")
            parts.append(ToolCall(block.id, block.name, values))
        elif isinstance(block, _Redacted):
            parts.append(decode_redacted(block.data))
        elif isinstance(block, _Thinking):
            thoughts, maker = decode_thinking(block.thinking, block.signature or "")
            parts += thoughts
            model = maker or model
    return Message("assistant", content_of(parts), model=model)


def _text(content: str | list[Any]) -> str:
    """The text blocks, joined by line ends: clients put whole documents into blocks, without a line end."""
    if isinstance(content, str):
        return content
    return "\n".join(block.text for block in content if isinstance(block, _Text) and block.text)


def _parts(blocks: list[Any], place: str, decoder: ClientImages) -> list[Part]:
    """The texts and images among the blocks, in their order."""
    parts: list[Part] = []
    for number, block in enumerate(blocks):
        if isinstance(block, _Text) and block.text:
            parts.append(TextPart(block.text))
        elif isinstance(block, _Image):
            param = f"{place}[{number}].source"
            match block.source:
                case _Url(url):
                    parts.append(decoder.from_url(url, param))
                case _Base64(media_type, data):
                    parts.append(decoder.from_base64(media_type, data, param))
    return parts

"""Decodes a body of ``POST /v1/chat/completions`` into a ``ClientRequest``.

Source: OpenAI's API reference, "Create chat completion". Fields that other providers added to it are not
refused: they are kept in ``extra``.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct
from msgspec.structs import replace

from chathub.formats.body_fields import Known, fields_of
from chathub.formats.cache_points import points_in
from chathub.formats.client_media import ClientMedia
from chathub.formats.client_request import (
    NAME_LENGTH,
    STOPS,
    TOOLS,
    ClientRequest,
    Head,
    Parts,
    check_arguments,
    decode,
    fields_besides,
    messages_of,
    number_in_range,
    refuse,
    whole_number,
)
from chathub.formats.messages import Message, ToolCall, content_of
from chathub.formats.openai import state_fields
from chathub.formats.openai.content import parts_of
from chathub.formats.openai.decode_tools import tools_and_choice
from chathub.formats.openai.legacy import current
from chathub.formats.openai.repair import repaired
from chathub.formats.structured_output import checked
from chathub.schemas.chats import PARAMETERS
from chathub.schemas.json import JsonObject

Name = Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH)]

# parameters that other formats have as well; all other fields are for providers of OpenAI's format only
_PARAMETERS = (*PARAMETERS, "reasoning_effort", "parallel_tool_calls")

_MOST_CHOICES = 128
# the newer name wins where a provider knows both
_LENGTHS = ("max_completion_tokens", "max_tokens")


class _Function(Struct, frozen=True):
    name: Name
    arguments: str | None = None


class _Custom(Struct, frozen=True):
    name: Name
    input: str = ""


class _Call(Struct, tag="function", frozen=True):
    id: str
    function: _Function
    extra_content: Any = None


class _CustomCall(Struct, tag="custom", frozen=True):
    """A call of a tool whose input is a text, not JSON: OpenAI's own kind."""

    id: str
    custom: _Custom
    extra_content: Any = None


class _System(Struct, tag_field="role", tag="system", frozen=True):
    content: str | list[Raw]
    cache_control: Any = None


class _Developer(Struct, tag_field="role", tag="developer", frozen=True):
    content: str | list[Raw]
    cache_control: Any = None


class _User(Struct, tag_field="role", tag="user", frozen=True):
    content: str | list[Raw]
    cache_control: Any = None


class _Assistant(Struct, tag_field="role", tag="assistant", frozen=True):
    """The last three fields are those of DeepSeek, OpenRouter and Google (``state_fields``)."""

    content: str | list[Raw] | None = None
    tool_calls: list[_Call | _CustomCall] | None = None
    refusal: str | None = None
    reasoning_content: Any = None
    reasoning_details: Any = None
    extra_content: Any = None
    cache_control: Any = None


class _Tool(Struct, tag_field="role", tag="tool", frozen=True):
    content: str | list[Raw]
    tool_call_id: str
    cache_control: Any = None


_Message = _System | _Developer | _User | _Assistant | _Tool


class _StreamOptions(Struct, frozen=True):
    include_usage: bool | None = None


class _Body(Struct, kw_only=True, frozen=True):
    model: Name
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    n: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    stop: str | Annotated[list[str], Meta(max_length=STOPS)] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    response_format: JsonObject | None = None
    reasoning_effort: str | None = None
    parallel_tool_calls: bool | None = None
    tools: Annotated[list[JsonObject], Meta(max_length=TOOLS)] | None = None
    tool_choice: str | JsonObject | None = None


class _Head(Struct, frozen=True):
    model: Name
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: Any = None
    max_completion_tokens: Any = None
    n: Any = None
    modalities: msgspec.Raw = msgspec.Raw(b"")


_decode_head = msgspec.json.Decoder(_Head).decode
_decode_body = msgspec.json.Decoder(_Body).decode
_decode_message = msgspec.json.Decoder(_Message).decode
# with those of embeddings
_KNOWN = Known(*_Body.__struct_fields__, "messages", "input", "dimensions", "encoding_format")


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
    head = decode(_decode_head, body)
    lengths = {name: number for name in _LENGTHS if (number := whole_number(getattr(head, name)))}
    return Head(
        head.model,
        bool(head.stream),
        _include_usage(head),
        max_tokens=min(lengths.values(), default=None),
        length_fields=tuple(name for name in _LENGTHS if getattr(head, name) is not None),
        choices=number_in_range("n", head.n, _MOST_CHOICES),
        has_stream_options=head.stream_options is not None,
        requests_media=any(word in bytes(head.modalities) for word in (b'"image"', b'"audio"')),
    )


def _include_usage(head: _Head) -> bool:
    options = head.stream_options
    return bool(head.stream and options and options.include_usage)


def decode_request(body: bytes) -> ClientRequest:
    """A request of ``POST /v1/chat/completions``, repaired and decoded.

    Raises:
        BadRequest: what ChatHub cannot translate; ``details["param"]`` names the field.
    """
    return request_of(repaired(decode_fields(body)))


def request_of(fields: dict[str, Raw]) -> ClientRequest:
    """A request by its repaired fields.

    Raises:
        BadRequest: what ChatHub cannot translate.
    """
    fields = current(fields)
    head = {name: value for name, value in fields.items() if name != "messages"}
    decoded = decode(_decode_body, msgspec.json.encode(head))
    if decoded.n not in (None, 1):
        refuse("n", "field_wrong_value", allowed=["1"])
    checked(decoded.response_format)
    params = {name: value for name in _PARAMETERS if (value := getattr(decoded, name)) is not None}
    if decoded.max_completion_tokens is not None:
        params["max_tokens"] = decoded.max_completion_tokens
    media, parts = ClientMedia(), Parts()
    messages = []
    if "messages" not in fields:
        refuse("messages", "field_required")
    for number, each in enumerate(messages_of(fields["messages"], _decode_message)):
        parts.add(getattr(each, "tool_calls", None))
        messages.append(_message(each, f"messages[{number}]", media, parts))
    check_arguments(messages)
    tools, choice = tools_and_choice(decoded.tools or [], decoded.tool_choice)
    return ClientRequest(
        model=decoded.model,
        messages=messages,
        params=params,
        tools=tools,
        tool_choice=choice,
        stream=bool(decoded.stream),
        extra=fields_besides(fields, (*_Body.__struct_fields__, "messages")),
    )


def _message(message: _Message, place: str, media: ClientMedia, counted: Parts) -> Message:
    decoded = _unmarked(message, place, media, counted)
    # some clients mark the message and not a part of it
    points = points_in(message.cache_control)
    return replace(decoded, content=[*decoded.parts, *points]) if points else decoded


def _unmarked(message: _Message, place: str, media: ClientMedia, counted: Parts) -> Message:
    match message:
        case _System(content) | _Developer(content):
            return Message("system", parts_of(content, place, media, counted))
        case _User(content):
            return Message("user", parts_of(content, place, media, counted))
        case _Tool(content, call_id):
            return Message("tool", parts_of(content, place, media, counted), tool_call_id=call_id)
        case _Assistant(content, calls, refusal):
            spoken = Message("assistant", parts_of(content or refusal or "", place, media, counted)).parts
            made = [(_tool_call(call), call.extra_content) for call in calls or []]
            parts = state_fields.parts_of(message, spoken, made)
            return Message("assistant", content_of(parts))


def _tool_call(call: _Call | _CustomCall) -> ToolCall:
    if isinstance(call, _CustomCall):
        values = msgspec.json.encode({"input": call.custom.input}).decode()
        return ToolCall(call.id, call.custom.name, values)
    return ToolCall(call.id, call.function.name, call.function.arguments or "")

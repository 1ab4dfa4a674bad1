"""Decodes a body of ``POST /v1/messages`` into a ``ClientRequest``.

Source: Anthropic's API reference ("Create a Message", "Tool use", "Vision", "Extended thinking"). Fields
that have no meaning outside Anthropic (``metadata``, ``service_tier`` …) are ignored: clients set them
without knowing which provider replies.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from chathub.formats.anthropic.decode_content import Name, assistant_message, user_messages
from chathub.formats.anthropic.documents import BlockDecoder, TextBlock
from chathub.formats.anthropic.repair import repaired
from chathub.formats.anthropic.tools import tools_of
from chathub.formats.body_fields import Known, fields_of
from chathub.formats.cache_points import FIELD, points_in
from chathub.formats.client_request import (
    STOPS,
    TOOLS,
    ClientRequest,
    Head,
    check_arguments,
    decode,
    messages_of,
    refuse,
    whole_number,
)
from chathub.formats.loose_json import as_object
from chathub.formats.messages import CachePoint, Message, Part, TextPart
from chathub.formats.structured_output import from_anthropic
from chathub.schemas.json import JsonObject


class _User(Struct, tag_field="role", tag="user", frozen=True):
    content: str | list[Raw]


class _Assistant(Struct, tag_field="role", tag="assistant", frozen=True):
    content: str | list[Raw]


class _System(Struct, tag_field="role", tag="system", frozen=True):
    """Newer versions of the API allow instructions between the messages."""

    content: str | list[TextBlock]


class _Choice(Struct, frozen=True):
    type: Literal["auto", "any", "tool", "none"]
    name: Name | None = None
    disable_parallel_tool_use: bool | None = None


class _Body(Struct, kw_only=True, frozen=True):
    """``max_tokens`` is required by Anthropic only, and optional here."""

    model: Name
    system: str | list[TextBlock] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: Annotated[list[str], Meta(max_length=STOPS)] | None = None
    thinking: JsonObject | None = None
    output_config: JsonObject | None = None
    output_format: JsonObject | None = None
    tools: Annotated[list[Raw], Meta(max_length=TOOLS)] | None = None
    tool_choice: _Choice | None = None
    stream: bool | None = None
    cache_control: Any = None


class _Head(Struct, frozen=True):
    model: Name
    stream: bool | None = None
    max_tokens: Any = None


_decode_head = msgspec.json.Decoder(_Head).decode
_decode_body = msgspec.json.Decoder(_Body).decode
_decode_message = msgspec.json.Decoder(_User | _Assistant | _System).decode
_KNOWN = Known(*_Body.__struct_fields__, "messages")
# fields that some providers of other formats know too
_EXTRA = ("top_k", FIELD)
_BILLING = re.compile(r"\Ax-anthropic-billing-header:[^\n]*\n?", re.IGNORECASE)


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
    """A request of ``POST /v1/messages``, repaired and decoded.

    Raises:
        BadRequest: what ChatHub cannot translate; ``details["param"]`` names the field.
    """
    return request_of(repaired(decode_fields(body)))


def request_of(fields: dict[str, Raw]) -> ClientRequest:
    """A request by its repaired fields.

    Raises:
        BadRequest: what ChatHub cannot translate.
    """
    head = {name: value for name, value in fields.items() if name != "messages"}
    decoded = decode(_decode_body, msgspec.json.encode(head))
    messages = [Message("system", system)] if (system := _instructions(decoded.system)) else []
    if "messages" not in fields:
        refuse("messages", "field_required")
    decoder = BlockDecoder()
    for number, message in enumerate(messages_of(fields["messages"], _decode_message)):
        decoder.parts.add(message.content)
        messages += _messages(message, f"messages[{number}].content", decoder)
    check_arguments(messages)
    return ClientRequest(
        model=decoded.model,
        messages=messages,
        params=_params(decoded),
        tools=tools_of(decoded.tools or []),
        tool_choice=_tool_choice(decoded.tool_choice),
        stream=bool(decoded.stream),
        extra={name: value for name in _EXTRA if (value := getattr(decoded, name)) is not None},
    )


def _instructions(system: str | list[TextBlock] | None) -> str | Sequence[Part]:
    """The system prompt, without the line that Claude Code puts before it for Anthropic: it changes with
    every request, and no provider could keep the prompt in its cache."""
    if isinstance(system, str):
        return _BILLING.sub("", system)
    parts: list[Part] = []
    for block in system or []:
        text = _BILLING.sub("", block.text)
        parts += [*([TextPart(text)] if text else []), *points_in(block.cache_control)]
    message = Message("system", parts)
    return parts if message.of_kind(CachePoint) else message.text


def _params(decoded: _Body) -> JsonObject:
    names = ("temperature", "top_p", "max_tokens", "thinking")
    params = {name: value for name in names if (value := getattr(decoded, name)) is not None}
    if effort := (decoded.output_config or {}).get("effort"):
        params["effort"] = effort
    if decoded.stop_sequences:
        params["stop"] = decoded.stop_sequences
    if output_format := (decoded.output_config or {}).get("format") or decoded.output_format:
        params["response_format"] = from_anthropic(as_object(output_format), "output_config.format")
    if decoded.tool_choice and decoded.tool_choice.disable_parallel_tool_use:
        params["parallel_tool_calls"] = False
    return params


def _tool_choice(choice: _Choice | None) -> str | JsonObject | None:
    if choice is None:
        return None
    if choice.type == "tool":
        if choice.name is None:
            refuse("tool_choice.name", "field_required")
        return {"type": "function", "function": {"name": choice.name}}
    return {"auto": "auto", "none": "none"}.get(choice.type, "required")


def _messages(message: _User | _Assistant | _System, place: str, decoder: BlockDecoder) -> list[Message]:
    """A client's message as one or several: each tool result becomes a message of its own."""
    match message:
        case _System(content):
            return [Message("system", _instructions(content))]
        case _User(str(content)):
            return [Message("user", content)]
        case _User(content):
            return user_messages([*content], place, decoder)
        case _Assistant(str(content)):
            return [Message("assistant", content)]
        case _Assistant(content):
            return [assistant_message([*content], place, decoder)]

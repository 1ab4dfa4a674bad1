"""Decodes a body of ``POST /v1/responses`` into a ``ClientRequest``.

Source: OpenAI's API reference, "Create a model response". Fields without meaning for other providers
(``metadata``, ``truncation``, ``include`` …) are ignored: clients set them without knowing which provider
replies.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from chathub.formats.body_fields import Known, fields_of
from chathub.formats.client_request import (
    NAME_LENGTH,
    TOOLS,
    ClientRequest,
    Head,
    decode,
    refuse,
    whole_number,
)
from chathub.formats.loose_json import as_object, as_string
from chathub.formats.messages import Message
from chathub.formats.raw_json import is_null
from chathub.formats.responses.content import FIELD
from chathub.formats.responses.decode_input import messages_in
from chathub.formats.responses.decode_tools import tools_and_choice
from chathub.formats.responses.tools import tools_in
from chathub.schemas.json import JsonObject

Name = Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH)]
_FORMATS = ("text", "json_object", "json_schema")
# the word in ``include`` for how likely each token was
LOGPROBS = "message.output_text.logprobs"
# what OpenAI keeps for its clients, and only OpenAI can resolve
_KEPT = ("prompt", "previous_response_id")


class _Reasoning(Struct, frozen=True):
    effort: str | None = None


class _Text(Struct, frozen=True):
    format: JsonObject | None = None
    verbosity: str | None = None


class _Body(Struct, kw_only=True, frozen=True):
    model: Name
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: Annotated[int, Meta(ge=1)] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    include: Any = None
    parallel_tool_calls: bool | None = None
    reasoning: _Reasoning | None = None
    text: _Text | None = None
    tools: Annotated[list[JsonObject], Meta(max_length=TOOLS)] | None = None
    tool_choice: str | JsonObject | None = None
    user: str | None = None
    prompt: Any = None
    previous_response_id: Any = None


class _Head(Struct, frozen=True):
    model: Name
    stream: bool | None = None
    max_output_tokens: Any = None
    conversation: Any = None


_decode_head = msgspec.json.Decoder(_Head).decode
_decode_body = msgspec.json.Decoder(_Body).decode
_KNOWN = Known(
    *_Body.__struct_fields__, *_Head.__struct_fields__, FIELD, "background", "store", "service_tier"
)


def decode_fields(body: bytes) -> dict[str, Raw]:
    """All fields of a body, each as the client wrote it.

    Raises:
        BadRequest: a field that a provider may read in another way than ChatHub; see ``fields_of``.
    """
    return fields_of(body, _KNOWN)


def decode_head(body: bytes) -> Head:
    """The fields that ChatHub must know of a body that is forwarded unchanged; no others are checked.

    Raises:
        BadRequest: one of these fields is invalid, or says that the request continues a conversation: what
            an account keeps at its provider belongs to all who use the account.
    """
    head = decode(_decode_head, body)
    if head.conversation is not None:
        refuse("conversation", "conversation_unsupported")
    return Head(head.model, bool(head.stream), max_tokens=whole_number(head.max_output_tokens))


def request_of(fields: dict[str, Raw]) -> ClientRequest:
    """A request by its fields.

    Raises:
        BadRequest: what ChatHub cannot translate; ``details["param"]`` names the field.
    """
    head = {name: value for name, value in fields.items() if name != FIELD}
    decoded = decode(_decode_body, msgspec.json.encode(head))
    for name in _KEPT:
        if getattr(decoded, name) is not None:
            refuse(name, "kept_elsewhere", model=decoded.model)
    if is_null(fields.get(FIELD, Raw(b""))):
        refuse(FIELD, "field_required")
    tools, choice = tools_and_choice(tools_in(fields), decoded.tool_choice)
    messages = messages_in(fields[FIELD])
    if decoded.instructions:
        messages.insert(0, Message("system", decoded.instructions))
    return ClientRequest(
        model=decoded.model,
        messages=messages,
        params=_params(decoded),
        tools=tools,
        tool_choice=choice,
        stream=bool(decoded.stream),
        extra=_extra(decoded),
    )


def _params(decoded: _Body) -> JsonObject:
    params = {
        "temperature": decoded.temperature,
        "top_p": decoded.top_p,
        "max_tokens": decoded.max_output_tokens,
        # true is the default everywhere, and some providers do not know the field
        "parallel_tool_calls": False if decoded.parallel_tool_calls is False else None,
        "reasoning_effort": decoded.reasoning.effort if decoded.reasoning else None,
        "response_format": _response_format(decoded.text.format) if decoded.text else None,
    }
    return {name: value for name, value in params.items() if value is not None}


def _response_format(form: JsonObject | None) -> JsonObject | None:
    """``text.format`` as ``response_format`` of Chat Completions."""
    if form is None or (kind := form.get("type", "text")) == "text":
        return None
    if kind not in _FORMATS:
        refuse("text.format.type", "field_wrong_value", allowed=[*_FORMATS])
    if kind == "json_object":
        return {"type": kind}
    schema = form.get("schema")
    if not isinstance(schema, dict):
        refuse("text.format.schema", "field_required")
    names = ("description", "strict")
    kept = {name: form[name] for name in names if form.get(name) is not None}
    described = {"name": as_string(form.get("name")) or "response", "schema": as_object(schema), **kept}
    return {"type": kind, "json_schema": described}


def _extra(decoded: _Body) -> JsonObject:
    """The fields that Chat Completions have too, and other formats have not."""
    tops = decoded.top_logprobs or None
    has_logprobs = tops or (isinstance(decoded.include, list) and LOGPROBS in decoded.include)
    extra = {
        "user": decoded.user,
        "verbosity": decoded.text.verbosity if decoded.text else None,
        "logprobs": True if has_logprobs else None,
        "top_logprobs": tops,
    }
    return {name: value for name, value in extra.items() if value is not None}

"""Encodes requests in OpenAI's format, for OpenAI and the many other providers that use it.

Source: OpenAI's API reference ("Create chat completion"). What single providers and models require is in
``quirks``.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec

from chathub.formats import request_parts, urls
from chathub.formats.cache_points import FIELD, marked, unmarked
from chathub.formats.media import AUDIO_FORMATS, PDF
from chathub.formats.messages import (
    Audio,
    CachePoint,
    ChatRequest,
    File,
    Image,
    Message,
    NativeBlock,
    Part,
    TextPart,
    ToolCall,
    UpstreamRequest,
)
from chathub.formats.openai import state_fields
from chathub.formats.openai.cache_marks import takes_marks, with_marks
from chathub.formats.openai.repair_parts import UNNAMED
from chathub.formats.quirks.table import SAMPLING, Quirks, quirks_of
from chathub.formats.reasoning import effort
from chathub.formats.schema_repair import of_object_decoded
from chathub.formats.stand_ins import messages_for
from chathub.schemas.json import JsonObject

_AUDIO = {media_type: name for name, media_type in AUDIO_FORMATS.items()}
# fields that form the reply and that the format has not (``needs``)
LACKED_FIELDS: tuple[str, ...] = ()


def encode_request(chat_request: ChatRequest, quirks: Quirks | None = None) -> UpstreamRequest:
    """The HTTP request to the provider. Raises ``ValueError`` when the base URL is unfit (``urls.origin``).

    Only parameters that were set are sent, and none that is null: strict servers refuse unknown fields.
    ``chat_request.extra`` is sent unchanged, except for fields that ``chat_request`` has itself.
    """
    quirks = quirks or quirks_of(urls.hostname(chat_request.base_url), chat_request.model)
    params = {name: value for name, value in chat_request.params.items() if value is not None}
    params = effort.openai_fields(params, quirks)
    if chat_request.extra:
        params = {**chat_request.extra, **params}
    if chat_request.cache_key and quirks.takes_cache_key:
        params.setdefault("prompt_cache_key", chat_request.cache_key)
    if not quirks.marks_cache:
        params.pop(FIELD, None)
    params = {name: value for name, value in params.items() if name not in left_out(quirks)}
    streamed = chat_request.stream or quirks.streams_only
    if quirks.thinking_off_when_not_streaming and not streamed:
        # a request with thinking is sent as a stream, which is decoded as a whole response all the same
        streamed = params.get("enable_thinking") is True
        if not streamed:
            params["enable_thinking"] = False
    _set_stream_options(params, quirks, streamed)
    _set_names(params, quirks)
    if tools := request_parts.tools_for(chat_request.tools, "openai"):
        params["tools"] = [_tool(tool, quirks) for tool in tools]
        if (choice := request_parts.choice_for(chat_request.tool_choice, tools)) is not None:
            params["tool_choice"] = choice
    else:
        params.pop("parallel_tool_calls", None)
    body = {
        **params,
        "model": chat_request.model,
        "messages": _messages(chat_request, quirks),
        "stream": streamed,
    }
    sent = headers(chat_request.api_key, quirks, streamed=streamed)
    return UpstreamRequest(urls.chat_url(chat_request.base_url), sent, msgspec.json.encode(body))


def headers(api_key: str, quirks: Quirks, *, streamed: bool) -> dict[str, str]:
    """The headers of a request, with the API key."""
    key = api_key.strip()
    if quirks.key_header == "api-key":
        return request_parts.headers(streamed, api_key=key)
    return request_parts.headers(streamed, Authorization=f"Bearer {key}" if key else "")


def fetches(part: Image | File, quirks: Quirks) -> bool:
    """Whether a provider fetches an image or document by its address: images only."""
    return isinstance(part, Image) and quirks.takes_addresses


def is_at(host: str, path: str) -> bool:
    """Whether a base URL can only be of OpenAI's format, whose host may offer other formats as well."""
    return path.endswith("/chat/completions")


def _set_stream_options(params: JsonObject, quirks: Quirks, streamed: bool) -> None:
    options = params.pop("stream_options", None)
    if streamed and quirks.stream_options:
        params["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}


def _set_names(params: JsonObject, quirks: Quirks) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        if name in params and name != quirks.max_tokens_field:
            params.setdefault(quirks.max_tokens_field, params.pop(name))
    if not quirks.sends_temperature:
        for name in SAMPLING:
            params.pop(name, None)
    if isinstance(stop := params.get("stop"), list) and 0 < quirks.most_stops < len(stop):
        params["stop"] = stop[: quirks.most_stops]


def _tool(tool: JsonObject, quirks: Quirks) -> JsonObject:
    function = request_parts.function_of(tool)
    if not takes_marks(quirks) and (FIELD in tool or FIELD in function):
        function = unmarked(function)
        tool = {**unmarked(tool), "function": function}
    if "strict" in function and not request_parts.sends_strict(quirks):
        function = {name: value for name, value in function.items() if name != "strict"}
        tool = {**tool, "function": function}
    parameters = function.get("parameters")
    if not isinstance(parameters, dict):
        return tool
    return {**tool, "function": {**function, "parameters": of_object_decoded(parameters)}}


def left_out(quirks: Quirks) -> tuple[str, ...]:
    """The fields that are not sent: those of other APIs to a provider that refuses them, and those that it
    was seen to refuse."""
    return quirks.left_out if quirks.takes_extensions else (*quirks.left_out, "thinking", "top_k")


def _messages(chat_request: ChatRequest, quirks: Quirks) -> list[Any]:
    messages = messages_for(with_marks(chat_request, quirks), "openai", partial(_is_taken, quirks))
    if quirks.system_role == "user":
        messages = request_parts.with_instructions_in_user_message(messages)
    # where one text is marked all are parts: another turn marks others
    as_parts = quirks.marks_cache or any(each.of_kind(CachePoint) for each in messages)
    if all(map(_is_plain, messages)) and quirks.system_role != "developer" and not as_parts:
        return messages
    return list(_mapped(messages, chat_request.model, quirks, as_parts))


def _is_taken(quirks: Quirks, part: File | Audio) -> bool:
    """Whether a document or recording goes out as it is: of documents only PDFs, and none by address."""
    if isinstance(part, Audio):
        return quirks.takes_audio and part.media_type in _AUDIO
    return quirks.takes_files and part.media_type == PDF and bool(part.data)


def _is_plain(message: Message) -> bool:
    """Whether its fields are those of OpenAI's format, as with most messages."""
    return (
        isinstance(message.content, str)
        and not message.tool_call_id
        and not message.model
        and message.role != "developer"
    )


def _mapped(messages: list[Message], model: str, quirks: Quirks, as_parts: bool) -> Iterator[JsonObject]:
    shown: list[JsonObject] = []  # by tools, whose messages can have text only
    for message in messages:
        if shown and message.role != "tool":
            yield {"role": "user", "content": shown}
            shown = []
        if message.role == "tool":
            shown += [part for part in map(_part, message.parts) if part and part["type"] != "text"]
            yield {"role": "tool", "tool_call_id": message.tool_call_id, "content": message.text}
        elif message.role in request_parts.INSTRUCTIONS:
            yield {"role": quirks.system_role, "content": _content(message, as_parts)}
        else:
            yield _message(message, model, quirks, as_parts)
    if shown:
        yield {"role": "user", "content": shown}


def _message(message: Message, model: str, quirks: Quirks, as_parts: bool) -> JsonObject:
    result: JsonObject = {"role": message.role, "content": _content(message, as_parts)}
    if message.role == "assistant":
        result |= state_fields.message_fields(message, model, quirks)
    if tool_calls := message.tool_calls:
        result["content"] = result["content"] or None
        signatures = state_fields.call_signatures(message, model, quirks)
        result["tool_calls"] = list(map(_tool_call, tool_calls, signatures))
    return result


def _tool_call(call: ToolCall, signature: str) -> JsonObject:
    # empty arguments are no JSON, and servers that decode them fail
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    signed = {"extra_content": state_fields.with_signature(signature)} if signature else {}
    return {"id": call.id, "type": "function", "function": function, **signed}


def _content(message: Message, as_parts: bool) -> str | list[JsonObject]:
    """A text, if there is nothing else: most providers take a list of parts for images only, and some none at
    all. The assistant's images are refused."""
    content: list[JsonObject] = []
    for part in message.parts:
        if isinstance(part, CachePoint):
            content[-1:] = [marked(each, part) for each in content[-1:]]
        elif encoded := _part(part):
            content.append(encoded)
    says_texts_only = message.role != "user"
    if says_texts_only:
        content = [part for part in content if part["type"] == "text"]
    if content and as_parts:
        return content
    if says_texts_only:
        return request_parts.text_without_images(message)
    return message.text if all(part["type"] == "text" for part in content) else content


def _part(part: Part) -> JsonObject | None:
    """A part of a message's content; None for what has another place, and for empty texts."""
    match part:
        case TextPart(text) if text:
            return {"type": "text", "text": text}
        case Image(media_type, data, url):
            url = url or f"data:{media_type};base64,{request_parts.base64_of(data)}"
            return {"type": "image_url", "image_url": {"url": url}}
        case File(media_type, data, _, name):
            url = f"data:{media_type};base64,{request_parts.base64_of(data)}"
            return {"type": "file", "file": {"filename": name or UNNAMED, "file_data": url}}
        case Audio(media_type, data):
            recording = {"data": request_parts.base64_of(data), "format": _AUDIO[media_type]}
            return {"type": "input_audio", "input_audio": recording}
        case NativeBlock(_, block):
            return block
    return None

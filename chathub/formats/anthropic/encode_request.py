"""Encodes requests in Anthropic's format.

Sources: Anthropic's API reference ("Messages", "Vision", "Tool use", "Extended thinking"). Unlike in
OpenAI's format, user and assistant alternate strictly, the user begins, instructions are outside the
messages, and the length of the reply is required.
"""

import re

import msgspec

from chathub.formats import request_parts, structured_output, urls
from chathub.formats.anthropic import cache_markers, thinking
from chathub.formats.anthropic.system import system_blocks
from chathub.formats.anthropic.urls import chat_url
from chathub.formats.cache_points import FIELD, marked, points_in
from chathub.formats.call_ids import with_unique_ids
from chathub.formats.loose_json import as_object
from chathub.formats.media import PDF
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
    Thought,
    ToolCall,
    UpstreamRequest,
)
from chathub.formats.quirks.table import Quirks, quirks_of
from chathub.formats.schema_repair import of_object_decoded
from chathub.formats.stand_ins import messages_for
from chathub.schemas.json import JsonObject

VERSION = "2023-06-01"

# fields that form the reply and that the format has not (``needs``)
LACKED_FIELDS: tuple[str, ...] = ("seed", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs")

Block = JsonObject

_BAD_IN_ID = re.compile(r"[^a-zA-Z0-9_-]")
_STAND_IN = "…"  # in place of a missing first user message: an empty one is refused


def encode_request(chat_request: ChatRequest, quirks: Quirks | None = None) -> UpstreamRequest:
    """The HTTP request to the provider. Raises ``ValueError`` when the base URL is unfit (``urls.origin``).

    The base URL may end in ``/v1``, in ``/v1/messages`` or before either. Only parameters of this API are
    sent; ``top_k`` is Anthropic's own and is not changed.
    """
    quirks = quirks or quirks_of(urls.hostname(chat_request.base_url), chat_request.model)
    streamed = chat_request.stream or quirks.streams_only
    asked = messages_for(chat_request.messages, "anthropic", _is_taken)
    if not request_parts.has_question(asked):
        # instructions alone are the question
        asked = request_parts.with_instructions_in_user_message(asked)
    messages = _messages(with_unique_ids(asked), chat_request.model, quirks)
    sent = request_parts.params_of(chat_request)
    body: JsonObject = {"model": chat_request.model, "messages": messages, "stream": streamed}
    if structured_output.wants_json_only(sent.get("response_format")):
        asked = [*asked, Message("system", structured_output.JSON_ONLY)]
    if system := system_blocks(asked):
        body["system"] = system
    body |= _parameters(sent, quirks, may_think=thinking.may_think(messages))
    if output_format := structured_output.for_anthropic(sent.get("response_format")):
        body["output_config"] = {**body.get("output_config", {}), "format": output_format}
    if tools := request_parts.tools_for(chat_request.tools, "anthropic"):
        body["tools"] = [_tool(tool, quirks) for tool in tools]
        choice = request_parts.choice_for(chat_request.tool_choice, tools)
        if choice := _tool_choice(choice, sent, thinks=_thinks(body)):
            body["tool_choice"] = choice
    if FIELD in quirks.left_out:
        cache_markers.remove_markers(body)
    else:
        cache_markers.set_markers(body, points_in(sent.get(FIELD)))
    body = {name: value for name, value in body.items() if name not in quirks.left_out}
    sent = headers(chat_request.api_key, quirks, streamed=streamed)
    return UpstreamRequest(chat_url(chat_request.base_url), sent, msgspec.json.encode(body))


def headers(api_key: str, quirks: Quirks, *, streamed: bool) -> dict[str, str]:
    """The headers of a request, with the API key."""
    return request_parts.headers(streamed, x_api_key=api_key.strip(), anthropic_version=VERSION)


def _is_taken(part: File | Audio) -> bool:
    """Whether a document or recording goes out as it is: PDFs and texts, and no recording."""
    if isinstance(part, Audio):
        return False
    return bool(part.url) or part.media_type in (PDF, "text/plain")


def fetches(part: Image | File, quirks: Quirks) -> bool:
    """Whether a provider fetches an image or document by its address: over https only."""
    return part.url[:6].lower() == "https:" and quirks.takes_addresses


def _thinks(body: JsonObject) -> bool:
    return as_object(body.get("thinking")).get("type") in ("enabled", "adaptive")


def _parameters(sent: JsonObject, quirks: Quirks, *, may_think: bool) -> JsonObject:
    settings = thinking.settings(sent, quirks, request_parts.max_tokens(sent), may_think=may_think)
    params: JsonObject = {"max_tokens": settings.max_tokens}
    if settings.thinking:
        params["thinking"] = settings.thinking
    if settings.output_config:
        params["output_config"] = settings.output_config
    if stops := request_parts.stops(sent):
        params["stop_sequences"] = stops[: quirks.most_stops or None]
    # a model that thinks accepts no other temperature than its own
    if quirks.sends_temperature and not _thinks(params):
        if isinstance(temperature := sent.get("temperature"), int | float):
            params["temperature"] = min(max(temperature, 0), 1)
        # newer models refuse both at once, and Anthropic advises against both for all models
        elif "top_p" in sent:
            params["top_p"] = sent["top_p"]
        if "top_k" in sent:
            params["top_k"] = sent["top_k"]
    if isinstance(user := sent.get("user"), str) and user:
        params["metadata"] = {"user_id": user}
    return params


def _tool(tool: JsonObject, quirks: Quirks) -> JsonObject:
    function = request_parts.function_of(tool)
    if not function:  # one of Anthropic's own, such as web_search_20250305
        return tool
    schema = of_object_decoded(as_object(function.get("parameters")), needs_properties=False)
    result = {"name": function["name"], "input_schema": schema}
    if function.get("strict") is True and request_parts.sends_strict(quirks):
        result |= {"input_schema": structured_output.closed(schema), "strict": True}
    if function.get("description"):
        result["description"] = function["description"]
    for point in points_in(tool.get(FIELD) or function.get(FIELD)):
        result = marked(result, point)
    return result


def _tool_choice(chosen: object, sent: JsonObject, thinks: bool) -> JsonObject:
    """Empty for the default. A model that thinks cannot be forced to call a tool."""
    choice: JsonObject = {}
    if chosen == "none":
        return {"type": "none"}
    if chosen == "auto":
        choice = {"type": "auto"}
    elif name := request_parts.chosen_function(chosen):
        choice = {"type": "tool", "name": name}
    elif chosen == "required":
        choice = {"type": "any"}
    if thinks and choice:
        choice = {"type": "auto"}
    if sent.get("parallel_tool_calls") is False:
        choice = {"type": "auto", **choice, "disable_parallel_tool_use": True}
    return choice


def _messages(messages: list[Message], model: str, quirks: Quirks) -> list[JsonObject]:
    turns: list[tuple[str, list[Block]]] = []
    for message in messages:
        if message.role in request_parts.INSTRUCTIONS:
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if not (blocks := _blocks(message, model, quirks)):
            continue
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    if not turns or turns[0][0] == "assistant":
        turns.insert(0, ("user", [_text(_STAND_IN)]))
    for role, blocks in turns:
        if role == "user":
            # tool results must directly follow their calls
            blocks.sort(key=lambda block: block["type"] != "tool_result")
    if turns and turns[-1][0] == "assistant":
        _trim(turns[-1][1][-1])
    # where messages of a role are marked all are blocks: another turn marks others
    roles = {"user", *(message.role for message in messages if message.of_kind(CachePoint))}
    return [
        {"role": role, "content": blocks if role in roles else _shortest(blocks)} for role, blocks in turns
    ]


def _blocks(message: Message, model: str, quirks: Quirks) -> list[Block]:
    if message.role == "tool":
        content = [block for part in message.parts for block in _block(part)]
        call_id = _id(message.tool_call_id)
        result = {"type": "tool_result", "tool_use_id": call_id, "content": _shortest(content)}
        points = message.of_kind(CachePoint)
        return [marked(result, points[-1]) if points else result]
    is_reply = message.role == "assistant"
    made_it, blocks = bool(message.model) and message.model == model, list[Block]()
    for part in message.parts:
        if isinstance(part, Thought):
            blocks += thinking.blocks_of(part, quirks, made_it=made_it)
        elif isinstance(part, CachePoint):
            _mark(blocks, part)
        elif not (is_reply and isinstance(part, Image)):  # those of the assistant are refused
            blocks += _block(part)
    if not is_reply:
        return blocks
    # thinking alone is no message
    if any(block["type"] not in thinking.TYPES for block in blocks):
        return blocks
    return [*blocks, _text(request_parts.text_without_images(message))] if message.images else []


def _mark(blocks: list[Block], point: CachePoint) -> None:
    """Mark the last block for the cache; thinking cannot be marked."""
    if blocks and blocks[-1]["type"] not in thinking.TYPES:
        blocks[-1] = marked(blocks[-1], point)


def _block(part: Part) -> list[Block]:
    """A part as a block; a blank text is refused."""
    match part:
        case TextPart(text) if text.strip():
            return [_text(text)]
        case Image(media_type, data, url):
            return [{"type": "image", "source": _source(media_type, data, url)}]
        case File():
            return [_document(part)]
        case NativeBlock(_, block):
            return [block]
        case ToolCall(call_id, name, arguments):
            values = request_parts.arguments_of(arguments)
            return [{"type": "tool_use", "id": _id(call_id), "name": name, "input": values}]
    return []


def _document(file: File) -> Block:
    title = {"title": file.name} if file.name else {}
    if file.media_type == "text/plain" and not file.url:
        text = file.data.decode("utf-8", "replace")
        return {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": text},
            **title,
        }
    return {"type": "document", "source": _source(file.media_type, file.data, file.url), **title}


def source_of(part: Image | File) -> JsonObject:
    """The ``source`` of the block of an image or document."""
    block = _document(part) if isinstance(part, File) else _block(part)[0]
    return as_object(block["source"])


def _source(media_type: str, data: bytes, url: str) -> Block:
    if url:
        return {"type": "url", "url": url}
    return {"type": "base64", "media_type": media_type, "data": request_parts.base64_of(data)}


def _text(text: str) -> Block:
    return {"type": "text", "text": text}


def _shortest(blocks: list[Block]) -> str | list[Block]:
    """A single text block as a string, which means the same."""
    if not blocks:
        return ""
    return str(blocks[0]["text"]) if len(blocks) == 1 and blocks[0].keys() == {"type", "text"} else blocks


def _trim(block: Block) -> None:
    """Remove blanks at the end: the assistant's last message is the beginning of the reply, and must not end
    in one."""
    if block["type"] == "text":
        block["text"] = block["text"].rstrip()


def _id(call_id: str) -> str:
    """A call's id in the characters that Anthropic allows; ids of other providers contain dots and colons."""
    return _BAD_IN_ID.sub("_", call_id) or "_"

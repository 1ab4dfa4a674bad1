"""Encodes requests in Anthropic's format.

Sources: Anthropic's API reference ("Messages", "Vision", "Tool use", "Extended thinking"). Unlike in
OpenAI's format, user and assistant alternate strictly, the user begins, instructions are outside the
messages, and the length of the reply is required.
"""

import re
from urllib.parse import urlsplit

import msgspec

from chathub.formats import request_parts, urls
from chathub.formats.anthropic import thinking
from chathub.formats.loose_json import as_object
from chathub.formats.messages import (
    ChatRequest,
    Image,
    Message,
    Part,
    TextPart,
    Thought,
    ToolCall,
    UpstreamRequest,
)
from chathub.formats.quirks import Quirks, quirks_of
from chathub.schemas.json import JsonObject

VERSION = "2023-06-01"

Block = JsonObject

_ITS_PATH = re.compile(r"/anthropic(/v1)?$|/v1/messages$")
_BAD_IN_ID = re.compile(r"[^a-zA-Z0-9_-]")
_STAND_IN = "…"  # in place of a missing first user message: an empty one is refused


def encode_request(chat_request: ChatRequest, quirks: Quirks | None = None) -> UpstreamRequest:
    """The HTTP request to the provider. Raises ``ValueError`` when the base URL is unfit (``urls.origin``).

    The base URL may end in ``/v1``, in ``/v1/messages`` or before either. Only parameters of this API are
    sent; ``top_k`` is Anthropic's own and is not changed.
    """
    quirks = quirks or quirks_of(urls.hostname(chat_request.base_url), chat_request.model)
    streamed = chat_request.stream or quirks.streams_only
    messages, sent = _messages(chat_request, quirks), request_parts.params_of(chat_request)
    body: JsonObject = {"model": chat_request.model, "messages": messages, "stream": streamed}
    if system := request_parts.instructions(chat_request.messages):
        body["system"] = system
    body |= _parameters(sent, quirks, may_think=thinking.may_think(messages))
    if tools := [_tool(tool) for tool in chat_request.tools]:
        body["tools"] = tools
        if choice := _tool_choice(chat_request, thinks=_thinks(body)):
            body["tool_choice"] = choice
    key = chat_request.api_key.strip()
    headers = request_parts.headers(streamed, x_api_key=key, anthropic_version=VERSION)
    return UpstreamRequest(_url(chat_request.base_url), headers, msgspec.json.encode(body))


def _url(base_url: str) -> str:
    parts, path = request_parts.split_base(base_url)
    if not path.endswith("/messages"):
        path = request_parts.with_version(path, "/v1") + "/messages"
    return request_parts.join(parts, path, parts.query)


def models_url(base_url: str) -> str:
    """Where the models are listed. Raises ``ValueError`` (``urls.origin``)."""
    parts = urlsplit(_url(base_url))
    return request_parts.join(parts, parts.path.removesuffix("/messages") + "/models", "limit=1000")


def is_at(host: str, path: str) -> bool:
    """Whether a base URL is Anthropic's; other providers offer its format under a path of its own."""
    return host == "api.anthropic.com" or _ITS_PATH.search(path) is not None


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
        params["stop_sequences"] = stops
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


def _tool(tool: JsonObject) -> JsonObject:
    function = request_parts.function_of(tool)
    if not function:  # one of Anthropic's own, such as web_search_20250305
        return tool
    schema = as_object(function.get("parameters"))
    result = {"name": function["name"], "input_schema": {"type": "object", **schema}}
    if function.get("description"):
        result["description"] = function["description"]
    return result


def _tool_choice(chat_request: ChatRequest, thinks: bool) -> JsonObject:
    """Empty for the default. A model that thinks cannot be forced to call a tool."""
    choice: JsonObject = {}
    if chat_request.tool_choice == "none":
        return {"type": "none"}
    if chat_request.tool_choice == "auto":
        choice = {"type": "auto"}
    elif name := request_parts.chosen_function(chat_request.tool_choice):
        choice = {"type": "tool", "name": name}
    elif chat_request.tool_choice == "required":
        choice = {"type": "any"}
    if thinks and choice:
        choice = {"type": "auto"}
    if request_parts.params_of(chat_request).get("parallel_tool_calls") is False:
        choice = {"type": "auto", **choice, "disable_parallel_tool_use": True}
    return choice


def _messages(chat_request: ChatRequest, quirks: Quirks) -> list[JsonObject]:
    turns: list[tuple[str, list[Block]]] = []
    for message in chat_request.messages:
        if message.role in request_parts.INSTRUCTIONS:
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if not (blocks := _blocks(message, chat_request.model, quirks)):
            continue
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    if turns and turns[0][0] == "assistant":
        turns.insert(0, ("user", [_text(_STAND_IN)]))
    for role, blocks in turns:
        if role == "user":
            # tool results must directly follow their calls
            blocks.sort(key=lambda block: block["type"] != "tool_result")
    if turns and turns[-1][0] == "assistant":
        _trim(turns[-1][1][-1])
    return [{"role": role, "content": _shortest(blocks)} for role, blocks in turns]


def _blocks(message: Message, model: str, quirks: Quirks) -> list[Block]:
    if message.role == "tool":
        content = _content(message)
        return [
            {"type": "tool_result", "tool_use_id": _id(message.tool_call_id), "content": _shortest(content)}
        ]
    if message.role != "assistant":
        return _content(message)
    made_it, blocks = bool(message.model) and message.model == model, list[Block]()
    for part in message.parts:
        if isinstance(part, Thought):
            blocks += thinking.blocks_of(part, quirks, made_it=made_it)
        elif not isinstance(part, Image):  # those of the assistant are refused
            blocks += _block(part)
    # thinking alone is no message
    if any(block["type"] not in thinking.TYPES for block in blocks):
        return blocks
    return [*blocks, _text(request_parts.text_without_images(message))] if message.images else []


def _content(message: Message) -> list[Block]:
    """The parts in their order; a blank text is refused."""
    return [block for part in message.parts for block in _block(part)]


def _block(part: Part) -> list[Block]:
    match part:
        case TextPart(text) if text.strip():
            return [_text(text)]
        case Image():
            return [_image(part)]
        case ToolCall(call_id, name, arguments):
            values = request_parts.arguments_of(arguments)
            return [{"type": "tool_use", "id": _id(call_id), "name": name, "input": values}]
    return []


def _image(image: Image) -> Block:
    if image.url:
        return {"type": "image", "source": {"type": "url", "url": image.url}}
    source = {"type": "base64", "media_type": image.media_type, "data": request_parts.base64_of(image)}
    return {"type": "image", "source": source}


def _text(text: str) -> Block:
    return {"type": "text", "text": text}


def _shortest(blocks: list[Block]) -> str | list[Block]:
    """A single text block as a string, which means the same."""
    if not blocks:
        return ""
    return str(blocks[0]["text"]) if len(blocks) == 1 and blocks[0]["type"] == "text" else blocks


def _trim(block: Block) -> None:
    """Remove blanks at the end: the assistant's last message is the beginning of the reply, and must not end
    in one."""
    if block["type"] == "text":
        block["text"] = block["text"].rstrip()


def _id(call_id: str) -> str:
    """A call's id in the characters that Anthropic allows; ids of other providers contain dots and colons."""
    return _BAD_IN_ID.sub("_", call_id) or "_"

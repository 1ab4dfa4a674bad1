"""The shared parts of encoding requests: URLs, headers, and reading parameters in OpenAI's shape."""

import json
import re
from base64 import b64encode
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

from msgspec.structs import replace

from chathub.formats import urls
from chathub.formats.loose_json import as_object, as_string
from chathub.formats.messages import ChatRequest, Message, TextPart
from chathub.formats.quirks.table import Quirks
from chathub.schemas.json import JsonObject
from chathub.schemas.readable import readable

INSTRUCTIONS = ("system", "developer")

_VERSION = re.compile(r"/v\d+[a-z0-9]*$")
# how Anthropic names its own tools: web_search_20250305
_DATED = re.compile(r"_20\d{6}$")


def split_base(base_url: str) -> tuple[SplitResult, str]:
    """The parts of a base URL, and its path without a slash at the end. Raises ``ValueError`` (``urls``)."""
    host = urls.hostname(base_url)
    parts = urlsplit(base_url.strip())
    if not parts.netloc.isascii():
        parts = parts._replace(netloc=host if parts.port is None else f"{host}:{parts.port}")
    return parts, parts.path.rstrip("/")


def with_version(path: str, version: str) -> str:
    """``path`` if it ends in a version, else with ``version`` (``/v1``) appended."""
    return path if _VERSION.search(path) else path + version


def join(parts: SplitResult, path: str, query: str) -> str:
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))


def headers(streamed: bool, **own: str) -> dict[str, str]:
    """The headers of every request, and those of ``own`` (``_`` for ``-``) that are not empty."""
    common = {
        "Content-Type": "application/json",
        "Accept": "text/event-stream" if streamed else "application/json",
        "Accept-Encoding": "identity",
    }
    # without a key there is no header: some proxies refuse an empty one
    return common | {name.replace("_", "-"): value for name, value in own.items() if value}


def params_of(chat_request: ChatRequest) -> JsonObject:
    """All parameters that were set, under OpenAI's names. Other APIs refuse unknown ones, so each format
    picks its own."""
    return {
        name: value
        for name, value in {**chat_request.extra, **chat_request.params}.items()
        if value is not None
    }


def max_tokens(params: JsonObject) -> int | None:
    for name in ("max_tokens", "max_completion_tokens"):
        value = params.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


def stops(params: JsonObject) -> list[str]:
    """The ``stop`` words that are not blank: Anthropic refuses blank ones."""
    stop = params.get("stop")
    words = stop if isinstance(stop, list) else [stop]
    return [word for word in words if isinstance(word, str) and word.strip()]


def instructions(messages: list[Message]) -> str:
    """All system messages as one text."""
    return "\n\n".join(text for each in messages if each.role in INSTRUCTIONS and (text := each.text).strip())


def with_instructions_in_user_message(messages: list[Message]) -> list[Message]:
    """``messages`` without system messages: their text is put before the first user message."""
    text = instructions(messages)
    others = [each for each in messages if each.role not in INSTRUCTIONS]
    if not text:
        return others
    for number, each in enumerate(others):
        if each.role == "user":
            return [*others[:number], _preceded(text, each), *others[number + 1 :]]
    return [Message("user", text), *others]


def _preceded(text: str, message: Message) -> Message:
    """A message with a text before its own."""
    if isinstance(message.content, str):
        return replace(message, content=f"{text}\n\n{message.content}" if message.content else text)
    parts = list(message.content)
    for number, part in enumerate(parts):
        if isinstance(part, TextPart):
            parts[number] = TextPart(f"{text}\n\n{part.text}")
            return replace(message, content=parts)
    return replace(message, content=[TextPart(text), *parts])


def text_without_images(message: Message) -> str:
    """The text of a message of the assistant's, in formats that take no images of its own; a message of
    nothing but images is not left out, for roles must alternate."""
    return message.text or ("[image]" if message.images and not message.tool_calls else "")


def function_of(tool: JsonObject) -> JsonObject:
    """The ``function`` of a tool in OpenAI's shape; empty for other tools."""
    function = as_object(tool.get("function"))
    return function if as_string(function.get("name")) else {}


def tools_for(tools: list[JsonObject], wire_format: str) -> list[JsonObject]:
    """The functions among the tools, and the tools that providers of this format run themselves. Another
    format's own tools would be refused."""
    return [tool for tool in tools if _format_of(tool) in ("", wire_format)]


def sends_strict(quirks: Quirks) -> bool:
    """Whether ``strict`` of tools is sent: that calls must fit the schema."""
    return quirks.takes_strict and not quirks.drops_strict


def _format_of(tool: JsonObject) -> str:
    """The format whose providers run this tool; empty for a function, which the client runs."""
    kind = tool.get("type")
    if kind in (None, "function") and function_of(tool):
        return ""
    if not isinstance(kind, str):
        return "gemini"
    return "anthropic" if _DATED.search(kind) or kind == "mcp_toolset" else "openai"


def choice_for(tool_choice: object, tools: list[JsonObject]) -> Any:
    """``tool_choice``; None if there are no tools, or if it names one that is left out."""
    if not tools:
        return None
    name = chosen_function(tool_choice)
    names = [as_string(function_of(tool).get("name")) for tool in tools]
    return None if name and name not in names else tool_choice


def chosen_function(tool_choice: object) -> str:
    """The function that ``tool_choice`` requires; empty for none."""
    return as_string(as_object(as_object(tool_choice).get("function")).get("name"))


def arguments_of(text: str) -> JsonObject:
    """A tool call's arguments; empty for text that is no JSON object (a model may write anything)."""
    return as_object(json_in(text))


def json_in(text: str) -> Any:
    """The value of JSON that a model or a program wrote, with U+FFFD for halves of surrogate pairs; None for
    any other text."""
    try:
        return json.loads(readable(text.encode("utf-8", "surrogatepass")), strict=False)
    except (ValueError, RecursionError):
        return None


def base64_of(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def has_question(messages: list[Message]) -> bool:
    """Whether there is any message besides instructions."""
    return any(each.role not in INSTRUCTIONS for each in messages)

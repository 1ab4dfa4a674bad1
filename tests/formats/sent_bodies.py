"""The bodies that go to a provider of any format for a client of either: forwarded or translated."""

import json
from typing import Any

import pytest

from chathub.formats.anthropic.client import AnthropicClient
from chathub.formats.messages import ChatRequest, Endpoint
from chathub.formats.openai.client import OpenAIClient
from chathub.formats.quirks.table import Quirks
from chathub.formats.registry import PROVIDER_FORMATS

CLIENTS: dict[str, Any] = {"openai": OpenAIClient, "anthropic": AnthropicClient}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
GIF = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
ASKED = {"role": "user", "content": "q"}
FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {}}}
TOOL = {"type": "function", "function": FUNCTION}
OWN_TOOL = {"name": "f", "input_schema": {"type": "object", "properties": {}}}
every_provider = pytest.mark.parametrize("protocol", PROVIDER_FORMATS)


def sent(client: str, protocol: str, body: dict[str, Any] | bytes, quirks: Quirks | None = None) -> Any:
    """The body that goes to a provider of a format, as its client's format is forwarded or translated."""
    raw = body if isinstance(body, bytes) else json.dumps({"model": "m", **body}).encode()
    request = CLIENTS[client](raw)
    known = quirks or Quirks()
    if client == protocol:
        at = Endpoint("https://x.example/v1", wire_format=protocol)
        return json.loads(request.forwarded(request.fields, at, "m", {}, known, None, stream=False).body)
    decoded = request.decode_request()
    chat_request = ChatRequest(
        "https://x.example", "m", decoded.messages, stream=False, params=decoded.params,
        tools=decoded.tools, tool_choice=decoded.tool_choice, extra=decoded.extra,
    )  # fmt: skip
    return json.loads(PROVIDER_FORMATS[protocol].encode_request(chat_request, known).body)


def openai(protocol: str, *messages: Any, quirks: Quirks | None = None, **fields: Any) -> Any:
    return sent("openai", protocol, {"messages": list(messages) or [ASKED], **fields}, quirks)


def anthropic(protocol: str, *messages: Any, quirks: Quirks | None = None, **fields: Any) -> Any:
    return sent(
        "anthropic", protocol, {"max_tokens": 9, "messages": list(messages) or [ASKED], **fields}, quirks
    )


def call(call_id: str = "c1") -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": call_id, "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }


def result(call_id: str = "c1", content: Any = "r") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def use(*ids: str) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": each, "name": "f", "input": {}} for each in ids],
    }


def used(*ids: str, content: Any = "r") -> dict[str, Any]:
    blocks = [{"type": "tool_result", "tool_use_id": each, "content": content} for each in ids]
    return {"role": "user", "content": blocks}

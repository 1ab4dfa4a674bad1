"""Requests that are forwarded as their client wrote them."""

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from chathub.formats.messages import ChatRequest, Endpoint, Message, UpstreamRequest
from chathub.formats.registry import format_named

# another model: OpenRouter's, and the fallbacks of several gateways
_OTHER_MODELS = ("models", "route", "provider", "preset", "fallbacks")
# a dearer service: plugins of OpenRouter, tiers of OpenAI and Anthropic, paid search of OpenAI, fast mode and
# places of Anthropic
_DEARER = ("plugins", "service_tier", "web_search_options", "speed", "inference_geo")
_EXTRAS = frozenset({*_OTHER_MODELS, *_DEARER})
# bytes
_LONG = 64 * 1024


def headers_for(endpoint: Endpoint) -> dict[str, str]:
    """The headers of the endpoint's dialect, its key among them."""
    return empty_chat(endpoint).headers


def empty_chat(endpoint: Endpoint, *, stream: bool = False) -> UpstreamRequest:
    """Where chats go in the endpoint's dialect and with which headers; the body is of no use. (Not
    Gemini's: its address names the model.)"""
    call = ChatRequest(endpoint.base_url, "m", [Message("user", "x")], endpoint.api_key, stream=stream)
    return format_named(endpoint.wire_format).encode_request(call)


def adapted(
    fields: Mapping[str, Raw],
    model: str,
    *,
    wants_usage: bool = False,
    limits: Mapping[str, int] | None = None,
) -> bytes:
    """A client's fields as a body for the endpoint: their values as they came, but for the model's name in
    our spelling, a wish for the usage, without which the bill would be a guess, and ``limits`` that are to
    be set."""
    changes = {name: Raw(b"%d" % number) for name, number in (limits or {}).items()}
    changes["model"] = Raw(msgspec.json.encode(model))
    if wants_usage:
        options = msgspec.json.decode(fields.get("stream_options") or b"{}") or {}
        changes["stream_options"] = Raw(msgspec.json.encode({**options, "include_usage": True}))
    return _written({**fields, **changes})


def _written(fields: Mapping[str, Raw]) -> bytes:
    """Fields as a JSON object. Long ones come last and are copied once: an encoder that makes room for them
    as it goes takes five times as long."""
    long = {name: raw for name, raw in fields.items() if memoryview(raw).nbytes > _LONG}
    head = msgspec.json.encode({name: raw for name, raw in fields.items() if name not in long})
    pieces: list[bytes | Raw] = [head[:-1]]
    for name, raw in long.items():
        pieces += (b"," if len(pieces) > 1 or len(head) > 2 else b"", msgspec.json.encode(name), b":", raw)
    return b"".join([*pieces, b"}"])


def without_extras(fields: Mapping[str, Raw]) -> dict[str, Raw]:
    """Fields but for those that choose another model, another provider, tools of the provider's, or a dearer
    service; in whichever case."""
    return {name: value for name, value in fields.items() if name.casefold() not in _EXTRAS}


def passed_on(headers: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    """The client's own headers that its provider should see."""
    return {name: headers[name] for name in names if name in headers}

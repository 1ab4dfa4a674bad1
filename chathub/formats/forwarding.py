"""Requests that are forwarded as their client wrote them."""

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from chathub.formats import urls
from chathub.formats.messages import Endpoint
from chathub.formats.quirks.table import quirks_of
from chathub.formats.registry import format_named

# fields that choose another model: OpenRouter's, and the fallbacks of several gateways
_OTHER_MODELS = ("models", "route", "provider", "preset", "fallbacks")
# fields that choose a more expensive service: plugins of OpenRouter, tiers of OpenAI and Anthropic, paid
# searches of OpenAI, xAI and Qwen, fast mode and regions of Anthropic
_MORE_EXPENSIVE = ("plugins", "service_tier", "web_search_options", "speed", "inference_geo")
_SEARCHES = ("search_parameters", "enable_search", "search_options", "web_search")
# fields that hold other ones: of gateways, and of Google's
_HOLDERS = ("extra_body", "provideroptions", "provider_options")
_EXTRAS = frozenset({*_OTHER_MODELS, *_MORE_EXPENSIVE, *_SEARCHES, *_HOLDERS})
# bytes of a long field, and the fields that grow from turn to turn
_LONG, _LAST = 64 * 1024, ("messages", "input")


def headers_for(endpoint: Endpoint) -> dict[str, str]:
    """The headers of requests in the endpoint's format, its API key among them. Raises ``ValueError`` where
    its base URL is unfit (``urls.origin``)."""
    quirks = quirks_of(urls.hostname(endpoint.base_url), "")
    return format_named(endpoint.wire_format).headers(endpoint.api_key, quirks, streamed=False)


def adapted(fields: Mapping[str, Raw], model: str, *, include_usage: bool = False) -> bytes:
    """A client's fields as a body for a provider: unchanged, except for the model's name, and with
    ``include_usage`` the request for the usage, without which the cost would be an estimate."""
    changes = {"model": Raw(msgspec.json.encode(model))}
    if include_usage:
        options = msgspec.json.decode(fields.get("stream_options") or b"{}") or {}
        changes["stream_options"] = Raw(msgspec.json.encode({**options, "include_usage": True}))
    return _written({**fields, **changes})


def with_stream(fields: Mapping[str, Raw], *, stream: bool) -> dict[str, Raw]:
    """The fields of a request whose reply is to come as a stream, or whole."""
    if stream:
        return {**fields, "stream": Raw(b"true")}
    return {name: value for name, value in fields.items() if name not in ("stream", "stream_options")}


def _written(fields: Mapping[str, Raw]) -> bytes:
    """Fields as a JSON object. Long ones come last and are copied once: an encoder whose buffer grows takes
    five times as long. So do short messages, for a body must begin as the one of the turn before."""
    long = {name: raw for name, raw in fields.items() if name in _LAST or memoryview(raw).nbytes > _LONG}
    head = msgspec.json.encode({name: raw for name, raw in fields.items() if name not in long})
    pieces: list[bytes | Raw] = [head[:-1]]
    for name, raw in long.items():
        pieces += (b"," if len(pieces) > 1 or len(head) > 2 else b"", msgspec.json.encode(name), b":", raw)
    return b"".join([*pieces, b"}"])


def without_extras(fields: Mapping[str, Raw]) -> dict[str, Raw]:
    """The fields of a request for media or vectors without those that choose another model, another provider
    or a more expensive service, in upper or lower case. (Their other fields are the providers' own; the
    prices of units and tokens cover them.)"""
    return {name: value for name, value in fields.items() if not is_extra(name)}


def plain(fields: Mapping[str, Raw], names: frozenset[str]) -> dict[str, Raw]:
    """The fields with these names: what a limited caller may send of a request for text."""
    return {name: value for name, value in fields.items() if name in names}


def is_extra(name: str) -> bool:
    """Whether a field chooses another model or a more expensive service."""
    return name.casefold() in _EXTRAS


def passed_on(headers: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    """The client's own headers that go to the provider."""
    return {name: headers[name] for name in names if name in headers}

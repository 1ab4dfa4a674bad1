"""Writes a client's request in Anthropic's format anew: with a provider's quirks, and all its fields."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from chathub.formats.anthropic.addresses import replace_parts
from chathub.formats.anthropic.thinking import converted
from chathub.formats.client_format import addressed_parts
from chathub.formats.messages import ChatRequest, Message
from chathub.formats.quirks.table import SAMPLING, Quirks
from chathub.formats.raw_json import ABSENT, first_of, is_null, raw, value_of

# bytes of a field that is read to learn from a refusal
_SHORT = 64 * 1024
_any = msgspec.json.Decoder(Any)
_texts = msgspec.json.Decoder(list[str])


def with_quirks(fields: Mapping[str, Raw], quirks: Quirks) -> dict[str, Raw]:
    """The fields as a provider with these quirks takes them."""
    better = converted(fields, quirks)
    better = {name: value for name, value in better.items() if name not in quirks.left_out}
    if not quirks.sends_temperature:
        better = {name: value for name, value in better.items() if name not in SAMPLING}
    if is_null(better.get("max_tokens", ABSENT)):
        better["max_tokens"] = raw(quirks.default_max_tokens)
    if quirks.most_stops and first_of(stop := better.get("stop_sequences", ABSENT)) == b"[":
        words = value_of(stop, _texts) or []
        if len(words) > quirks.most_stops:
            better["stop_sequences"] = raw(words[: quirks.most_stops])
    return better


def described(fields: Mapping[str, Raw], *, stream: bool) -> ChatRequest:
    """What a request holds, as far as refusals teach quirks: its short fields, and images and documents by
    address."""
    short = {
        name: value_of(value, _any)
        for name, value in fields.items()
        if name not in ("messages", "system") and memoryview(value).nbytes <= _SHORT
    }
    short["stop"] = short.pop("stop_sequences", None)
    parts = addressed_parts(fields.get("messages", ABSENT), replace_parts)
    return ChatRequest("", "", [Message("user", parts)], stream=stream, extra=short)

"""Writes a client's request of Responses anew for a provider that has them: with its quirks, and all fields
but those of what ChatHub keeps itself.

At the provider nothing is stored: ``store`` is always false, and what belongs to a stored response is left
out. So that reasoning is not lost, a model that encrypts it is asked to send it.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from chathub.formats import forwarding, urls
from chathub.formats.client_format import addressed_parts
from chathub.formats.loose_json import as_object
from chathub.formats.messages import ChatRequest, Endpoint, Message, UpstreamRequest
from chathub.formats.openai.encode_request import headers as headers_of
from chathub.formats.openai.encode_request import left_out
from chathub.formats.quirks.table import SAMPLING, Quirks
from chathub.formats.raw_json import ABSENT, raw, value_of
from chathub.formats.responses.input_addresses import replace_parts
from chathub.formats.responses.input_reasoning import for_provider

# a text in the last event of a stream, in the first ones, and nowhere else; and the last event of a whole one
LAST_EVENT = b'"response"'
IS_LAST_EVENT = re.compile(rb'"type"\s*:\s*"response\.(?:completed|incomplete|cancelled|done)"')

# what belongs to responses that are stored: here, not at the provider
_STORED = ("previous_response_id", "conversation", "background", "background_options")
_ENCRYPTED = "reasoning.encrypted_content"
# bytes of a field that is read to learn from a refusal
_SHORT = 64 * 1024

_any = msgspec.json.Decoder(Any)
_texts = msgspec.json.Decoder(list[str])


def encode_request(
    fields: Mapping[str, Raw],
    endpoint: Endpoint,
    model: str,
    quirks: Quirks,
    cap: int | None,
    *,
    stream: bool,
) -> UpstreamRequest:
    """The request for a provider; ``cap`` replaces the requested length of the reply."""
    changed = forwarding.with_stream(_unstored(fields), stream=stream)
    if cap is not None:
        changed["max_output_tokens"] = raw(cap)
    changed["input"] = for_provider(fields.get("input", ABSENT), quirks)
    changed = _with_encrypted_reasoning(changed, quirks)
    without = {*left_out(quirks), *(() if quirks.sends_temperature else SAMPLING)}
    kept = {name: value for name, value in changed.items() if name not in without and value != ABSENT}
    if "text" in without and (form := _form_of(changed.get("text", ABSENT))) is not None:
        kept["text"] = raw({"format": form})
    body = forwarding.adapted(kept, model)
    headers = headers_of(endpoint.api_key, quirks, streamed=stream)
    return UpstreamRequest(urls.responses_url(endpoint.base_url), headers, body)


def _form_of(text: Raw) -> object:
    """The form that the output must have, which is never left out; None for plain text."""
    given: Any = value_of(text, _any)
    form = as_object(as_object(given).get("format"))
    return form if form.get("type", "text") != "text" else None


def _unstored(fields: Mapping[str, Raw]) -> dict[str, Raw]:
    return {name: value for name, value in fields.items() if name not in _STORED} | {"store": raw(False)}


def _with_encrypted_reasoning(fields: dict[str, Raw], quirks: Quirks) -> dict[str, Raw]:
    """The fields with the request for the model's encrypted reasoning, if it gives that."""
    included = value_of(fields.get("include", ABSENT), _texts) or []
    if not quirks.encrypts_reasoning or _ENCRYPTED in included:
        return fields
    return {**fields, "include": raw([*included, _ENCRYPTED])}


def described(fields: Mapping[str, Raw], *, stream: bool) -> ChatRequest:
    """What a request holds, as far as refusals teach quirks: its short fields, and images by address."""
    short = {
        name: value_of(value, _any)
        for name, value in fields.items()
        if name != "input" and memoryview(value).nbytes <= _SHORT
    }
    images = addressed_parts(fields.get("input", ABSENT), replace_parts)
    return ChatRequest("", "", [Message("user", [*images])], stream=stream, extra=short)

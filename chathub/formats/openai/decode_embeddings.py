"""Reads requests and responses of the embeddings endpoint in OpenAI's format: their tokens, or the error in a
200.

Source: OpenAI's API reference ("Create embeddings").
"""

import json

import msgspec
from msgspec import Raw

from chathub.formats import loose_json as fields
from chathub.formats.events import Failure, Usage
from chathub.formats.failures import error_bodies
from chathub.formats.stream_decoder import UNREADABLE


class _Response(msgspec.Struct):
    # the vectors are passed on without being decoded
    data: msgspec.Raw
    usage: object = None


# what lists of numbers are made of
_NUMBERS = b"0123456789[], \t\r\n"


def only_token_ids(value: Raw) -> int | None:
    """How many tokens a field has that is lists of tokens; None for one that has texts."""
    sent = bytes(value)
    if sent.lstrip()[:1] != b"[" or sent.translate(None, _NUMBERS):
        return None
    return sent.count(b",") + 1


def decode_embedding_usage(body: bytes) -> Usage | Failure:
    """The usage in a response of the embeddings endpoint, or why it is no such response."""
    try:
        usage = msgspec.json.decode(body, type=_Response).usage
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _error_in(body)
    counts: dict[str, int] = {}
    fields.update_counts(counts, fields.as_object(usage))
    # Voyage counts the total alone, and all of it is prompt
    prompt = fields.read_usage(counts).prompt_tokens
    tokens = prompt or counts.get("total_tokens", prompt)
    # a response without a count is a response still
    return Usage(completion_tokens=0) if tokens is None else Usage(tokens, 0, tokens)


def _error_in(body: bytes) -> Failure:
    """The error in a 200, which may be a web page."""
    unreadable = Failure.found(UNREADABLE, kind="cut", status=200)
    try:
        value = json.loads(body, strict=False)
    except (ValueError, RecursionError):
        return error_bodies.from_body(200, body, {}) if body.lstrip()[:1] == b"<" else unreadable
    value = fields.first(value) if isinstance(value, list) else fields.as_object(value)
    return fields.refusal(value, UNREADABLE, "cut") if error_bodies.is_error(value) else unreadable

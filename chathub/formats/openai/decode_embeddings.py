"""Decodes responses of the embeddings endpoint in OpenAI's format: their usage only.

Source: OpenAI's API reference ("Create embeddings").
"""

import msgspec

from chathub.formats.events import Usage


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    total_tokens: int | None = None


class _Response(msgspec.Struct):
    # the vectors are passed on without being decoded
    data: msgspec.Raw
    usage: _Usage | None = None


def decode_embedding_usage(body: bytes) -> Usage | None:
    """The usage in a response of the embeddings endpoint; None if the body is no such response."""
    try:
        usage = msgspec.json.decode(body, type=_Response).usage
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    tokens = None
    if usage is not None:
        # Voyage counts the total alone, and all of it is prompt
        tokens = usage.prompt_tokens or usage.total_tokens
        tokens = usage.prompt_tokens if tokens is None else tokens
    # a response without a count is a response still
    return Usage(completion_tokens=0) if tokens is None else Usage(tokens, 0, tokens)

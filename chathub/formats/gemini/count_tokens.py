"""Token counting in Gemini's format.

Source: Google's API reference ("models.countTokens"): the whole chat request, with its instructions and
tools, stands in ``generateContentRequest``.
"""

from urllib.parse import urlsplit

import msgspec
from msgspec import Raw, Struct

from chathub.formats import request_parts
from chathub.formats.messages import UpstreamRequest

# fields of a chat request that do not form the prompt
_OF_THE_REPLY = frozenset(("generationConfig",))


class _Counted(Struct, rename="camel"):
    total_tokens: int


_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_counted = msgspec.json.Decoder(_Counted).decode


def count_request(sent: UpstreamRequest, model: str) -> UpstreamRequest:
    """The request that counts the tokens of a chat request."""
    parts = urlsplit(sent.url)
    path = parts.path.rpartition(":")[0] + ":countTokens"
    query = "&".join(pair for pair in parts.query.split("&") if pair and not pair.startswith("alt="))
    fields = _decode_fields(sent.body)
    asked = {name: value for name, value in fields.items() if name not in _OF_THE_REPLY}
    body = {"generateContentRequest": {"model": model if "/" in model else f"models/{model}", **asked}}
    headers = {**sent.headers, "Accept": "application/json"}
    return UpstreamRequest(request_parts.join(parts, path, query), headers, msgspec.json.encode(body))


def decode_count(body: bytes) -> int | None:
    """The tokens in a response; None if there are none."""
    try:
        return _decode_counted(body).total_tokens
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None

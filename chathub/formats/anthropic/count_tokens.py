"""Token counting in Anthropic's format.

Source: Anthropic's API reference ("Count tokens in a Message"). Fields that do not form the prompt are
refused there.
"""

from urllib.parse import urlsplit

import msgspec
from msgspec import Raw, Struct

from chathub.formats import request_parts
from chathub.formats.messages import UpstreamRequest

_OF_THE_REPLY = frozenset(
    ("max_tokens", "stream", "temperature", "top_p", "top_k", "stop_sequences", "metadata", "service_tier")
)


class _Counted(Struct):
    input_tokens: int


_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_counted = msgspec.json.Decoder(_Counted).decode


def count_request(sent: UpstreamRequest, model: str) -> UpstreamRequest:
    """The request that counts the tokens of a chat request."""
    fields = _decode_fields(sent.body)
    body = {name: value for name, value in fields.items() if name not in _OF_THE_REPLY}
    parts = urlsplit(sent.url)
    url = request_parts.join(parts, parts.path + "/count_tokens", parts.query)
    return UpstreamRequest(url, {**sent.headers, "Accept": "application/json"}, msgspec.json.encode(body))


def decode_count(body: bytes) -> int | None:
    """The tokens in a response; None if there are none."""
    try:
        return _decode_counted(body).input_tokens
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def encode_count(tokens: int) -> bytes:
    """The response to a client that counts tokens."""
    return msgspec.json.encode(_Counted(tokens))

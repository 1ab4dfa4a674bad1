"""Google's Gemini API: the format of a provider only; ChatHub offers it to no client."""

from chathub.formats.gemini import count_tokens
from chathub.formats.gemini.decode_stream import Decoder, decode_body
from chathub.formats.gemini.encode_request import (
    LACKED_FIELDS,
    encode_request,
    fetches,
    headers,
    is_at,
    models_url,
)

__all__ = [
    "LACKED_FIELDS",
    "Decoder",
    "count_tokens",
    "decode_body",
    "encode_request",
    "fetches",
    "headers",
    "is_at",
    "models_url",
]

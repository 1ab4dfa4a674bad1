"""Google's Gemini API: the format of a provider only; ChatHub offers it to no client."""

from chathub.formats.gemini.decode_stream import Decoder, decode_body
from chathub.formats.gemini.encode_request import encode_request, fetches, is_at, models_url

__all__ = [
    "Decoder",
    "decode_body",
    "encode_request",
    "fetches",
    "is_at",
    "models_url",
]

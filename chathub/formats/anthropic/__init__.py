"""Anthropic's Messages API: the format of Anthropic, of some other providers, and of clients."""

from chathub.formats.anthropic import count_tokens
from chathub.formats.anthropic.decode_request import decode_fields, decode_head, decode_request
from chathub.formats.anthropic.decode_stream import Decoder, decode_body
from chathub.formats.anthropic.encode_models import encode_model, encode_page, page_of
from chathub.formats.anthropic.encode_request import (
    LACKED_FIELDS,
    encode_request,
    fetches,
    headers,
)
from chathub.formats.anthropic.encode_stream import Encoder, encode_body, encode_error
from chathub.formats.anthropic.urls import is_at, models_url

__all__ = [
    "LACKED_FIELDS",
    "Decoder",
    "Encoder",
    "count_tokens",
    "decode_body",
    "decode_fields",
    "decode_head",
    "decode_request",
    "encode_body",
    "encode_error",
    "encode_model",
    "encode_page",
    "encode_request",
    "fetches",
    "headers",
    "is_at",
    "models_url",
    "page_of",
]

"""OpenAI's Chat Completions: the format of OpenAI, of most other providers, and of clients."""

from chathub.formats.openai.decode_request import decode_fields, decode_head, decode_request
from chathub.formats.openai.decode_stream import Decoder, decode_body
from chathub.formats.openai.encode_models import encode_model, encode_models
from chathub.formats.openai.encode_request import LACKED_FIELDS, encode_request, fetches, headers, is_at
from chathub.formats.openai.encode_stream import (
    DONE,
    Encoder,
    encode_body,
    encode_error,
)
from chathub.formats.urls import models_url

# nothing counts the tokens of a Chat Completion before its reply
count_tokens = None

__all__ = [
    "DONE",
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
    "encode_models",
    "encode_request",
    "fetches",
    "headers",
    "is_at",
    "models_url",
]

"""The body of an error at /api."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from chathub.sentences import Language, Reason


class Error(Struct):
    """``error`` and ``message`` are the same sentence: pages read either. Programs read ``code``."""

    error: str
    message: str
    code: str
    success: bool = False


def encode_error(reason: Reason, language: Language, details: Mapping[str, Any] | None = None) -> bytes:
    """The body of an error; ``details`` are further fields of it, such as ``message_id``."""
    sentence = reason.text(language)
    fields = msgspec.to_builtins(Error(sentence, sentence, reason.wire_code))
    return msgspec.json.encode({**fields, **(details or {})})

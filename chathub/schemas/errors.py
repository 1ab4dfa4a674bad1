"""The body of an error at /api."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct


class Error(Struct):
    """``error`` and ``message`` are the same sentence: pages read either."""

    error: str
    message: str
    success: bool = False


def encode_error(sentence: str, details: Mapping[str, Any] | None = None) -> bytes:
    """The body of an error; ``details`` are further fields of it, such as ``code``."""
    fields = msgspec.to_builtins(Error(sentence, sentence))
    return msgspec.json.encode({**fields, **(details or {})})

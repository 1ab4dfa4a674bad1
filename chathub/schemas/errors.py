"""The body of an error at /api."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from chathub.schemas.budgets import Budget
from chathub.schemas.limits import MaybeStorage
from chathub.sentences import Language, Reason


class Error(MaybeStorage):
    """``error`` and ``message`` are the same sentence: pages read either. Programs read ``code``.

    The other fields come with some errors only: the reply that is in the way or has failed, the budget that
    is used up, the field that is wrong, the bytes that the user stores.
    """

    error: str
    message: str
    code: str
    success: Literal[False] = False
    message_id: int | UnsetType = UNSET
    conversation_id: str | UnsetType = UNSET
    budget: Budget | UnsetType = UNSET
    param: str | UnsetType = UNSET


def encode_error(reason: Reason, language: Language, details: Mapping[str, Any] | None = None) -> bytes:
    """The body of an error; ``details`` are further fields of it, such as ``message_id``."""
    sentence = reason.text(language)
    fields = msgspec.to_builtins(Error(sentence, sentence, reason.wire_code))
    return msgspec.json.encode({**fields, **(details or {})})

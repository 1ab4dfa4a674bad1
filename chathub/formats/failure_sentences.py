"""What a caller may read of a failure."""

from collections.abc import Iterable

from chathub import redaction
from chathub.formats.events import Failure
from chathub.formats.failure_table import meaning_of
from chathub.formats.messages import Endpoint
from chathub.sentences import Language, sentence

# classes whose details only the owner of the API key may read: the code whose sentence the others read
_PRIVATE = {
    "invalid_key": "upstream_invalid_key",
    "no_credit": "upstream_no_credit",
    "rate_limited": "upstream_rate_limited",
}


def is_private(failure: Failure, endpoint: Endpoint | None) -> bool:
    """Whether the provider's words are about an API key that is not the caller's."""
    return endpoint is not None and not endpoint.is_own and meaning_of(failure).failure_class in _PRIVATE


def sentence_for(
    failure: Failure, endpoint: Endpoint | None, secrets: Iterable[str], language: Language = "zh"
) -> str:
    """The sentence that the caller may read: the provider's message without ``secrets``, or, if it is about
    an API key of another user, what the failure means."""
    if is_private(failure, endpoint):
        return sentence(meaning_of(failure).code, language)
    return redaction.scrub(failure.told, secrets)


def class_sentence(name: str, language: Language = "zh") -> str:
    """The sentence of a failure class that is about the API key; empty for all others."""
    return sentence(_PRIVATE[name], language) if name in _PRIVATE else ""

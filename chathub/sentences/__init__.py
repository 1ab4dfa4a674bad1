"""The sentences that people read, by their codes, in Chinese and English."""

from collections.abc import Mapping
from typing import Literal

from chathub.sentences import attachments, providers

Language = Literal["zh", "en"]

_SENTENCES = {**providers.SENTENCES, **attachments.SENTENCES}


def sentence(code: str, language: Language, params: Mapping[str, object] | None = None) -> str:
    """The sentence of a code in a language, with its parameters filled in."""
    chinese, english = _SENTENCES[code]
    return (chinese if language == "zh" else english).format(**(params or {}))

"""A refusal together with the request that was refused, and what it says of it.

A refusal may repeat any text of the request: words that the request contains count for nothing.
"""

import re
from collections.abc import Iterable

import msgspec
from msgspec import Raw

from chathub.formats.events import Failure
from chathub.formats.failures.echoes import repeats

REFUSED = re.compile(
    r"unsupported|not (?:be )?support|n't support|deprecated|not enabled|not allowed"
    r"|only (?:\S+ ){0,3}(?:default|allowed|support)|may only be set",
    re.IGNORECASE,
)
UNKNOWN = re.compile(r"unknown|unrecogni[sz]ed|extra (?:inputs?|fields?)|not permitted", re.IGNORECASE)

# the object that has the field, as Cerebras and Google put it before the name
_WITHIN = r"(?:body\.|(?:GenerateContentRequest\.)?generation_?config\.)?"
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
# characters on either side of a name that are searched for together with it, to recognize an echo of a longer
# text
_BESIDE = 6


class Refusal:
    """A refusal together with the body that was refused."""

    def __init__(self, failure: Failure, sent: bytes) -> None:
        self.message = failure.told
        self._sent = sent
        self._fields = _fields_of(sent)
        # Cerebras writes ``validation_error`` there, which is no field
        self._pointed_at = [field for field in failure.fields if field in self._fields]

    def has(self, field: str) -> bool:
        """Whether a field or type of this name was in the request, anywhere in it."""
        return f'"{field}"'.encode() in self._sent

    @property
    def fields(self) -> Iterable[str]:
        """The fields of the request that was refused."""
        return self._fields

    @property
    def points_anywhere(self) -> bool:
        """Whether it names a field by ``param`` or ``loc``."""
        return bool(self._pointed_at)

    def points_at(self, field: str) -> bool:
        """Whether it names a top-level field by ``param`` or ``loc``."""
        return field in self._pointed_at

    def names(self, field: str) -> bool:
        """Whether it names a top-level field that was in the request."""
        if field not in self._fields:
            return False
        if self._pointed_at:
            return field in self._pointed_at
        found = re.finditer(rf"(?<![\w.-]){_WITHIN}(?:{spellings(field)})(?![\w-])", self.message)
        return any(not self._is_echo(field, match) for match in found)

    def mentions(self, word: str) -> bool:
        """Whether a word is in it, be it the provider's or an echo of the request."""
        return re.search(rf"(?<![\w.-]){word}(?![\w-])", self.message) is not None

    def says(self, phrases: re.Pattern[str]) -> re.Match[str] | None:
        """The first of the phrases in it that is no echo of the request."""
        found = phrases.finditer(self.message)
        return next((match for match in found if not repeats(self._sent, [match[0]])), None)

    def _is_echo(self, field: str, match: re.Match[str]) -> bool:
        """Whether this part of the message is an echo of the request: the name is one of the request's
        values, or part of a longer value, which the characters around the name show."""
        start, end = match.span()
        before, after = self.message[max(0, start - _BESIDE) : end], self.message[start : end + _BESIDE]
        fragments = [f'"{field}"', *(text for text in (before, after) if len(text) >= len(field) + 3)]
        others = [name for name in self._fields if name != field]
        values = msgspec.json.encode(others) + b" ".join(bytes(raw) for raw in self._fields.values())
        return repeats(values, fragments)


def spellings(field: str) -> str:
    """A pattern of a field's name with underscores and with capitals: xAI refuses ``reasoning_effort`` as
    ``reasoningEffort``, Google ``stopSequences`` as ``stop_sequences``."""
    first, *others = field.split("_")
    capitals = first + "".join(word.capitalize() for word in others)
    underscores = re.sub(r"(?<=[a-z])[A-Z]", lambda found: "_" + found[0].lower(), field)
    return "|".join(sorted({field, capitals, underscores}))


def _fields_of(sent: bytes) -> dict[str, Raw]:
    """The fields of a request; those of Gemini's ``generationConfig`` count as such."""
    try:
        fields = _decode_fields(sent)
        if inner := fields.pop("generationConfig", None):
            fields |= _decode_fields(inner)
    except msgspec.MsgspecError:
        return {}
    return fields

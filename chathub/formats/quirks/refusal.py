"""A refusal together with the request that was refused, and what it says of it.

A refusal may repeat any text of the request: words that are an echo of it count for nothing.
"""

import re
from collections.abc import Iterable
from itertools import islice

import msgspec
from msgspec import Raw

from chathub.formats.events import Failure
from chathub.formats.failures.echoes import repeats
from chathub.formats.quirks.passages import passages

REFUSED = re.compile(
    r"unsupported|not (?:be )?support|n't support|deprecated|not enabled|not allowed"
    r"|only (?:\S+ ){0,3}(?:default|allowed|support)|may only be set",
    re.IGNORECASE,
)
UNKNOWN = re.compile(r"unknown|unrecogni[sz]ed|extra (?:inputs?|fields?)|not permitted", re.IGNORECASE)

# the object that has the field, as Cerebras and Google put it before the name
_WITHIN = r"(?:body\.|(?:GenerateContentRequest\.)?generation_?config\.)?"
# the fields of prompts: long texts with many ordinary words. No quirk leaves them out
PROMPTS = frozenset(
    {
        *("messages", "contents", "system", "systemInstruction", "input", "instructions", "prompt"),
        *("tools", "functions", "response_format", "responseSchema", "responseJsonSchema", "output_config"),
    }
)
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
# characters on either side of a name that are searched for together with it, to recognize an echo of a longer
# text
_BESIDE = 6
# occurrences of a name or phrase that are looked at: each costs a search of the whole request
_MOST_MATCHES = 8


class Refusal:
    """A refusal together with the body that was refused."""

    def __init__(self, failure: Failure, sent: bytes) -> None:
        self.message = failure.told
        self._sent = sent
        self._fields = _fields_of(sent)
        # Cerebras writes ``validation_error`` there, which is no field
        self._pointed_at = [field for field in failure.fields if field in self._fields]
        self._prompts = _joined(raw for field, raw in self._fields.items() if field in PROMPTS)
        self._values = _joined(raw for field, raw in self._fields.items() if field not in PROMPTS)
        names = msgspec.json.encode(list(self._fields))
        self._settings = names + self._values if self._fields else sent

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
        return any(not self._is_echo(field, match) for match in islice(found, _MOST_MATCHES))

    def mentions(self, word: str) -> bool:
        """Whether a word is in it, be it the provider's or an echo of the request."""
        return re.search(rf"(?<![\w.-]){word}(?![\w-])", self.message) is not None

    def says(self, phrases: re.Pattern[str]) -> re.Match[str] | None:
        """The first of the phrases in it that is no echo of the request."""
        found = islice(phrases.finditer(self.message), _MOST_MATCHES)
        return next((match for match in found if not self._repeats(match)), None)

    def _repeats(self, match: re.Match[str]) -> bool:
        """Whether a phrase is an echo. A quirk may leave out the setting whose value it is, so that its words
        alone count there; in a prompt those around it must be the same."""
        around = passages(self.message, *match.span())
        return repeats(self._settings, [match[0]]) or repeats(self._prompts, around)

    def _is_echo(self, field: str, match: re.Match[str]) -> bool:
        """Whether this part of the message is an echo of the request: the name is one of the request's
        values, or part of a longer value, which the text around the name shows."""
        start, end = match.span()
        before, after = self.message[max(0, start - _BESIDE) : end], self.message[start : end + _BESIDE]
        beside = (text for text in (before, after) if len(text) >= len(field) + 3)
        around = (text for text in passages(self.message, start, end) if text != match[0])
        others = [name for name in self._fields if name != field]
        settings = msgspec.json.encode(others) + self._values
        exact = f'"{field}"'
        return repeats(settings, [exact, *beside]) or repeats(self._prompts, [exact, *around])


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


def _joined(values: Iterable[Raw]) -> bytes:
    return b" ".join(map(bytes, values))

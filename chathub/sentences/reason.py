"""A code and its parameters, and the sentence that they make in a language."""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from chathub.sentences.tables import SENTENCES

Language = Literal["zh", "en"]

_LANGUAGES: dict[Language, int] = {"zh": 0, "en": 1}
# integers from here on are written with commas
_LARGE = 10_000
# letters, and marks of the same width
_CHINESE = (("\u4e00", "\u9fff"), ("\u3000", "\u303f"), ("\uff00", "\uffef"))
_MINUTE, _HOUR = 60, 3600


class Reason(Struct, frozen=True):
    """A sentence that has no language yet. It is stored like this and made when it is shown.

    A parameter may be a reason itself, or a list. No secret is ever a parameter. ``public`` is the code on
    the wire where it is not the sentence's: several sentences may explain one kind of failure.
    """

    code: str
    params: Mapping[str, Param] = {}
    public: str = ""

    @property
    def wire_code(self) -> str:
        return self.public or self.code

    @classmethod
    def stored(cls, encoded: str, older: str) -> Reason | None:
        """A reason from the database (empty: none); ``older`` is the sentence of a row that has no code."""
        if encoded:
            return msgspec.json.decode(encoded, type=cls)
        return cls("older_failure", {"text": older}) if older else None

    def encoded(self) -> str:
        """The reason as the database stores it."""
        return msgspec.json.encode(self).decode()

    def text(self, language: Language) -> str:
        return sentence(self.code, language, self.params)

    def with_params(self, **params: Param) -> Reason:
        """The reason with more parameters, or with others of the same names."""
        return replace(self, params={**self.params, **params})

    def on_wire(self, code: str) -> Reason:
        """The reason with another code on the wire."""
        return replace(self, public=code)


Param = str | int | float | Reason | list[str | Reason]


def sentence(code: str, language: Language, params: Mapping[str, Param]) -> str:
    """The sentence of a code. Numbers, durations and lists are written as the language writes them.

    Raises:
        KeyError: no such code, or a parameter of its sentence is missing.
    """
    text = _part(Reason(code, params), language)
    # a sentence may begin with a part that has no capital letter within a sentence
    return f"The {text[4:]}" if text.startswith("the ") else text


def _part(reason: Reason, language: Language) -> str:
    """Fill a template; the part after a placeholder's colon says what the value is. ``if_any``: there may be
    none."""
    text = ""
    for literal, name, form, _ in string.Formatter().parse(SENTENCES[reason.code][_LANGUAGES[language]]):
        text = _joined(text, literal)
        if name is not None:
            value = reason.params.get(name, "") if form == "if_any" else reason.params[name]
            text = _joined(text, _FORMS[form or ""](value, language))
    return text


def _joined(text: str, more: str) -> str:
    """Two parts of a sentence, without the blank for Latin letters where both sides are Chinese."""
    if text.endswith(" ") and _is_chinese(text[-2:-1]) and _is_chinese(more[:1]):
        text = text[:-1]
    elif more.startswith(" ") and _is_chinese(text[-1:]) and _is_chinese(more[1:2]):
        more = more[1:]
    return text + more


def _is_chinese(letter: str) -> bool:
    """Whether it is a Chinese letter or a mark as wide as one."""
    return any(first <= letter <= last for first, last in _CHINESE)


def _plain(value: Param, language: Language) -> str:
    if isinstance(value, Reason):
        return _part(value, language)
    if isinstance(value, float):
        value = int(value) if value.is_integer() else round(value, 6)
    return f"{value:,}" if isinstance(value, int | float) and abs(value) >= _LARGE else str(value)


def _duration(seconds: float, language: Language) -> str:
    """Seconds, from two minutes on whole minutes, from two hours on whole hours; rounded up."""
    units = (
        (2 * _HOUR, _HOUR, ("小时", "hour")),
        (2 * _MINUTE, _MINUTE, ("分钟", "minute")),
        (0, 1, ("秒", "second")),
    )
    unit, words = next((unit, words) for least, unit, words in units if seconds >= least)
    count = math.ceil(seconds / unit)
    if language == "zh":
        return f"{count} {words[0]}"
    return f"{count} {words[1]}" + ("" if count == 1 else "s")


def _bytes(size: int, language: Language) -> str:
    for unit, name in ((1024 * 1024, "MiB"), (1024, "KiB")):
        if size >= unit:
            return f"{_plain(size // unit, language)} {name}"
    return f"{size} " + ("字节" if language == "zh" else "bytes")


def _listed(values: Sequence[Param], language: Language) -> str:
    return ("、" if language == "zh" else ", ").join(_plain(value, language) for value in values)


def _any_of(values: Sequence[Param], language: Language) -> str:
    """The values of which one is to be taken."""
    *first, last = [_plain(value, language) for value in values]
    if not first:
        return last
    if language == "en":
        return f"{', '.join(first)} or {last}"
    # no blank between two Chinese words
    before, after = (" " if side.isascii() else "" for side in (first[-1][-1:], last[:1]))
    return f"{'、'.join(first)}{before}或{after}{last}"


_FORMS: dict[str, Callable[[Any, Language], str]] = {
    "": _plain,
    "duration": _duration,
    "bytes": _bytes,
    "if_any": _plain,
    "list": _listed,
    "or": _any_of,
}

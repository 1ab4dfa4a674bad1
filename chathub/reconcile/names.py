"""Which names in an export mean which model and which API key of ChatHub."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count

from msgspec import Struct

from chathub.database.rows.api_keys import KeyName
from chathub.redaction import scrub

_DATE = re.compile(r"[-@:](?:\d{4}-\d{2}-\d{2}|20\d{6}|latest)$")
_MASKED = re.compile(r"([\w-]*)(?:\*+|…|\.{2,})([\w-]*)")
_WORDS = re.compile(r"\d+[a-z]*|[a-z]+|[^\W\d_]+")


def _undated(name: str) -> str:
    return _DATE.sub("", name.lower())


def _base(name: str) -> str:
    """Without the vendor before it: ``openai/gpt-4o-2024-08-06`` is ``gpt-4o``."""
    return _undated(name).rpartition("/")[2]


def _words(name: str) -> str:
    """The words of a display name: ``Claude Haiku 3.5`` is ``claude-3-5-haiku``. The order of the numbers
    tells GPT-4.5 from GPT-5.4."""
    words = _WORDS.findall(_base(name))
    numbers = [word for word in words if word[0].isdigit()]
    return " ".join(sorted(word for word in words if not word[0].isdigit()) + numbers)


# from the finest to the roughest
_FORMS: Sequence[Callable[[str], str]] = (str, str.lower, _undated, _base, _words)


class ModelGroups(Struct, frozen=True):
    """The number of the group of each model, of the export's and of the ledger's: names in one group mean the
    same model."""

    of_export: dict[str, int]
    of_ledger: dict[str, int]


def group_models(charged: Iterable[str], booked: Iterable[str], called: Mapping[str, str]) -> ModelGroups:
    """Find which models of the ledger are which of the export. ``called`` says what the provider calls those
    that it knows by another name.

    A name goes with the one that is alike in the finest form, and has no partner yet; names left over join a
    group: the ledger may have a dated model beside the one without a date where the provider knows one.
    """
    charged, booked = sorted(set(charged)), sorted(set(booked))
    groups = ModelGroups({}, {})
    number = count()
    for is_join_allowed in (False, True):
        for form in _FORMS:
            for name, other in _alike(form, charged, booked, called):
                mine, theirs = groups.of_export.get(name), groups.of_ledger.get(other)
                if mine is None and theirs is None:
                    groups.of_export[name] = groups.of_ledger[other] = next(number)
                elif is_join_allowed and theirs is None and mine is not None:
                    groups.of_ledger[other] = mine
                elif is_join_allowed and mine is None and theirs is not None:
                    groups.of_export[name] = theirs
    for name in charged:
        groups.of_export.setdefault(name, next(number))
    for name in booked:
        groups.of_ledger.setdefault(name, next(number))
    return groups


def _alike(
    form: Callable[[str], str], charged: Iterable[str], booked: Iterable[str], called: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """The pairs of a charged and a booked name that are the same in a form."""
    by_form: dict[str, list[str]] = {}
    for name in booked:
        for each in {form(name), form(called.get(name) or name)}:
            by_form.setdefault(each, []).append(name)
    for name in charged:
        for other in by_form.get(form(name), ()):
            yield name, other


def match_keys(exported: Iterable[tuple[str, ...]], keys: Iterable[KeyName]) -> dict[int, tuple[str, ...]]:
    """The names in the export of the API keys that it means: the label is a name or id of the export, or the
    ends of the key are those that it shows."""
    exported = sorted(exported)
    matched: dict[int, tuple[str, ...]] = {}
    for key in keys:
        for names in exported:
            if any(_is_named(key, name) for name in names):
                matched[key.id] = names
                break
    return matched


def _is_named(key: KeyName, name: str) -> bool:
    if key.label and key.label.casefold() == name.casefold():
        return True
    shown, own = _MASKED.fullmatch(name), _MASKED.fullmatch(key.mask)
    if shown is None or own is None:
        return False
    head, tail = (min(len(shown[part]), len(own[part])) for part in (1, 2))
    return tail >= 3 and shown[1][:head] == own[1][:head] and shown[2][-tail:] == own[2][-tail:]


def shown_name(names: tuple[str, ...]) -> str:
    """The names of an API key in the export as a report shows them: never a key."""
    first = names[0]
    if masked := _MASKED.fullmatch(first):
        return f"…{masked[2][-4:]}"
    return scrub(first, ())

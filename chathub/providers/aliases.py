"""Aliases: models of the table that stand for others, their targets. Those with ``*`` in their name are
wildcards, which match names that are not listed."""

import random
from collections.abc import Iterable, Sequence
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from chathub.database.rows.models import Model

# what lists show in place of an alias's provider
ALIAS = "alias"
# characters of a name that a wildcard may match: as long as a name in the table
_LONGEST_NAME = 200

C = TypeVar("C")


class Target(Struct, frozen=True):
    """A model that an alias stands for; ``order``: those of a higher one are tried after all of a lower one,
    ``weight``: its share among those of one order."""

    row: Model
    weight: int
    order: int


class Choice(Struct, frozen=True):
    """A model that a name stands for, by its own name."""

    name: str
    weight: int = 1
    order: int = 0


class Entry(Struct, frozen=True):
    """What a requested name stands for: ``choices``, by their order.

    ``name`` is what is kept and shown: the name in the table, of a wildcard the one that was requested.
    ``alias`` is the alias's own name (empty: a model), ``fallback_model`` its own fallback.
    """

    name: str
    choices: tuple[Choice, ...]
    alias: str = ""
    fallback_model: str = ""


def combined(alias: Model, targets: Sequence[Target], title: str) -> Model:
    """An alias as lists show it: with what all of its active targets can do, and the highest of their prices.
    Where none is active all of them count. ``title`` stands in place of a provider's name."""
    alias = replace(alias, provider_display_name=title, upstream_name="")
    active = [target.row for target in targets if target.row.is_active and target.row.provider_is_active]
    rows = active or [target.row for target in targets]
    if not rows:
        return replace(alias, provider_is_active=False)
    windows = [row.context_window for row in rows if row.context_window is not None]
    return replace(
        alias,
        provider_is_active=bool(active),
        model_type=rows[0].model_type,
        max_tokens=min(row.max_tokens for row in rows),
        context_window=min(windows, default=None),
        supports_streaming=all(row.supports_streaming for row in rows),
        supports_function_calling=all(row.supports_function_calling for row in rows),
        supports_vision=all(row.supports_vision for row in rows),
        input_price=max(row.input_price for row in rows),
        output_price=max(row.output_price for row in rows),
        allow_extras=all(row.allow_extras for row in rows),
    )


def in_order(found: Iterable[tuple[Choice, bool, C]], chance: random.Random) -> list[C]:
    """What was found for choices, in the order in which it is tried: by the choices' order, those that
    are ``well`` (the second of each) first, and among equals by chance in proportion to their weight."""
    ranked = [
        ((choice.order, not is_well, -(chance.random() ** (1 / choice.weight))), each)
        for choice, is_well, each in found
    ]
    return [each for _, each in sorted(ranked, key=lambda pair: pair[0])]


def is_wildcard(row: Model) -> bool:
    return row.provider_id is None and "*" in row.model_name


def wildcards_in(rows: Iterable[Model]) -> tuple[Model, ...]:
    """The wildcards among models, the most specific first: by the length of what is before the first ``*``,
    then by that of all."""
    found = [row for row in rows if is_wildcard(row)]
    return tuple(sorted(found, key=lambda row: (-row.model_name.index("*"), -len(row.model_name))))


def matches(pattern: str, name: str) -> bool:
    """Whether a wildcard's name matches another, without regard to case; ``*`` is any text, also none. In
    linear time: the name is the client's."""
    if len(name) > _LONGEST_NAME:
        return False
    start, *middle, end = pattern.lower().split("*")
    rest = name.lower()
    if not rest.startswith(start):
        return False
    rest = rest[len(start) :]
    for part in middle:
        at = rest.find(part)
        if at < 0:
            return False
        rest = rest[at + len(part) :]
    return rest.endswith(end)

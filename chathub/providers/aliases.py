"""Aliases: models of the table that stand for others, their targets. Those with ``*`` in their name are
wildcards, which match names that are not listed."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter

from msgspec import Struct
from msgspec.structs import replace

from chathub.database.rows.models import Model
from chathub.providers.affinity import Affinity, ranked
from chathub.providers.prices import Prices
from chathub.providers.unit_prices import UnitPrices

# what lists show in place of an alias's provider
ALIAS = "alias"
# characters of a name that a wildcard may match: as long as a name in the table
_LONGEST_NAME = 200


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


class Place(Struct, frozen=True):
    """A model's place among those that an alias stands for. Its ``pool`` are those of its order;
    ``is_first_choice``: it comes first by affinity, whether it works or not."""

    name: str
    pool: str
    is_first_choice: bool


def combined(alias: Model, targets: Sequence[Target], title: str) -> Model:
    """An alias as lists show it: with what all of its active targets can do, and the highest of their prices.
    Where none is active all of them count. ``title`` stands in place of a provider's name."""
    alias = replace(alias, provider_display_name=title, upstream_name="")
    in_order = [target.row for target in sorted(targets, key=lambda target: target.order)]
    active = [row for row in in_order if row.is_active and row.provider_is_active]
    if not targets:
        return replace(alias, provider_is_active=False)
    rows = active or in_order
    windows = [row.context_window for row in rows if row.context_window is not None]
    prices = Prices.highest([prices_of(row) for row in rows])
    return replace(
        alias,
        provider_is_active=bool(active),
        model_type=rows[0].model_type,
        max_tokens=min(row.max_tokens for row in rows),
        context_window=min(windows, default=None),
        supports_streaming=all(row.supports_streaming for row in rows),
        supports_function_calling=all(row.supports_function_calling for row in rows),
        supports_vision=all(row.supports_vision for row in rows),
        input_price=prices.input,
        output_price=prices.output,
        cached_price=prices.cached,
        cache_write_price=prices.cache_write,
        cache_write_1h_price=prices.cache_write_1h,
        units=UnitPrices.highest(UnitPrices.stored(row.units) for row in rows).text,
        is_priced=all(row.has_prices for row in rows),
        allow_extras=all(row.allow_extras for row in rows),
    )


def prices_of(row: Model) -> Prices:
    return Prices.of(
        row.input_price, row.output_price, row.cached_price, row.cache_write_price, row.cache_write_1h_price
    )


def places(alias: str, choices: Iterable[Choice], affinities: Affinity, affinity: str) -> list[Place]:
    """The models that an alias stands for, in the order in which they are tried for a conversation: by their
    order, and among equals first the one that the conversation has moved to, then by affinity."""
    found = []
    for order, equals in groupby(sorted(choices, key=attrgetter("order")), key=attrgetter("order")):
        pool = f"{alias}\0{order}"
        by_affinity = ranked(affinity, equals, attrgetter("name"), attrgetter("weight"))
        first, moved_to = by_affinity[0], affinities.moved_to(affinity, pool)
        by_affinity.sort(key=lambda choice: choice.name != moved_to)
        found += [Place(choice.name, pool, choice is first) for choice in by_affinity]
    return found


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

"""The items of stored responses that a request refers to."""

from collections.abc import Mapping, Sequence

from msgspec import Raw

from chathub.database.rows.responses import ItemPlace
from chathub.database.transaction import Transaction
from chathub.errors import TooLarge
from chathub.formats.responses.references import id_of, items_of
from chathub.stored_responses.log import ended_response
from chathub.stored_responses.request import unpacked_items

# bytes of the items that are looked through for one request
_LARGEST = 32 * 1024 * 1024


def load(tx: Transaction, places: Mapping[ItemPlace, Sequence[str]]) -> dict[str, bytes]:
    """Items by id.

    Raises:
        TooLarge: they are among too many others.
    """
    found: dict[str, bytes] = {}
    size = 0
    for place, ids in places.items():
        wanted = set(ids)
        for item in _items_at(tx, place):
            size += memoryview(item).nbytes
            if (item_id := id_of(item)) in wanted:
                found[item_id] = bytes(item)
        if size > _LARGEST:
            raise TooLarge("body_too_large", most=_LARGEST)
    return found


def _items_at(tx: Transaction, place: ItemPlace) -> list[Raw]:
    """The items at a place; none of a response that was deleted meanwhile."""
    if place.is_output:
        return items_of(ended_response(tx, place.response_id))
    row = tx.one(tx.q.responses.get_input, response_id=place.response_id)
    return unpacked_items(row.input) if row else []

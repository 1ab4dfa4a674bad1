"""Where the items of stored responses are, by their ids: in an input, or in an ended output."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence

from chathub.database.rows.responses import ItemPlace
from chathub.database.transaction import Transaction

# responses that are considered for one item: the newest that have it
_MOST = 8


def remember(tx: Transaction, response_id: int, ids: Iterable[str], *, is_output: bool) -> None:
    """Remember where the items with these ids are."""
    place = {"response_id": response_id, "is_output": is_output}
    tx.many(tx.q.responses.insert_item, [place | {"digest": _digest(each)} for each in ids if each])


def _digest(item_id: str) -> int:
    return int.from_bytes(hashlib.sha256(item_id.encode()).digest()[:8], signed=True)


def find(tx: Transaction, user_id: int, ids: Sequence[str]) -> dict[str, list[ItemPlace]]:
    """Where a user's items may be, by id; the newest place first."""
    listed = tx.q.responses.list_places
    return {each: tx.all(listed, user_id=user_id, digest=_digest(each), most=_MOST) for each in ids}


def readable(
    places: Mapping[str, Sequence[ItemPlace]], may_read: Callable[[str], bool]
) -> dict[ItemPlace, list[str]]:
    """The newest place of each item in a response whose model may be read, with the ids that are there."""
    found: dict[ItemPlace, list[str]] = {}
    for item_id, rows in places.items():
        if place := next((row for row in rows if may_read(row.model)), None):
            found.setdefault(place, []).append(item_id)
    return found

"""What clients read of a stored response, as JSON that is made where the database is read: a response or its
input may have many megabytes."""

import msgspec
from msgspec import Raw

from chathub.database.rows.responses import StoredResponse
from chathub.database.transaction import Transaction
from chathub.errors import BadRequest, NotFound
from chathub.formats.raw_json import value_of
from chathub.schemas.responses import ItemsPage
from chathub.stored_responses import log
from chathub.stored_responses.request import unpacked_items


class _Item(msgspec.Struct):
    id: str | None = None


_item = msgspec.json.Decoder(_Item)


def read_response(tx: Transaction, stored: StoredResponse) -> bytes:
    """The response, which may have ended or gone since it was found."""
    found = tx.one(tx.q.responses.get, response_id=stored.id)
    if found is None:
        raise NotFound("response_not_found", id=stored.public_id)
    return msgspec.json.encode(log.response_of(tx, found))


def read_input(tx: Transaction, stored: StoredResponse, wanted: ItemsPage) -> bytes:
    """A page of the items of a response's own input."""
    row = tx.one(tx.q.responses.get_input, response_id=stored.id)
    items = unpacked_items(row.input) if row else []
    if wanted.order == "desc":
        items.reverse()
    start = 0
    if wanted.after is not None:
        start = next((at + 1 for at, item in enumerate(items) if _id_of(item) == wanted.after), 0)
        if not start:
            raise BadRequest("cursor_unknown", id=wanted.after[:200])
    page = items[start : start + wanted.limit]
    return msgspec.json.encode(
        {
            "object": "list",
            "data": page,
            "first_id": _id_of(page[0]) if page else None,
            "last_id": _id_of(page[-1]) if page else None,
            "has_more": start + wanted.limit < len(items),
        }
    )


def _id_of(item: Raw) -> str | None:
    found = value_of(item, _item)
    return found.id if found else None

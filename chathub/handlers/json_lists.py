"""Lists of any length as JSON arrays, read and encoded piece by piece in the database's reader thread."""

from collections.abc import AsyncIterator, Callable, Sequence

from aiohttp import web
from multidict import CIMultiDict

from chathub.app_keys import CALLER, DB
from chathub.database.transaction import Transaction
from chathub.handlers.http import JSON, base_path_of
from chathub.handlers.response_writer import send_pieces

# bytes after which a piece of a list is sent
_PIECE = 262_144
# gives the JSON of a row (None: it was deleted meanwhile)
Encode = Callable[[Transaction, int], bytes | None]


async def send_rows(
    request: web.Request, ids: Sequence[int], encode: Encode, next_before: str | int | None = None
) -> web.StreamResponse:
    """Send rows by their ids, in this order, as a JSON array; never more than one piece of it is in memory.

    ``next_before`` is the ``before`` of the next page, for the ``Link`` header (None: there is no next page).
    """
    headers = CIMultiDict(JSON)
    if next_before is not None:
        next_page = request.rel_url.update_query(before=str(next_before))
        headers["Link"] = f'<{base_path_of(request)}{next_page}>; rel="next"'
    return await send_pieces(request, _array(request, ids, encode), headers)


async def _array(request: web.Request, ids: Sequence[int], encode: Encode) -> AsyncIterator[bytes]:
    db, caller = request.app[DB], request[CALLER]
    start, separator = 0, b"["
    while start < len(ids):
        rows, start = await db.read_background(caller.id, _piece, ids, start, encode)
        if rows:
            yield separator + rows
            separator = b","
    yield b"[]" if separator == b"[" else b"]"


def _piece(tx: Transaction, ids: Sequence[int], start: int, encode: Encode) -> tuple[bytes, int]:
    """The JSON of some rows from ``start`` on, and the start of the next piece."""
    rows: list[bytes] = []
    size, end = 0, start
    while end < len(ids) and size < _PIECE:
        row = encode(tx, ids[end])
        end += 1
        if row is not None:
            rows.append(row)
            size += len(row)
    return b",".join(rows), end

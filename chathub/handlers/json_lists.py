"""Lists of any length as JSON arrays: read, shaped and encoded in the reader's thread, piece by piece."""

from collections.abc import AsyncIterator, Callable, Sequence

from aiohttp import web
from multidict import CIMultiDict

from chathub.app_keys import CALLER, DB
from chathub.database.transaction import Transaction
from chathub.handlers.http import JSON
from chathub.handlers.response_writer import send_pieces

# bytes from which on a piece of a list is sent
_PIECE = 262_144
# a row's JSON; None: it was deleted meanwhile
Encode = Callable[[Transaction, int], bytes | None]


async def send_rows(
    request: web.Request, ids: Sequence[int], encode: Encode, further: str | int | None = None
) -> web.StreamResponse:
    """Rows by their ids, in this order, as a JSON array; at no time more than a piece of it is in memory.

    ``further`` is the ``before`` of the next page, which a ``Link`` header names (None: there is none).
    """
    headers = CIMultiDict(JSON)
    if further is not None:
        headers["Link"] = f'<{request.rel_url.update_query(before=str(further))}>; rel="next"'
    return await send_pieces(request, _array(request, ids, encode), headers)


async def _array(request: web.Request, ids: Sequence[int], encode: Encode) -> AsyncIterator[bytes]:
    db, caller = request.app[DB], request[CALLER]
    start, before = 0, b"["
    while start < len(ids):
        rows, start = await db.read_background(caller.id, _piece, ids, start, encode)
        if rows:
            yield before + rows
            before = b","
    yield b"[]" if before == b"[" else b"]"


def _piece(tx: Transaction, ids: Sequence[int], start: int, encode: Encode) -> tuple[bytes, int]:
    """Some rows from ``start`` on, and where the next piece starts."""
    rows: list[bytes] = []
    size, end = 0, start
    while end < len(ids) and size < _PIECE:
        row = encode(tx, ids[end])
        end += 1
        if row is not None:
            rows.append(row)
            size += len(row)
    return b",".join(rows), end

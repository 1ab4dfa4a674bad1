"""The events of a stored response for a client that follows it."""

from collections.abc import AsyncIterator

from chathub.database.database import Database
from chathub.database.rows.responses import StoredResponse
from chathub.stored_responses import log
from chathub.stored_responses.run import StoredRun


async def follow(
    db: Database, stored: StoredResponse, run: StoredRun | None, after: int, silence: float
) -> AsyncIterator[bytes]:
    """The events behind a sequence number until the end; empty bytes after so many seconds of silence.

    Nothing is queued for a slow client: it gets what it has not read from the disk.

    Raises:
        ConnectionError: the events do not reach the end, because the response was deleted meanwhile, or its
            end could not be stored.
    """
    end = None if run else await db.read(log.find_end, stored.id)
    while True:
        # first the end, then the log: what comes in between is in it
        has_ended = run is None or run.has_ended
        batches = run.newer(after) if run else None
        if batches is None:
            batches = await db.read(log.read_some, stored.id, after)
        for batch in batches:
            yield batch.after(after)
            after = batch.last
        if batches:
            continue
        if run is None or has_ended:
            break
        if not await run.wait(silence):
            yield b""
    if run is not None:
        end = run.last if run.is_over else None
    if end is None or after < end:
        raise ConnectionResetError("the response was deleted, or its end is not stored")

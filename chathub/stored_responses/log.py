"""The log of a stored response in the database: events are on disk before anybody sees them."""

import zlib
from collections.abc import Iterator
from typing import NamedTuple

from msgspec import Raw

from chathub.accounts import users
from chathub.billing import budgets
from chathub.database.rows.responses import StoredResponse
from chathub.database.transaction import Transaction
from chathub.errors import BadRequest
from chathub.formats.raw_json import ABSENT
from chathub.formats.responses.references import id_of, items_of
from chathub.schemas.json import JsonObject
from chathub.sentences import Reason
from chathub.stored_responses import places, repeats
from chathub.stored_responses.events import Batch, events_in, framed, response_in, unpacked
from chathub.stored_responses.output import Output
from chathub.stored_responses.repeats import RequestKey
from chathub.stored_responses.request import StoredItems
from chathub.stored_responses.run import Ending

# bytes of events in one block of an ended response
_BLOCK = 256 * 1024
# rows that are read at once
_ROWS = 64
_FAST = 1


class NewResponse(NamedTuple):
    """What is stored of a response when it begins; ``key`` is that of a request which may be repeated."""

    public_id: str
    user_id: int
    previous: StoredResponse | None
    model: str
    is_background: bool
    now: int
    key: RequestKey | None
    input: StoredItems

    @property
    def depth(self) -> int:
        """How many responses come before it."""
        return self.previous.depth + 1 if self.previous else 0


def unknown_previous(public_id: str) -> BadRequest:
    """The error of a request that continues what is not kept."""
    param = {"param": "previous_response_id"}
    return BadRequest("previous_response_not_found", details=param, id=public_id[:200])


def begin(tx: Transaction, new: NewResponse, batch: Batch | None) -> int:
    """Store a response that begins, and its first events; gives its row id.

    Raises:
        StorageFull: the user stores as much as it may, or would with this input.
        RepeatedRequest, Conflict: as for ``check_repeated``.
        BadRequest: what it continues was deleted meanwhile.
        Unauthorized: the account was removed meanwhile.
    """
    name, digest = new.key or (None, None)
    if new.key is not None:
        repeats.check_repeated(tx, new.user_id, new.key, new.now)
        tx.run(tx.q.responses.forget_key, user_id=new.user_id, name=name)
    budgets.check_storage(users.get_own(tx, new.user_id).limits)
    previous = new.previous
    if previous is not None and tx.one(tx.q.responses.get, response_id=previous.id) is None:
        raise unknown_previous(previous.public_id)
    values = {
        **new._asdict(),
        "previous_id": previous and previous.id,
        "depth": new.depth,
        "key": name,
        "digest": digest,
        "input": new.input.packed,
    }
    (row,) = tx.all(tx.q.responses.insert, **values)
    places.remember(tx, row.id, new.input.ids, is_output=False)
    budgets.check_storage(budgets.get_limits(tx, new.user_id))
    if batch is not None:
        append(tx, row.id, batch)
    return row.id


def append(tx: Transaction, response_id: int, batch: Batch) -> None:
    """Store further events."""
    data = zlib.compress(batch.data, _FAST)
    tx.run(
        tx.q.responses.insert_events, response_id=response_id, first=batch.first, last=batch.last, data=data
    )


def end(tx: Transaction, response_id: int, batch: Batch, status: str) -> Batch:
    """Store the last events and how the response ended, and fold its log into blocks; gives these events,
    the last one with the whole output."""
    batch = _with_output(tx, response_id, batch)
    append(tx, response_id, batch)
    ids = map(id_of, items_of(response_in(batch.last_event)))
    places.remember(tx, response_id, ids, is_output=True)
    tx.run(tx.q.responses.update_status, response_id=response_id, status=status)
    blocks = list(_blocks(tx, response_id))
    tx.run(tx.q.responses.delete_events, response_id=response_id)
    for first, last, data in blocks:
        tx.run(tx.q.responses.insert_events, response_id=response_id, first=first, last=last, data=data)
    return batch


def _with_output(tx: Transaction, response_id: int, batch: Batch) -> Batch:
    """The last events, with what the response has said where the last one lacks it: that of a stream which
    broke off, and of some providers."""
    last = batch.last_event
    if items_of(response_in(last)):
        return batch
    output = Output()
    for each in (*read(tx, response_id), batch):
        output.add(events_in(each.data))
    response = output.ended()
    if not response["output"]:
        return batch
    (event,) = events_in(last)
    event["response"] = response
    return batch._replace(data=batch.data.removesuffix(last) + framed(event, batch.last))


def _blocks(tx: Transaction, response_id: int) -> Iterator[Batch]:
    """The whole log as large blocks, compressed."""
    waiting: list[Batch] = []
    size = 0
    for batch in read(tx, response_id):
        waiting.append(batch)
        size += len(batch.data)
        if size >= _BLOCK:
            yield _folded(waiting)
            waiting, size = [], 0
    if waiting:
        yield _folded(waiting)


def _folded(batches: list[Batch]) -> Batch:
    data = zlib.compress(b"".join([each.data for each in batches]))
    return Batch(batches[0].first, batches[-1].last, data)


def read(tx: Transaction, response_id: int) -> Iterator[Batch]:
    """The whole log, a few rows at a time."""
    after = -1
    while rows := tx.all(tx.q.responses.list_events, response_id=response_id, after=after, most=_ROWS):
        yield from map(unpacked, rows)
        after = rows[-1].last


def read_some(tx: Transaction, response_id: int, after: int) -> list[Batch]:
    """The events behind a sequence number, but not much more than a block of them."""
    found: list[Batch] = []
    size = 0
    while size < _BLOCK and (
        row := tx.one(tx.q.responses.list_events, response_id=response_id, after=after, most=1)
    ):
        found.append(unpacked(row))
        size += len(found[-1].data)
        after = row.last
    return found


def find_end(tx: Transaction, response_id: int) -> int | None:
    """The sequence number of the last event of a response that has ended; None for another."""
    stored = tx.one(tx.q.responses.get, response_id=response_id)
    if stored is None or not stored.has_ended:
        return None
    return tx.all(tx.q.responses.find_last, response_id=response_id)[0].last


def response_so_far(tx: Transaction, response_id: int) -> JsonObject:
    """The response of a log that has not ended."""
    return _output_so_far(tx, response_id).response()


def _output_so_far(tx: Transaction, response_id: int, head: JsonObject | None = None) -> Output:
    output = Output(head)
    for batch in read(tx, response_id):
        output.add(events_in(batch.data))
    return output


def ended_response(tx: Transaction, response_id: int) -> Raw:
    """The response of a log that has ended, as its last event has it; absent for one that was deleted."""
    rows = tx.all(tx.q.responses.get_last_events, response_id=response_id)
    return response_in(unpacked(rows[0]).last_event) if rows else ABSENT


def response_of(tx: Transaction, stored: StoredResponse) -> JsonObject | Raw:
    """The response as it is now."""
    return (ended_response if stored.has_ended else response_so_far)(tx, stored.id)


def last_batch(response: JsonObject, number: int, ending: Ending) -> Batch:
    """The event that ends a response before it is whole. The format has no event for one that was cancelled:
    it is incomplete, and its status says why."""
    has_failed = ending.status == "failed"
    kind = "response.failed" if has_failed else "response.incomplete"
    error = {"code": ending.code, "message": ending.reason.text("en")} if has_failed else None
    final = {**response, "status": ending.status, "error": error}
    return Batch(number, number, framed({"type": kind, "response": final}, number))


def cut(tx: Transaction, response_id: int, ending: Ending, head: JsonObject) -> Batch:
    """End a response before it is whole, with its output so far; gives its last event. ``head`` is the
    response if no event has come yet."""
    rows = tx.all(tx.q.responses.find_last, response_id=response_id)
    number = rows[0].last + 1 if rows else 0
    batch = last_batch(_output_so_far(tx, response_id, head).ended(), number, ending)
    return end(tx, response_id, batch, ending.status)


def recover(tx: Transaction) -> int:
    """End the responses that the last end of the server cut off; gives how many these were."""
    unfinished = tx.all(tx.q.responses.list_in_progress)
    for stored in unfinished:
        end_left(tx, stored)
    return len(unfinished)


def end_left(tx: Transaction, stored: StoredResponse) -> None:
    """End a response that nothing generates any more, unless that was done meanwhile."""
    found = tx.one(tx.q.responses.get, response_id=stored.id)
    if found is None or found.has_ended:
        return
    if tx.all(tx.q.responses.find_last, response_id=stored.id):
        cut(tx, stored.id, Ending("failed", Reason("response_cut_off")), {})
    else:
        # no client knows of it
        tx.run(tx.q.responses.delete_unless_continued, response_id=stored.id)

"""The stored responses of users: found, followed, cancelled, deleted, and removed when they are old."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial

from msgspec import Raw

from chathub.accounts.caller import Caller
from chathub.clock import DAY, Clock
from chathub.config import Config
from chathub.database.database import Database
from chathub.database.errors import DatabaseUnavailable
from chathub.database.rows.responses import StoredResponse
from chathub.database.transaction import Transaction
from chathub.disk import Disk
from chathub.errors import BadRequest, Conflict, NotFound, TooLarge
from chathub.limits.request_memory import LARGEST, RequestBody
from chathub.offload import Offload
from chathub.providers.catalog import Catalog
from chathub.providers.entries import may_use
from chathub.schemas.responses import ItemsPage
from chathub.stored_responses import history, items, log, places
from chathub.stored_responses.beginning import Beginning, StoredRequest, beginning_of
from chathub.stored_responses.following import follow
from chathub.stored_responses.generating import ResponseGenerator
from chathub.stored_responses.reading import read_input, read_response
from chathub.stored_responses.repeats import RepeatedRequest, RequestKey, check_repeated
from chathub.stored_responses.request import Wanted, body_of
from chathub.stored_responses.run import CANCELLED, StoredRun

# responses that one chain may have
_LONGEST_CHAIN = 500
# bytes of an input, compressed, that a disk with little room does not take
_LARGE_INPUT = 200_000
# responses that are removed in one write; seconds between two of them, and between two rounds
_REMOVED, _PAUSE, _ROUND = 20, 0.05, 600


class StoredResponses:
    """Keeps the responses whose clients ask for it."""

    def __init__(
        self,
        db: Database,
        generator: ResponseGenerator,
        catalog: Catalog,
        clock: Clock,
        config: Config,
        offload: Offload,
        disk: Disk,
    ) -> None:
        self._db = db
        self._catalog = catalog
        self._generator = generator
        self._clock = clock
        self._config = config
        self._offload = offload
        self._disk = disk

    # --- begin

    async def prepare(self, caller: Caller, request: StoredRequest) -> Beginning:
        """What a response that is kept begins with.

        Raises:
            ChatHubError, DatabaseUnavailable: it may not begin.
        """
        if not self._config.responses_days:
            raise BadRequest("responses_not_kept", details={"param": "store"})
        previous = await self._previous(caller, request.wanted)
        earlier = await self._history(caller, previous)
        size = _size_of(request.fields, earlier)
        public_id, now = f"resp_{secrets.token_hex(24)}", self._clock.now()
        make = partial(beginning_of, request, caller.id, public_id, now)
        beginning = await self._offload.run(size, make, previous, earlier)
        self._disk.check(large=len(beginning.new.input.packed) > _LARGE_INPUT)
        return beginning

    async def begin(
        self, caller: Caller, beginning: Beginning, body: RequestBody
    ) -> tuple[StoredResponse, StoredRun | None]:
        """Begin a response that is kept; ``body`` is the memory of the body that is generated. The response
        to a request that was repeated at the same moment may have ended already: then it has no run.

        Raises:
            ChatHubError, DatabaseUnavailable: it may not begin; nothing is stored.
        """
        try:
            response_id, run = await self._generator.begin(caller, beginning, body)
        except RepeatedRequest as repeated:
            stored = await self.find(caller, repeated.public_id)
            return stored, self.joined(stored)
        new = beginning.new
        stored = StoredResponse(
            response_id, new.public_id, new.depth, new.model, "in_progress", new.is_background
        )
        return stored, run

    async def continued(self, caller: Caller, fields: Mapping[str, Raw], wanted: Wanted) -> bytes:
        """The body of a request that is not kept, with the history that it continues.

        Raises:
            BadRequest: what it continues is not kept.
            TooLarge: with its history it is larger than a body may be.
        """
        earlier = await self._history(caller, await self._previous(caller, wanted))
        size = _size_of(fields, earlier)
        return await self._offload.run(size, partial(body_of, stream=wanted.is_streamed), fields, earlier)

    async def _previous(self, caller: Caller, wanted: Wanted) -> StoredResponse | None:
        if wanted.previous is None:
            return None
        param = {"param": "previous_response_id"}
        stored = await self._find(caller, wanted.previous)
        if stored is None:
            raise log.unknown_previous(wanted.previous)
        if not stored.has_ended:
            raise Conflict("previous_response_running", details=param, id=stored.public_id)
        if stored.depth + 1 >= _LONGEST_CHAIN:
            raise BadRequest("response_chain_too_long", details=param, most=_LONGEST_CHAIN)
        return stored

    async def _history(self, caller: Caller, previous: StoredResponse | None) -> list[Raw]:
        """The items of a response that is continued, and of those before it."""
        return await self._db.read_background(caller.id, history.load, previous.id) if previous else []

    # --- read

    async def find(self, caller: Caller, public_id: str) -> StoredResponse:
        """A user's stored response.

        Raises:
            NotFound: the user has none of this id, or its access token is not for its model.
        """
        stored = await self._find(caller, public_id)
        if stored is None:
            raise NotFound("response_not_found", id=public_id[:200])
        return stored

    async def _find(self, caller: Caller, public_id: str) -> StoredResponse | None:
        find = partial(self._db.fetch_one, self._db.q.responses.find, public_id=public_id, user_id=caller.id)
        stored = await find()
        if stored is not None and not stored.has_ended and self.running(stored) is None:
            # its end could not be stored then, and perhaps can be now
            with contextlib.suppress(DatabaseUnavailable):
                await self._db.write(log.end_left, stored)
            stored = await find()
        return stored if stored is not None and self.may_read(caller, stored.model) else None

    def may_read(self, caller: Caller, model: str) -> bool:
        """Whether a caller's access token is for the model of a response."""
        try:
            return may_use(caller, self._catalog.entry(model))
        except BadRequest:
            # an alias that is not usable any more
            return caller.may_use(model)

    async def find_repeated(self, caller: Caller, key: RequestKey) -> StoredResponse | None:
        """The response to an earlier request with an idempotency key.

        Raises:
            Conflict: the key was used for another request.
        """
        try:
            await self._db.read(check_repeated, caller.id, key, self._clock.now())
        except RepeatedRequest as repeated:
            return await self._find(caller, repeated.public_id)
        return None

    async def find_items(self, caller: Caller, ids: Sequence[str]) -> dict[str, bytes]:
        """Items of the user's stored responses, by id.

        Raises:
            TooLarge: they are among too many others.
        """
        found = await self._db.read_background(caller.id, places.find, caller.id, ids)
        readable = places.readable(found, partial(self.may_read, caller))
        return await self._db.read_background(caller.id, items.load, readable)

    async def response(self, caller: Caller, stored: StoredResponse) -> bytes:
        """The response as it is now."""
        return await self._db.read_background(caller.id, read_response, stored)

    async def input_page(self, caller: Caller, stored: StoredResponse, wanted: ItemsPage) -> bytes:
        """A page of the items of a response's own input."""
        return await self._db.read_background(caller.id, read_input, stored, wanted)

    def follow(self, stored: StoredResponse, after: int) -> AsyncIterator[bytes]:
        """The events behind a sequence number until the end; see ``following.follow``."""
        return follow(self._db, stored, self.running(stored), after, self._config.heartbeat_seconds)

    def joined(self, stored: StoredResponse) -> StoredRun | None:
        """The run of a response that has not ended, with one follower more: it leaves it."""
        run = self.running(stored)
        if run is not None:
            run.join()
        return run

    def running(self, stored: StoredResponse) -> StoredRun | None:
        """The run of a response that has not ended."""
        return self._generator.running.get(stored.public_id)

    # --- end

    async def cancel(self, stored: StoredResponse) -> None:
        """Stop a response that runs in the background, and keep its output so far; one that has ended stays
        as it is.

        Raises:
            BadRequest: it does not run in the background.
        """
        if not stored.is_background:
            raise BadRequest("response_not_background", id=stored.public_id)
        await self._stop(stored)

    async def delete(self, stored: StoredResponse) -> None:
        """Delete a response; one that runs is stopped first."""
        await self._stop(stored)
        await self._db.write(_delete, stored.id)

    async def _stop(self, stored: StoredResponse) -> None:
        if run := self.running(stored):
            run.stop(CANCELLED)
            await run.finished()

    async def close(self) -> None:
        """End all that run."""
        await self._generator.close()

    async def remove_old(self) -> None:
        """Remove the responses that are older than they are kept, and the deleted ones that nothing continues
        any more, a few at a time."""
        while True:
            removed = await self.remove_some()
            await asyncio.sleep(_PAUSE if removed else _ROUND)

    async def remove_some(self) -> int:
        """Remove a few of these; gives how many."""
        before = self._clock.month().certain - self._config.responses_days * DAY
        return await self._db.write(_remove_old, before)


def _size_of(fields: Mapping[str, Raw], earlier: Sequence[Raw]) -> int:
    """The bytes of a request with its history.

    Raises:
        TooLarge: they are more than a body may have.
    """
    size = sum(memoryview(value).nbytes for value in [*fields.values(), *earlier])
    if size > LARGEST:
        raise TooLarge("body_too_large", most=LARGEST)
    return size


def _delete(tx: Transaction, response_id: int) -> None:
    tx.run(tx.q.responses.delete_items, response_id=response_id)
    if not tx.run(tx.q.responses.delete_unless_continued, response_id=response_id):
        tx.run(tx.q.responses.hide, response_id=response_id)


def _remove_old(tx: Transaction, before: int) -> int:
    return tx.run(tx.q.responses.delete_older, before=before, most=_REMOVED)

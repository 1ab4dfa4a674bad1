"""The generation of stored responses: each is a task of the server, and a gateway request in it."""

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec
from msgspec import Raw

from chathub.accounts.caller import Caller
from chathub.config import Config
from chathub.database.database import Database
from chathub.database.errors import DatabaseUnavailable
from chathub.database.transaction import Transaction
from chathub.errors import ChatHubError, Unavailable, UpstreamFailed
from chathub.formats.responses.error_codes import error_code
from chathub.formats.responses.head import ResponseHead
from chathub.gateway.gateway import Gateway
from chathub.gateway.request import GatewayRequest
from chathub.limits.request_memory import RequestMemory
from chathub.limits.streams import StreamLimit
from chathub.running.registry import Registry
from chathub.sentences import Reason
from chathub.stored_responses import log
from chathub.stored_responses.beginning import Beginning
from chathub.stored_responses.events import Batch, Rewriter, framed
from chathub.stored_responses.repeats import RepeatedRequest
from chathub.stored_responses.run import Ending, StoredRun
from chathub.stored_responses.sink import LogSink

logger = logging.getLogger("chathub.responses")

Failure = ChatHubError | DatabaseUnavailable

# seconds after which a request may begin where this one could not
_RETRY_AFTER = 5

_SHUTDOWN = Ending("failed", Reason("shutdown_interrupted_reply"))
_STOPPED = Ending("failed", Reason("reply_stopped"))
_BROKEN = Ending("failed", Reason("internal_error"))


class ResponseGenerator:
    """Generates stored responses, and knows those that run."""

    def __init__(
        self,
        db: Database,
        gateway: Gateway,
        registry: Registry,
        config: Config,
        request_memory: RequestMemory,
        streams: StreamLimit,
    ) -> None:
        self._db = db
        self._gateway = gateway
        self._registry = registry
        self._config = config
        self._request_memory = request_memory
        self._streams = streams
        # those that run, by public id, also those that are not stored yet; and the task of each
        self.running: dict[str, StoredRun] = {}
        self._tasks: dict[asyncio.Task[None], StoredRun] = {}
        self._is_closed = False

    async def begin(self, caller: Caller, beginning: Beginning) -> tuple[int, StoredRun]:
        """Begin a response; gives its row id when it is stored.

        Raises:
            RepeatedRequest: its idempotency key was used before, for the same request.
            ChatHubError, DatabaseUnavailable: it may not begin; nothing is stored.
        """
        if self._is_closed:
            raise Unavailable("server_stopping", retry_after=_RETRY_AFTER)
        is_background = beginning.new.is_background
        unfollowed = None if is_background else self._config.unfollowed_seconds
        run = self.running[beginning.new.public_id] = StoredRun(unfollowed)
        task = self._registry.spawn(self._generate(caller, beginning, run))
        self._tasks[task] = run
        task.add_done_callback(self._tasks.pop)
        try:
            return await asyncio.shield(run.begun), run
        except asyncio.CancelledError:
            run.leave()
            raise

    async def close(self) -> None:
        """Store what still runs as failed, with its output so far."""
        self._is_closed = True
        for run in self._tasks.values():
            run.stop(_SHUTDOWN)
        if self._tasks:
            await asyncio.wait(list(self._tasks))

    async def _generate(self, caller: Caller, beginning: Beginning, run: StoredRun) -> None:
        new, body = beginning.new, self._request_memory.of(caller.id)
        fields = _fields_of(beginning.head)
        rewriter = Rewriter(fields, 2 if new.is_background else 0, has_begun=new.is_background)
        sink = LogSink(rewriter, partial(self._append, run))
        error: Failure | None = None
        try:
            # the body lasts longer than the request that brought it
            body.grow(len(beginning.client_format.body))
            with self._streams.slot(caller.id):
                begin = partial(self._begin, beginning, run)
                await self._gateway.respond(caller, beginning.client_format, beginning.headers, sink, begin)
        except asyncio.CancelledError:
            run.ending = run.ending or (_SHUTDOWN if self._is_closed else _STOPPED)
        except (ChatHubError, DatabaseUnavailable) as failure:
            error = failure
        except RepeatedRequest as repeated:
            run.fail(repeated)
        except Exception:
            logger.exception("a stored response failed")
            run.ending = run.ending or _BROKEN
        finally:
            body.release()
        await sink.settle()
        await self._finish(run, beginning, error)

    async def _begin(self, beginning: Beginning, run: StoredRun, request: GatewayRequest) -> None:
        """Store the response: its usage is reserved, and its provider is called next."""
        run.request = request
        if run.ending is not None:
            raise Unavailable("server_stopping", retry_after=_RETRY_AFTER)
        batch = _queued(beginning) if beginning.new.is_background else None
        # the name as it is kept, which may be another spelling than the client's
        new = beginning.new._replace(model=request.candidates.requested)
        writing = asyncio.ensure_future(self._db.write(log.begin, new, batch))
        try:
            run.id = await asyncio.shield(writing)
        except asyncio.CancelledError:
            # it is stored all the same
            run.id = await writing
            raise
        if batch is not None:
            run.add(batch)
        if not run.begun.done():
            run.begun.set_result(run.id)

    async def _append(self, run: StoredRun, batch: Batch, status: str | None) -> None:
        if status is None:
            await self._db.write(log.append, run.id, batch)
        else:
            batch = await self._db.write_with_retry(log.end, run.id, batch, status)
            run.is_over = True
        run.add(batch)

    async def _finish(self, run: StoredRun, beginning: Beginning, error: Failure | None) -> None:
        try:
            if not run.id:
                run.fail(run.error or error or _refusal(run.ending))
            elif not run.is_over:
                await self._cut(run, run.id, beginning, error)
        except Exception as failure:
            # it is ended when it is read next, or at the next start of the server
            unknown = not isinstance(failure, DatabaseUnavailable)
            logger.warning("the end of a stored response could not be stored: %s", failure, exc_info=unknown)
            run.fail(failure)
        finally:
            del self.running[beginning.new.public_id]
            if not run.begun.done():
                run.fail(_refusal(run.ending))
            run.end()

    async def _cut(
        self, run: StoredRun, response_id: int, beginning: Beginning, error: Failure | None
    ) -> None:
        """End a response that is not whole. Where no client has seen anything of it, nothing is kept: its
        client gets the error."""
        ending = run.ending
        broke_off = UpstreamFailed("upstream_cut", provider=run.provider)
        failure = error or (_refusal(ending) if ending else broke_off)
        if run.last < 0 and not run.is_shown:
            await self._db.write_with_retry(_delete, response_id)
            run.fail(failure)
            return
        ending = ending or _failed(failure)
        head = msgspec.json.decode(beginning.head.response(beginning.new.model, "in_progress"))
        run.add(await self._db.write_with_retry(log.cut, response_id, ending, head))
        run.is_over = True


def _failed(failure: Failure) -> Ending:
    """The end of a response that failed."""
    code = failure.details.get("code") if isinstance(failure, ChatHubError) else None
    return Ending("failed", failure.reason, error_code(failure.status, code))


def _refusal(ending: Ending | None) -> ChatHubError:
    """The error of a client that has seen nothing of a response which was ended."""
    if ending is None or ending is _BROKEN:
        return ChatHubError.of(_BROKEN.reason)
    return Unavailable.of(ending.reason, retry_after=_RETRY_AFTER)


def _fields_of(head: ResponseHead) -> Mapping[str, Any]:
    """The fields of a provider's response object that ChatHub sets."""
    ours = ("store", "background", "previous_response_id")
    return {"id": head.id, **{name: head.fields[name] for name in ours}}


def _queued(beginning: Beginning) -> Batch:
    """The first events of a response that runs in the background."""
    response: Raw = beginning.head.response(beginning.new.model, "queued")
    kinds = ("response.created", "response.queued")
    events = [framed({"type": kind, "response": response}, number) for number, kind in enumerate(kinds)]
    return Batch(0, 1, b"".join(events))


def _delete(tx: Transaction, response_id: int) -> None:
    tx.run(tx.q.responses.delete_unless_continued, response_id=response_id)

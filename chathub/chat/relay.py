"""Stateless chats for programs (/v1): nothing is stored but what was used.

Where client and provider speak the same dialect the bytes go through as they are and are only read in
passing; otherwise events go from one dialect to the other through an ``Outbox``.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any, NamedTuple, TypeVar

import aiohttp
from msgspec.structs import replace

from chathub.accounts.sessions import Caller
from chathub.catalog import ChatModel
from chathub.chat import pool, turns
from chathub.chat.context import estimate_messages
from chathub.chat.plan import Route
from chathub.chat.tally import Outbox, Tally
from chathub.clock import Clock
from chathub.database.connection import Database, Transaction
from chathub.errors import Unavailable
from chathub.fronts.request import Request
from chathub.upstream import failures, routing
from chathub.upstream.client import Client, Refused
from chathub.upstream.dialects.capabilities import learned
from chathub.upstream.types import ChatCall, Endpoint, Failure
from chathub.upstream.verdicts import verdict

T = TypeVar("T")


class Outgoing(NamedTuple):
    """A request as it goes to one endpoint."""

    url: str
    headers: dict[str, str]
    body: bytes


# makes the request for an endpoint, and is told whether it may be asked for the usage
Make = Callable[[Endpoint, bool], Outgoing]
# reads a response; raises Refused as long as nothing of it has gone to the client
Use = Callable[[aiohttp.ClientResponse], Awaitable[T]]


class Relay:
    """Sends programs' requests on and books what they used."""

    def __init__(self, db: Database, client: Client, clock: Clock) -> None:
        self._db = db
        self.client = client
        self._clock = clock
        self._running: dict[Tally, asyncio.Task[Any]] = {}
        self._idle = asyncio.Event()
        self._draining = False

    @contextmanager
    def admitted(self, tally: Tally) -> Iterator[None]:
        """Count one more answer in the making for as long as this lasts.

        Raises:
            Unavailable: the server is shutting down.
        """
        if self._draining:
            raise Unavailable("服务器正在重启，请稍后再试", retry_after=5)
        task = asyncio.current_task()
        assert task is not None
        self._running[tally] = task
        self._idle.clear()
        try:
            yield
        finally:
            del self._running[tally]
            if not self._running:
                self._idle.set()

    async def drain(self, seconds: float) -> None:
        """Take no more requests and give the answers in the making some time to end."""
        self._draining = True
        if self._running:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._idle.wait()

    def stop_key(self, key_id: int) -> None:
        """Break off the answers that come with a key that is gone; none may turn to it any more."""
        for tally, task in list(self._running.items()):
            tally.barred.add(key_id)
            if tally.endpoint and tally.endpoint.key_id == key_id:
                task.cancel()

    async def translate(self, route: Route, request: Request, outbox: Outbox) -> Failure | None:
        """Have a request answered in whichever dialect its model speaks; gives how that failed, fit to
        show."""
        outbox.model, outbox.prompt_estimate = route.model, estimate_messages(request.messages)
        call = _call(route.model, request)

        async def report(endpoint: Endpoint, failure: Failure | None) -> None:
            await self._note(outbox, endpoint, failure)

        try:
            failure = await routing.run(self.client, route.endpoints, call, outbox, report)
        finally:
            outbox.close()
        secrets = [endpoint.api_key for endpoint in route.endpoints]
        return failure and replace(failure, message=failures.scrub(failure.message, secrets))

    async def forward(self, route: Route, make: Make, tally: Tally, use: Use[T]) -> T:
        """What ``use`` makes of the provider's response to a body that goes on as it is: of the first
        endpoint that takes it.

        Raises:
            Refused: none does.
        """
        tally.model = route.model
        failure = Failure("没有可用的接口", kind="unreachable")
        for endpoint in route.endpoints:
            if endpoint.key_id in tally.barred:
                continue
            tally.endpoint = endpoint
            try:
                async with AsyncExitStack() as stack:
                    at = await stack.enter_async_context(self.client.at_local(endpoint))
                    return await use(await self._sent(stack, at, route.model.name, make))
            except Refused as refused:
                failure = refused.failure
                await self._note(tally, endpoint, failure)
                if verdict(failure) == "request":
                    break
        raise Refused(failure)

    async def _sent(
        self, stack: AsyncExitStack, endpoint: Endpoint, model: str, make: Make
    ) -> aiohttp.ClientResponse:
        """The response; a provider that refuses to be asked for the usage is asked without, from then on."""
        form = self.client.form_for(endpoint, model)
        try:
            request = make(endpoint, form.stream_options)
            return await stack.enter_async_context(self.client.raw(endpoint, *request))
        except Refused as refused:
            asked = ChatCall(endpoint.base_url, model, [], stream=True)
            other = learned(refused.failure, asked, form)
            if other is None or other.stream_options == form.stream_options:
                raise
        self.client.learn(endpoint, model, other)
        return await stack.enter_async_context(self.client.raw(endpoint, *make(endpoint, False)))

    async def _note(self, tally: Tally, endpoint: Endpoint, failure: Failure | None) -> None:
        tally.well = failure is None
        if failure is not None and endpoint.key_id is not None:
            sentence = failures.scrub(failure.message, [endpoint.api_key])
            now = self._clock.now()
            await self._db.write(pool.note_failure, endpoint.key_id, failure, sentence, now)

    async def book(self, caller: Caller, tally: Tally) -> None:
        """Count what an answer used, however it ended; goes on if the client leaves meanwhile."""
        if tally.model is not None:
            work = self._db.write(_book, caller, tally.model, tally, self._clock.today(), self._clock.now())
            await asyncio.shield(work)


def _call(model: ChatModel, request: Request) -> ChatCall:
    return ChatCall(
        "",
        model.name,
        request.messages,
        stream=request.stream and model.supports_streaming,
        params=request.params,
        tools=request.tools,
        tool_choice=request.tool_choice,
        extra=request.extra,
    )


def _book(tx: Transaction, caller: Caller, model: ChatModel, tally: Tally, day: str, now: int) -> None:
    turns.book(tx, caller.id, model.name, tally.bill(model), day, caller.token_id)
    if tally.well and tally.endpoint and tally.endpoint.key_id is not None:
        pool.note_success(tx, tally.endpoint.key_id, now)

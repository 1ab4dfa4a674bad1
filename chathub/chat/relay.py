"""Stateless chats for programs (/v1): nothing is stored but what was used.

Where client and provider speak the same dialect the bytes go through as they are and are only read in
passing; otherwise events go from one dialect to the other through an ``Outbox``.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

import aiohttp

from chathub.accounts.sessions import Caller
from chathub.catalog import ChatModel
from chathub.chat import ledger, pool, turns
from chathub.chat.context import estimate_messages
from chathub.chat.plan import Route
from chathub.clock import Clock
from chathub.database.connection import Database, Transaction
from chathub.errors import Unavailable
from chathub.fronts.request import Request
from chathub.upstream import failures, routing
from chathub.upstream.client import Client, Refused
from chathub.upstream.dialects.capabilities import learned
from chathub.upstream.types import ChatCall, Endpoint, Event, Failure, Reasoning, Text, ToolCall, Usage
from chathub.upstream.verdicts import verdict


class Outgoing(NamedTuple):
    """A request as it goes to one endpoint."""

    url: str
    headers: dict[str, str]
    body: bytes


class Tally:
    """Reads an answer in passing: what it used, and how much of it there was."""

    def __init__(self, prompt_estimate: int) -> None:
        self.prompt_estimate = prompt_estimate
        self.model: ChatModel | None = None
        self.endpoint: Endpoint | None = None
        self.begun = False
        self.well = False
        self._usage: Usage | None = None
        self._texts: list[str] = []
        self._thoughts: list[str] = []

    def feed(self, events: list[Event]) -> bool:
        for event in events:
            if isinstance(event, Text):
                self._texts.append(event.text)
            elif isinstance(event, Reasoning):
                self._thoughts.append(event.text)
            elif isinstance(event, ToolCall):
                self._texts.append(event.name + event.arguments)
            elif isinstance(event, Usage):
                self._usage = event
        self.begun = self.begun or bool(self._texts or self._thoughts)
        return False

    def bill(self, model: ChatModel) -> ledger.Bill:
        texts = "".join(self._texts), "".join(self._thoughts)
        return ledger.reckon(model, self._usage, self.prompt_estimate, *texts)


class Outbox(Tally):
    """Events on their way to a client of another dialect."""

    def __init__(self, prompt_estimate: int) -> None:
        super().__init__(prompt_estimate)
        self._events: list[Event] = []
        self._ready = asyncio.Event()

    def feed(self, events: list[Event]) -> bool:
        super().feed(events)
        self._events += events
        self._ready.set()
        return False

    @property
    def has_events(self) -> bool:
        return bool(self._events)

    async def wait(self, seconds: float) -> None:
        """Until there is something to take, or the time is over."""
        try:
            async with asyncio.timeout(seconds):
                await self._ready.wait()
        except TimeoutError:
            pass

    def close(self) -> None:
        """No more will come: waiting for it ends."""
        self._ready.set()

    def take(self) -> list[Event]:
        events, self._events = self._events, []
        self._ready.clear()
        return events


class Relay:
    """Sends programs' requests on and books what they used."""

    def __init__(self, db: Database, client: Client, clock: Clock) -> None:
        self._db = db
        self.client = client
        self._clock = clock
        self._running = 0
        self._idle = asyncio.Event()
        self._draining = False

    async def translate(self, route: Route, request: Request, outbox: Outbox) -> Failure | None:
        """Have a request answered in whichever dialect its model speaks; gives how that failed."""
        outbox.model, outbox.prompt_estimate = route.model, estimate_messages(request.messages)
        call = _call(route.model, request)
        try:
            return await routing.run(
                self.client, route.endpoints, call, outbox, lambda e, f: self._note(outbox, e, f)
            )
        finally:
            outbox.close()

    @asynccontextmanager
    async def forward(
        self, route: Route, outgoing: Callable[[Endpoint, bool], Outgoing], tally: Tally
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The provider's response to a body that goes on as it is: of the first endpoint that takes it.
        ``outgoing`` makes the request for an endpoint, and is told whether it may be asked for the usage.

        Raises:
            Refused: none does.
        """
        tally.model = route.model
        failure = Failure("没有可用的接口", kind="unreachable")
        for endpoint in route.endpoints:
            async with AsyncExitStack() as stack:
                try:
                    at = await stack.enter_async_context(self.client.at_local(endpoint))
                    response = await self._sent(stack, at, route.model.name, outgoing)
                except Refused as refused:
                    failure = refused.failure
                    await self._note(tally, endpoint, failure)
                    if verdict(failure) == "request":
                        break
                    continue
                tally.endpoint = endpoint
                yield response
                return
        raise Refused(failure)

    async def _sent(
        self,
        stack: AsyncExitStack,
        endpoint: Endpoint,
        model: str,
        outgoing: Callable[[Endpoint, bool], Outgoing],
    ) -> aiohttp.ClientResponse:
        """The response; a provider that refuses to be asked for the usage is asked without, from then on."""
        form = self.client.form_for(endpoint, model)
        try:
            request = outgoing(endpoint, form.stream_options)
            return await stack.enter_async_context(self.client.raw(endpoint, *request))
        except Refused as refused:
            asked = ChatCall(endpoint.base_url, model, [], stream=True)
            other = learned(refused.failure, asked, form)
            if other is None or other.stream_options == form.stream_options:
                raise
        self.client.learn(endpoint, model, other)
        return await stack.enter_async_context(self.client.raw(endpoint, *outgoing(endpoint, False)))

    def admit(self) -> None:
        """Count one more answer in the making.

        Raises:
            Unavailable: the server is shutting down.
        """
        if self._draining:
            raise Unavailable("服务器正在重启，请稍后再试", retry_after=5)
        self._running += 1
        self._idle.clear()

    def release(self) -> None:
        self._running -= 1
        if not self._running:
            self._idle.set()

    async def drain(self, seconds: float) -> None:
        """Take no more requests and give the answers in the making some time to end."""
        self._draining = True
        if self._running:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._idle.wait()

    async def _note(self, tally: Tally, endpoint: Endpoint, failure: Failure | None) -> None:
        tally.endpoint, tally.well = endpoint, failure is None
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

"""Stateless chats for programs (/v1): nothing is stored but what was used.

Where client and provider speak the same dialect the bytes go through as they are and are only read in
passing; otherwise events go from one dialect to the other through an ``Outbox``.
"""

import asyncio
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
from chathub.fronts.request import Request
from chathub.upstream import failures, routing
from chathub.upstream.client import Client, Refused
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
        self, route: Route, outgoing: Callable[[Endpoint], Outgoing], tally: Tally
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The provider's response to a body that goes on as it is: of the first endpoint that takes it.

        Raises:
            Refused: none does.
        """
        tally.model = route.model
        failure = Failure("没有可用的接口", kind="unreachable")
        for endpoint in route.endpoints:
            async with AsyncExitStack() as stack:
                try:
                    at = await stack.enter_async_context(self.client.at_local(endpoint))
                    response = await stack.enter_async_context(self.client.raw(at, *outgoing(at)))
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

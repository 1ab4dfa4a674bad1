"""Which endpoint gets a call: one after the other, until one has begun to answer."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from chathub.upstream.client import Client
from chathub.upstream.types import ChatCall, Endpoint, Event, Failure
from chathub.upstream.verdicts import verdict

Report = Callable[[Endpoint, Failure | None], Awaitable[None]]


class Sink(Protocol):
    """Where events go; ``begun`` once something of an answer has come.

    ``endpoint`` is the one in use, ``barred`` are keys that are gone meanwhile; while ``room`` is not set
    nothing more is read.
    """

    endpoint: Endpoint | None
    barred: set[int]
    room: asyncio.Event | None

    @property
    def begun(self) -> bool: ...

    def forget(self) -> None:
        """A failed attempt brought nothing of the answer: what else it told does not count."""

    def feed(self, events: list[Event]) -> bool:
        """Take what one network read brought; true for enough."""


async def run(
    client: Client, endpoints: Sequence[Endpoint], call: ChatCall, sink: Sink, report: Report
) -> Failure | None:
    """Feed the sink from the first endpoint that answers; gives how it failed, or None.

    A failure moves on to the next endpoint only before any output, and only where another key can help.
    ``report`` is told of every attempt. Nothing is raised for what a provider does.
    """
    failure: Failure | None = Failure("没有可用的API密钥", kind="unreachable")
    for endpoint in endpoints:
        if endpoint.key_id in sink.barred:
            continue
        sink.endpoint = endpoint
        failure = await client.call(endpoint, call, sink.feed, sink.room)
        await report(endpoint, failure)
        if failure is None or sink.begun or verdict(failure) == "request":
            return failure
        sink.forget()
    return failure

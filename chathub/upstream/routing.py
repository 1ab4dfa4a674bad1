"""Which endpoint gets a call: one after the other, until one has begun to answer."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from chathub.upstream.client import Client
from chathub.upstream.types import ChatCall, Endpoint, Event, Failure
from chathub.upstream.verdicts import verdict

Report = Callable[[Endpoint, Failure | None], Awaitable[None]]


class Sink(Protocol):
    """Where events go; ``begun`` once something of an answer has come."""

    @property
    def begun(self) -> bool: ...

    def feed(self, events: list[Event]) -> bool:
        """Take what one network read brought; true for enough."""


async def run(
    client: Client, endpoints: Sequence[Endpoint], call: ChatCall, sink: Sink, report: Report
) -> Failure | None:
    """Feed the sink from the first endpoint that answers; gives how it failed, or None.

    A failure moves on to the next endpoint only before any output, and only where another key can help.
    ``report`` is told of every attempt. Nothing is raised for what a provider does.
    """
    failure: Failure | None = None
    for endpoint in endpoints:
        failure = await client.call(endpoint, call, sink.feed)
        await report(endpoint, failure)
        if failure is None or sink.begun or verdict(failure) == "request":
            return failure
    return failure

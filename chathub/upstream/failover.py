"""Which endpoint gets a call: one after the other, until one has begun to answer."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from chathub.formats.events import Event, Failure
from chathub.formats.failure_class import another_may_help
from chathub.formats.messages import Attempt, ChatRequest, Endpoint
from chathub.upstream.client import Client
from chathub.upstream.http import MemoryLease

Report = Callable[[Endpoint, Failure | None], Awaitable[None]]


class Sink(ABC):
    """Where events go.

    ``attempts`` are those made so far, the current one last; ``excluded_keys`` are API keys removed since;
    ``first_at`` is when the reply began (``time.monotonic``); nothing more is read while ``room`` is not set;
    ``holding`` counts the bytes of a response that arrives whole.
    """

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.excluded_keys: set[int] = set()
        self.room: asyncio.Event | None = None
        self.holding: MemoryLease | None = None
        self.first_at: float | None = None

    @property
    def endpoint(self) -> Endpoint | None:
        """The one in use."""
        return self.attempts[-1].endpoint if self.attempts else None

    @property
    @abstractmethod
    def has_output(self) -> bool:
        """Whether something of an answer has come."""

    @abstractmethod
    def reset_attempt(self) -> None:
        """A failed attempt brought nothing of the answer: what else it told does not count."""

    @abstractmethod
    def feed(self, events: list[Event]) -> bool:
        """Take what one network read brought; true for enough."""


@contextmanager
def attempted(attempts: list[Attempt], endpoint: Endpoint, model: str) -> Iterator[Attempt]:
    """Count an attempt for as long as this lasts, however it ends."""
    attempt = Attempt(endpoint, model)
    attempts.append(attempt)
    try:
        yield attempt
    finally:
        attempt.ended = time.monotonic()


async def run(
    client: Client, endpoints: Sequence[Endpoint], call: ChatRequest, sink: Sink, report: Report
) -> Failure | None:
    """Feed the sink from the first endpoint that answers; gives how it failed, or None.

    A failure moves on to the next endpoint only before any output, and only where that can help and the
    first has done nothing for the request.
    ``report`` is told of every attempt. Nothing is raised for what a provider does.
    """
    failure: Failure | None = Failure("没有可用的API密钥", kind="unreachable")
    for endpoint in endpoints:
        if endpoint.key_id in sink.excluded_keys:
            continue
        with attempted(sink.attempts, endpoint, call.model) as attempt:
            failure = attempt.failure = await client.call(endpoint, call, sink.feed, sink.room, sink.holding)
        await report(endpoint, failure)
        if failure is None or sink.has_output:
            return failure
        sink.reset_attempt()
        if not another_may_help(failure):
            return failure
    return failure

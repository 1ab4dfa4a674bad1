"""Failover: one endpoint after the other, candidate after candidate, until one has begun to reply.

Chats, gateway requests, titles and key tests all go through ``run``.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from msgspec.structs import replace

from chathub.errors import BadRequest
from chathub.formats.events import Event, Failure, Usage
from chathub.formats.failures.table import meaning_of
from chathub.formats.messages import Attempt, ChatRequest, Endpoint
from chathub.formats.stream_decoder import StreamDecoder
from chathub.upstream.client import AttemptFailed, Client
from chathub.upstream.http import MemoryLease
from chathub.upstream.read_response import Keep

# is called after each attempt, which has its failure or None
Report = Callable[[Attempt], Awaitable[None]]

_NO_ENDPOINT = Failure.found("usable_key_missing", kind="unreachable")


class Candidate(Protocol):
    """A model that may reply, and the endpoints to try for it, in order. A target of an alias has a
    ``pool``: others of it can take the request in its place."""

    @property
    def model_name(self) -> str: ...

    @property
    def pool(self) -> str: ...

    @property
    def endpoints(self) -> Sequence[Endpoint]: ...


C = TypeVar("C", bound=Candidate)


class Progress(ABC):
    """What the attempts have brought so far.

    ``attempts`` are those made so far, the current one last; ``excluded_keys`` are API keys removed since;
    ``first_at`` is when the reply began (``time.monotonic``); nothing more is read while ``room`` is not set;
    ``memory`` counts the bytes of a response that arrives whole. ``left`` is set when nobody waits for the
    reply any more: no further attempt begins, and it is read on for its usage only. ``decoder`` is that of
    the stream which is being read.
    """

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.excluded_keys: set[int] = set()
        self.room: asyncio.Event | None = None
        self.memory: MemoryLease | None = None
        self.first_at: float | None = None
        self.left = asyncio.Event()
        self.decoder: StreamDecoder | None = None

    @property
    def endpoint(self) -> Endpoint | None:
        """The endpoint of the current attempt."""
        return self.attempts[-1].endpoint if self.attempts else None

    @property
    def attempt(self) -> Attempt | None:
        """The current attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    @abstractmethod
    def has_output(self) -> bool:
        """Whether some of the reply has come."""

    @property
    def is_committed(self) -> bool:
        """Whether no other attempt may follow: what came cannot be taken back."""
        return self.has_output

    def counted(self, usage: Usage | None) -> Usage | None:
        """The usage that the provider has told, without a count of the output from before there was any."""
        if usage is None or self.decoder is None or self.decoder.has_counted:
            return usage
        return replace(usage, completion_tokens=None, total_tokens=None)

    @property
    def is_behind(self) -> bool:
        """Whether output has come since the provider told the usage last."""
        return self.decoder is not None and self.decoder.is_behind

    @property
    def was_ended_early(self) -> bool:
        """Whether ChatHub has ended the current attempt before its provider had."""
        return self.attempt is not None and (self.left.is_set() or not self.attempt.is_complete)

    @property
    def has_finish(self) -> bool:
        """Whether the provider has said that its reply is over."""
        return self.decoder is not None and self.decoder.has_finish

    @property
    def may_tell_usage(self) -> bool:
        """Whether the provider may still tell its usage: its request was sent, and the usage has not come."""
        is_sent = self.attempt is not None and self.attempt.sent_at is not None
        return is_sent and not (self.decoder is not None and self.decoder.has_told_usage)

    def mark_sent(self) -> None:
        """Record that the request of the current attempt is sent."""
        self.attempts[-1].mark_sent()

    @abstractmethod
    def reset_attempt(self) -> None:
        """Forget usage and finish reason of a failed attempt without output."""

    @abstractmethod
    def feed(self, events: list[Event]) -> bool:
        """Take in the events of one network read; true if no more are needed."""

    def complete(self, failure: Failure | None) -> None:
        """Record that the current attempt has ended by itself, and how."""
        self.attempts[-1].complete(failure)


class Trial(NamedTuple):
    """How a candidate is tried: ``attempt`` makes one attempt at an endpoint, ``progress`` counts it."""

    progress: Progress
    attempt: Callable[[Endpoint], Awaitable[Failure | None]]


def trial(client: Client, chat_request: ChatRequest, progress: Progress, keep: Keep | None = None) -> Trial:
    """The usual trial: a chat request, encoded for each endpoint, whose events ``progress`` takes in;
    ``keep`` stores the attachments."""

    async def attempt(endpoint: Endpoint) -> Failure | None:
        return await client.call(endpoint, chat_request, progress, keep=keep)

    return Trial(progress, attempt)


async def run(
    candidates: Iterable[C], prepare: Callable[[C], Awaitable[Trial]], report: Report
) -> Failure | None:
    """Try the candidates' endpoints until one replies; gives the last failure, or None.

    A failure moves on to the next endpoint, and after a candidate's last one to the next candidate, only
    while nothing of the reply has come and somebody waits for it, and only if its meaning says that another
    may help.
    ``prepare`` is called for each candidate before its first attempt, ``report`` after every attempt. Nothing
    that a provider does raises.

    Raises:
        BadRequest: ``prepare`` refused the request for the first candidate. A target or a fallback for which
            it cannot be encoded is skipped, while there is another one.
    """
    failure: Failure | None = _NO_ENDPOINT
    refusal: BadRequest | None = None
    for number, candidate in enumerate(candidates):
        try:
            progress, attempt = await prepare(candidate)
        except BadRequest as error:
            if number == 0:
                refusal = error
            if refusal is not None and not candidate.pool:
                raise refusal from None
            continue
        refusal = None
        failure, is_over = await _try_endpoints(candidate, progress, attempt, report, failure)
        if is_over:
            return failure
    if refusal is not None:
        raise refusal
    return failure


async def _try_endpoints(
    candidate: Candidate,
    progress: Progress,
    attempt: Callable[[Endpoint], Awaitable[Failure | None]],
    report: Report,
    failure: Failure | None,
) -> tuple[Failure | None, bool]:
    """Try a candidate's endpoints after a ``failure``; gives the last failure, and whether no other candidate
    is to be tried."""
    for endpoint in candidate.endpoints:
        if endpoint.key_id in progress.excluded_keys:
            continue
        if progress.left.is_set():
            return failure, True
        record = Attempt(endpoint, candidate.model_name)
        failure = await _attempted(progress, attempt, record)
        await report(record)
        if failure is None or progress.is_committed or progress.left.is_set():
            return failure, True
        next_step = meaning_of(failure).next_step
        if next_step == "stop":
            # its usage counts: the provider may have charged for it
            return failure, True
        progress.reset_attempt()
        if next_step == "candidate":
            break
    return failure, False


async def _attempted(
    progress: Progress,
    attempt: Callable[[Endpoint], Awaitable[Failure | None]],
    record: Attempt,
) -> Failure | None:
    """Make one attempt and record it, also if it is cancelled."""
    progress.attempts.append(record)
    progress.decoder = None
    try:
        failure = await attempt(record.endpoint)
    except AttemptFailed as failed:
        failure = failed.failure
    finally:
        record.end()
    progress.complete(failure)
    return failure

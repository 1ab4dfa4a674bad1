"""Which endpoint gets a call: one after the other, until one has begun to answer."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from msgspec.structs import replace

from chathub.upstream.client import Client
from chathub.upstream.types import ChatCall, Event, Failure, Reasoning, Text, ToolCall


@dataclass(frozen=True)
class Endpoint:
    """Where a call may be sent, with which key. ``trusted``: no user chose the address; ``local``: the
    built-in model, whose address is known once it runs."""

    base_url: str
    api_key: str = field(default="", repr=False)
    trusted: bool = True
    local: bool = False
    key_id: int | None = None


# what the request itself caused: another key would get the same answer
_CALLERS_FAULT = (400, 404, 413, 422)
_OUTPUT = (Text, Reasoning, ToolCall)


async def stream(
    client: Client,
    endpoints: Sequence[Endpoint],
    call: ChatCall,
    use: Callable[[Endpoint], None] = lambda endpoint: None,
) -> AsyncGenerator[list[Event], None]:
    """The events of the first endpoint that answers, one list for each network read.

    A failure moves on to the next endpoint only before any output, and only where another key can
    help; the last list may hold a ``Failure``. Nothing is raised for what the provider does. ``use`` is
    told of each endpoint before it is tried.
    """
    for number, endpoint in enumerate(endpoints, 1):
        use(endpoint)
        attempt = replace(call, base_url=endpoint.base_url, api_key=endpoint.api_key)
        begun = False
        failed = False
        batches = client.stream(attempt, trusted=endpoint.trusted, local=endpoint.local)
        async with aclosing(batches):
            async for events in batches:
                begun = begun or any(isinstance(event, _OUTPUT) for event in events)
                last = events[-1] if events else None
                if not begun and number < len(endpoints) and isinstance(last, Failure):
                    failed = last.status not in _CALLERS_FAULT
                    if failed:
                        break
                yield events
        if not failed:
            return

"""The sink of a gateway request: the stream to its client."""

from typing import Protocol


class Sink(Protocol):
    """A stream to the client, without its web server.

    ``has_begun``: the head was sent, so that a failure cannot become a status any more; ``has_ended``: the
    stream was closed; ``is_lost``: the client has left, or has not read anything for long: nothing more is
    sent to it. ``headers`` go with the head, or with a body that is sent whole.
    """

    headers: dict[str, str]

    @property
    def has_begun(self) -> bool: ...

    @property
    def has_ended(self) -> bool: ...

    @property
    def is_lost(self) -> bool: ...

    def lose(self) -> None:
        """The client has left."""

    async def write(self, data: bytes) -> None:
        """Send some bytes, and the head before the first of them."""

    async def end(self, data: bytes = b"") -> None:
        """Send the last bytes and close the stream."""


class DroppableSink(Sink, Protocol):
    """A sink whose connection can be dropped: not every stream has an event that says that it failed."""

    def abort(self) -> None:
        """Drop the connection: what was sent is not whole and must not look so."""

"""The query parameters of stored responses."""

from typing import Annotated, Literal

from msgspec import Meta

from chathub.schemas.decode import Request


class Retrieval(Request):
    """How a stored response is read: whole, or as the events behind a sequence number."""

    stream: bool = False
    starting_after: Annotated[int, Meta(ge=-1, le=2**53)] = -1


class ItemsPage(Request):
    """A page of the items of an input."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    order: Literal["asc", "desc"] = "desc"
    after: str | None = None

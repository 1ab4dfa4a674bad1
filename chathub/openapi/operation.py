"""What is said of a route besides its method, path and access."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from chathub.handlers.http import Handler

# media types
JSON, EVENTS, FORM = "application/json", "text/event-stream", "multipart/form-data"


class Content(Struct, frozen=True):
    """A body of one media type. ``kind`` is its type in Python: of JSON the value, of events one event; None
    for other bytes."""

    media_type: str
    kind: Any = None
    description: str = ""


class Header(Struct, frozen=True):
    """A header of a request or a response."""

    name: str
    description: str


class Operation(Struct, frozen=True, kw_only=True):
    """A route of the API.

    ``id`` names it in generated clients and never changes. ``query`` are the types of its query parameters
    together, ``body`` is that of its JSON body; ``form`` describes a form that it takes besides, or instead.
    ``responses`` are the bodies of its 200. ``errors`` are the codes of its own by their status, with blanks
    between them: those that many requests may get come to them (``errors.py``). ``sent_headers`` are those of
    the request that have a meaning here, ``headers`` those of the response. ``is_signed_in_by_choice``:
    public, but a token means something. ``has_etag``: 304 for what the client has already.
    """

    id: str
    summary: str
    description: str = ""
    query: Sequence[type[Struct]] = ()
    body: Any = None
    form: str = ""
    responses: Sequence[Content] = ()
    errors: Mapping[int, str] = {}
    headers: Sequence[Header] = ()
    sent_headers: Sequence[Header] = ()
    is_signed_in_by_choice: bool = False
    has_etag: bool = False


Operations = Mapping[Handler, Operation]


def json(kind: Any, description: str = "") -> Content:
    return Content(JSON, kind, description)


def events(kind: Any, description: str = "") -> Content:
    return Content(EVENTS, kind, description)

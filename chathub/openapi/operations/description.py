"""Section 13: this description."""

from chathub.handlers import description
from chathub.openapi.operation import Content, Header, Operation, Operations, json
from chathub.schemas.json import JsonObject

_CACHED = [
    Header("ETag", "For `If-None-Match`"),
    Header("Cache-Control", "`no-cache`: it may be kept, and is asked for again"),
]

OPERATIONS: Operations = {
    description.show: Operation(
        id="getDescription",
        summary="This description, as OpenAPI 3.1",
        responses=[json(JsonObject)],
        headers=_CACHED,
        has_etag=True,
    ),
    description.show_page: Operation(
        id="getDescriptionPage",
        summary="This description, as a page",
        responses=[Content("text/html", None, "The page")],
        headers=_CACHED,
        has_etag=True,
    ),
}

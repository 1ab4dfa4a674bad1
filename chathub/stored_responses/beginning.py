"""A response that is to begin, made of a request for it and the history that it continues."""

from collections.abc import Mapping, Sequence

from msgspec import Raw, Struct

from chathub.database.rows.responses import StoredResponse
from chathub.formats.responses.client import ResponsesClient
from chathub.formats.responses.head import ResponseHead
from chathub.stored_responses.log import NewResponse
from chathub.stored_responses.repeats import RequestKey
from chathub.stored_responses.request import OURS, Wanted, body_of, packed_items


class StoredRequest(Struct, frozen=True):
    """A request for a response that is kept; ``headers`` are the client's, in lower case."""

    fields: Mapping[str, Raw]
    wanted: Wanted
    headers: Mapping[str, str]
    key: RequestKey | None


class Beginning(Struct, frozen=True):
    """A response that is to begin: its row, what its objects repeat of the request, and the request that is
    generated for it, which always streams."""

    new: NewResponse
    head: ResponseHead
    client_format: ResponsesClient
    headers: Mapping[str, str]


def beginning_of(
    request: StoredRequest,
    user_id: int,
    public_id: str,
    now: int,
    previous: StoredResponse | None,
    earlier: Sequence[Raw],
) -> Beginning:
    """The beginning of a user's response; ``earlier`` are the items of those that it continues. Nothing in it
    refers to the body that arrived: it may be as large as the one that is generated."""
    client_format = ResponsesClient(body_of(request.fields, earlier, stream=True))
    ours = {name: request.fields[name].copy() for name in OURS if name in request.fields}
    fields = {**client_format.fields, **ours, "store": Raw(b"true")}
    head = ResponseHead.of(fields, public_id, now // 1000)
    new = NewResponse(
        public_id=public_id,
        user_id=user_id,
        previous=previous,
        model=client_format.model,
        is_background=request.wanted.is_background,
        now=now,
        key=request.key,
        input=packed_items(request.fields, public_id),
    )
    return Beginning(new, head, client_format, request.headers)

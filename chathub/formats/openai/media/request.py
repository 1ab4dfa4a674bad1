"""A request for media: what ChatHub reads of it, and how it goes to a provider."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from msgspec import Raw
from msgspec.structs import replace

from chathub.database.rows.budgets import GatewayKind
from chathub.errors import BadRequest
from chathub.formats import estimates, forwarding, large_json, sse
from chathub.formats import loose_json as fields
from chathub.formats.events import Event, Failure, Units, Usage
from chathub.formats.failures import error_bodies
from chathub.formats.forms.encode import FormBody
from chathub.formats.messages import ChatRequest, Endpoint, UpstreamRequest
from chathub.formats.openai.encode_stream import Encoder
from chathub.formats.openai.media.stream import MediaDecoder
from chathub.formats.prompt_counts import counts_of_body, counts_of_unreadable
from chathub.formats.quirks.table import Quirks
from chathub.formats.stream_decoder import EMPTY, UNREADABLE, StreamDecoder
from chathub.formats.urls import url_of
from chathub.schemas.json import JsonObject

# characters of a model's name
_LONGEST_NAME = 200
# a provider that tells so many times what a request can use counts wrongly
_MOST_TIMES = 10


class MediaRequest(ABC):
    """A request that is forwarded.

    ``prompt`` is about how many tokens its text is. ``most_prompt``, ``most_reply`` (tokens) and ``most`` are
    bounds of what it may use. ``streams``: the client requested events; ``is_text``: a plain text.
    """

    kind: ClassVar[GatewayKind]
    path: ClassVar[str]
    # the types of models that take it
    model_types: ClassVar[tuple[str, ...]]
    # whether another model can take the place of one that fails
    falls_back = True
    # whether the length of its replies can be capped
    takes_cap = False
    # whether the response is a file, whose usage nothing tells
    is_binary = False
    is_text = False
    strips_usage = False
    # what a provider may charge for any request, in units
    least: ClassVar[int] = 1
    # how many last events a stream has
    expected = 1
    last_event: ClassVar[bytes]
    is_last_event: ClassVar[re.Pattern[bytes]]
    model: str
    streams: bool
    prompt = most_prompt = most_reply = 0
    choices = 1
    most: Units | None = None

    @property
    def sent(self) -> Units | None:
        """What is used once it is sent, as long as the provider does not tell it."""
        return self.most

    @property
    def unsupported(self) -> BadRequest:
        """The error where no provider of the model has the path."""
        return BadRequest("model_without_path", model=self.model, path=f"/v1{self.path}")

    @abstractmethod
    def body(self, model: str, *, takes_extras: bool) -> bytes | FormBody:
        """The body with the name that the model has at its provider."""

    def units_of(self, responses: list[JsonObject]) -> Units | None:
        """What was used, by the provider's response or by the last events of its stream."""
        return self.sent

    def paid_units(self, responses: list[JsonObject]) -> Units | None:
        """The same as far as it is possible: a provider is not believed any number."""
        units = self.units_of(responses)
        if units is None or self.most is None:
            return units
        return replace(units, count=min(units.count, _MOST_TIMES * max(self.least, self.most.count)))

    @property
    def requested(self) -> int | None:
        """The length of one reply in tokens (None: the client set none)."""
        return self.most_reply

    def usage_in(self, response: JsonObject) -> Usage:
        """The tokens in a whole response."""
        counts: dict[str, int] = {}
        fields.update_counts(counts, fields.as_object(response.get("usage")))
        return fields.read_usage(counts)

    def described(self) -> ChatRequest | None:
        """What it holds, as far as refusals teach quirks; None: they teach nothing."""
        return None

    def upstream(
        self, endpoint: Endpoint, model: str, quirks: Quirks, *, takes_extras: bool, cap: int | None = None
    ) -> UpstreamRequest:
        """The request for an endpoint; ``cap``: the most tokens that a reply may have."""
        body = self.body(model, takes_extras=takes_extras)
        headers = {**forwarding.headers_for(endpoint), "Accept": "*/*"}
        url = url_of(endpoint.base_url, self.path)
        if isinstance(body, bytes):
            return UpstreamRequest(url, headers, body, is_media=True)
        headers["Content-Type"] = body.content_type
        return UpstreamRequest(url, headers, body.texts, body, is_media=True)

    def decoder(self, limit: int) -> StreamDecoder:
        return MediaDecoder(limit, self.paid_units, self.expected)

    def failure_event(self, failure: Failure, decoder: StreamDecoder) -> bytes:
        """A failure as an event of the stream."""
        return b"".join(map(sse.frame, Encoder(self.model, "", 0, include_usage=False).feed([failure])))

    def decode_body(self, body: bytes) -> list[Event]:
        """The usage in a whole response, which may be a text, or the failure in it."""
        as_text: list[Event] = [Usage(completion_tokens=0), *self._told([])]
        if not body.strip() and not self.is_text:
            return [Failure.found(EMPTY, kind="empty", status=200)]
        if body.lstrip()[:1] not in (b"{", b"["):
            return as_text
        try:
            value = large_json.loads(body, _SHAPE)
        except (ValueError, RecursionError):
            return as_text if self.is_text else [Failure.found(UNREADABLE, kind="cut", status=200)]
        found = fields.as_object(value)
        if error_bodies.is_error(found):
            return [fields.refusal(value, UNREADABLE, "cut")]
        usage = self.usage_in(found)
        return [usage if usage != Usage() else Usage(completion_tokens=0), *self._told([found])]

    def _told(self, responses: list[JsonObject]) -> list[Units]:
        units = self.paid_units(responses)
        return [] if units is None else [units]


class JsonRequest(MediaRequest):
    """A request in JSON: its fields go on as they are."""

    _fields: Mapping[str, Raw]

    def _count_prompt(self, body: bytes, told: int | None = None) -> None:
        """Count the tokens of the body's texts; ``told``: the client has split them into so many."""
        counts = counts_of_body(body) or counts_of_unreadable(body)
        self.prompt = estimates.expected(counts) if told is None else told
        self.most_prompt = estimates.longest(counts) if told is None else told

    def body(self, model: str, *, takes_extras: bool) -> bytes:
        fields = self._fields if takes_extras else forwarding.without_extras(self._fields)
        return forwarding.adapted(fields, model)


_SHAPE: large_json.Shape = {
    **large_json.ERRORS,
    "usage": None,
    "meta": None,
    "duration": None,
    "size": None,
    "quality": None,
    "data": [{"url": None, "error": None}],
    "images": [{"url": None, "error": None}],
}


def checked_model(name: str | None) -> str:
    """The name of a model.

    Raises:
        BadRequest: it is missing, or too long.
    """
    if not name:
        raise BadRequest("field_required", field="model", details={"param": "model"})
    if len(name) > _LONGEST_NAME:
        raise BadRequest("unknown_model", model=name[:_LONGEST_NAME])
    return name

"""A client of OpenAI's Responses: its request, and the replies it expects."""

import secrets
import time
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from chathub.formats.client_request import ClientRequest
from chathub.formats.events import Event
from chathub.formats.named_events import FramedEncoder
from chathub.formats.responses.decode_request import decode_fields, decode_head, request_of
from chathub.formats.responses.encode_stream import Encoder, encode_body
from chathub.formats.responses.forwarded_client import ForwardedClient
from chathub.formats.responses.head import ResponseHead
from chathub.formats.responses.references import with_items
from chathub.formats.responses.tools import ToolNames
from chathub.schemas.readable import readable

NONE: Mapping[str, bytes] = MappingProxyType({})


class ResponsesClient(ForwardedClient):
    """A request of ``POST /v1/responses``; ``id`` is that of its response. ``found`` has the items that it
    refers to, by their ids; ``keeps_items``: the client may refer to the items of this one.

    Raises:
        BadRequest: the body is no such request, or refers to another item.
    """

    _tool_names: ToolNames | None = None

    def __init__(self, body: bytes, found: Mapping[str, bytes] = NONE) -> None:
        self.body = body = readable(body)
        sent = decode_fields(body)
        head = decode_head(body)
        self.fields = with_items(sent, found)
        if self.fields is not sent:
            self.body = msgspec.json.encode(self.fields)
        self.keeps_items = bytes(sent.get("store", b"")) != b"false"
        self.model, self.stream, self.max_tokens = head.model, head.stream, head.max_tokens
        self.id, self._created = f"resp_{secrets.token_hex(24)}", int(time.time())

    def decode_request(self) -> ClientRequest:
        # here, because the input may be long, and this may run off the loop
        self._tool_names = ToolNames.of(self.fields)
        return request_of(self.fields)

    def encoder(self, model: str, prompt_tokens: int) -> FramedEncoder:
        return FramedEncoder(Encoder(self._head(), self._names(), model))

    def encode_body(self, events: list[Event], model: str) -> bytes:
        return encode_body(events, self._head(), self._names(), model)

    def _names(self) -> ToolNames:
        return self._tool_names or ToolNames.of(self.fields)

    def _head(self) -> ResponseHead:
        return ResponseHead.of(self.fields, self.id, self._created)

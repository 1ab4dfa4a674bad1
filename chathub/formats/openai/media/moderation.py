"""Requests that ask whether something is harmful (``POST /v1/moderations``)."""

import msgspec
from msgspec import Struct

from chathub.formats.body_fields import Known, fields_of
from chathub.formats.client_request import decode
from chathub.formats.openai.media.request import JsonRequest, checked_model
from chathub.schemas.readable import readable

_KNOWN = Known("model", "input")
# the model of requests that name none
_DEFAULT = "omni-moderation-latest"


class _Head(Struct):
    model: str | None = None


_decode_head = msgspec.json.Decoder(_Head).decode


class ModerationRequest(JsonRequest):
    """What to judge is a text, several texts, or parts with images."""

    kind = "moderation"
    path = "/moderations"
    model_types = ("moderation",)
    streams = False

    def __init__(self, body: bytes) -> None:
        body = readable(body)
        self._fields, head = fields_of(body, _KNOWN), decode(_decode_head, body)
        self.model = checked_model(head.model or _DEFAULT)
        self._count_prompt(body)

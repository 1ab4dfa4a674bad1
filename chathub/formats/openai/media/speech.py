"""A request for speech (``POST /v1/audio/speech``): a text, whose characters count, becomes a recording."""

import re

import msgspec
from msgspec import Struct

from chathub.formats.body_fields import Known, fields_of
from chathub.formats.client_request import decode
from chathub.formats.events import Units
from chathub.formats.openai.media.request import JsonRequest, checked_model
from chathub.schemas.readable import readable

_KNOWN = Known("model", "input", "stream_format")
# tokens of the speech of one character, at most: a slow voice says five a second, in 20 tokens each
_TOKENS_PER_CHARACTER = 5


class _Head(Struct):
    model: str | None = None
    input: str = ""
    stream_format: str | None = None


_decode_head = msgspec.json.Decoder(_Head).decode


class SpeechRequest(JsonRequest):
    """``is_binary``: the response is the recording itself; else it comes as events."""

    kind = "speech"
    path = "/audio/speech"
    model_types = ("audio",)
    last_event = b"speech.audio.done"
    is_last_event = re.compile(rb'"type"\s*:\s*"speech\.audio\.done"')

    most: Units

    def __init__(self, body: bytes) -> None:
        body = readable(body)
        self._fields = fields_of(body, _KNOWN)
        head = decode(_decode_head, body)
        self.model = checked_model(head.model)
        self.streams = head.stream_format == "sse"
        self.is_binary = not self.streams
        self.most = Units("character", len(head.input))
        self._count_prompt(body)
        self.most_reply = _TOKENS_PER_CHARACTER * len(head.input)

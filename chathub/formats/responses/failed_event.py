"""The last event of a forwarded stream that failed on its way."""

import json
import time

from chathub.formats.events import Failure
from chathub.formats.named_events import framed
from chathub.formats.responses.decode_stream import Decoder
from chathub.formats.responses.error_codes import error_code
from chathub.formats.stream_decoder import StreamDecoder
from chathub.schemas.json import JsonObject

_NAME = "response.failed"
# fields that clients require, where the response did not begin with them
_REQUIRED: JsonObject = {
    "object": "response",
    "model": "",
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}


def failed_event(failure: Failure, decoder: StreamDecoder) -> bytes:
    """``response.failed``, of the response that the stream began with, and with the number that follows."""
    head = decoder.head if isinstance(decoder, Decoder) else {}
    number = decoder.number if isinstance(decoder, Decoder) else -1
    error = {"code": error_code(failure.status, failure.code), "message": failure.message}
    response: JsonObject = {"id": "", "created_at": int(time.time()), **_REQUIRED, **head}
    response |= {"status": "failed", "error": error, "output": [], "usage": None}
    event = {"type": _NAME, "sequence_number": number + 1, "response": response}
    return framed([(_NAME, json.dumps(event).encode())])

"""Decodes responses in Gemini's format.

Sources: Google's API reference ("generateContent", "Thinking", "Thought signatures") and recorded responses.
Each event of a stream is a whole object with the next parts of the reply. There is no last event: a reply is
complete once its ``finishReason`` has come.
"""

import json
import re

import msgspec
from msgspec import Raw, Struct, field

from chathub.formats import failures, large_json, sse
from chathub.formats import loose_json as fields
from chathub.formats.events import Event, Failure, Reasoning, Text, Usage
from chathub.formats.stream_decoder import BROKEN, STATE, UNREADABLE_ERRORS, StreamDecoder
from chathub.schemas.json import JsonObject
from chathub.text import well_formed

_FINISH_WORDS = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "BLOCKLIST": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
}
_UNSPECIFIED = ("FINISH_REASON_UNSPECIFIED", "BLOCK_REASON_UNSPECIFIED", "BLOCKED_REASON_UNSPECIFIED")
_BAD_IN_ID = re.compile(r"[^a-zA-Z0-9_-]")


class _Part(Struct, gc=False):
    text: str = ""
    thought: bool = False
    signature: str = field(default="", name="thoughtSignature")
    call: None = field(default=None, name="functionCall")


class _Content(Struct, gc=False):
    parts: list[_Part] = []


class _Candidate(Struct, gc=False):
    content: _Content | None = None
    finish: str | None = field(default=None, name="finishReason")


class _Response(Struct, gc=False):
    candidates: list[_Candidate]
    usage: Raw = field(default=Raw(b""), name="usageMetadata")
    feedback: None = field(default=None, name="promptFeedback")
    error: None = None


_CALL: large_json.Shape = {"id": None, "name": None, "args": None}
_PART: large_json.Shape = {"text": None, "thought": None, "thoughtSignature": None, "functionCall": _CALL}

_decode_response = msgspec.json.Decoder(_Response).decode


class Decoder(StreamDecoder):
    """Decodes one streamed response; the order of its events is described at ``StreamDecoder``.

    ``State`` has what Gemini needs back with this reply, if there is any of it:
    ``{"gemini": {"calls": {id: signature}, "text": signature, "ids": [id, …]}}``. ``ids`` are the ids of
    calls that Gemini itself gave; other calls get ids here that are unique in a conversation.
    """

    shape = {
        **large_json.ERRORS,
        "candidates": [{"content": {"parts": [_PART]}, "finishReason": None}],
        "usageMetadata": None,
        "promptFeedback": None,
        "responseId": None,
    }

    def __init__(self, limit: int = sse.LIMIT) -> None:
        super().__init__(limit)
        self._calls: dict[str, str] = {}
        self._own_ids: list[str] = []
        self._text_signature = ""
        self._raw_usage = b""

    def _take_plain(self, name: str, payload: bytes, events: list[Event]) -> bool:
        try:
            response = _decode_response(payload)
        except UNREADABLE_ERRORS:
            return False
        if not response.candidates:
            return False
        candidate = response.candidates[0]
        for part in candidate.content.parts if candidate.content else ():
            if part.text:
                events.append(Reasoning(part.text) if part.thought else Text(part.text))
                self._has_output = True
            if part.signature and not part.thought:
                self._text_signature = self._keep(part.signature)
        if candidate.finish and candidate.finish not in _UNSPECIFIED:
            self._finish = candidate.finish
        usage = bytes(response.usage)  # not decoded, for only the last one counts
        if len(usage) > 2 and usage.startswith(b"{"):
            self._raw_usage = usage
        self._arrived = True
        return True

    def _take_value(self, value: object, events: list[Event]) -> None:
        """Without ``alt=sse`` a stream is one JSON array of responses."""
        for item in value if isinstance(value, list) and value else [value]:
            super()._take_value(item, events)

    def _take_object(self, value: JsonObject, events: list[Event]) -> None:
        if self.done:
            return
        if usage := fields.as_object(value.get("usageMetadata")):
            self._raw_usage = failures.compact(usage).encode("utf-8", "replace")
        candidate = fields.first(value.get("candidates"))
        parts = fields.as_object(candidate.get("content")).get("parts")
        for part in parts if isinstance(parts, list) else []:
            self._take_part(fields.as_object(part), fields.as_string(value.get("responseId")), events)
        finish = fields.as_string(candidate.get("finishReason"))
        if finish not in _UNSPECIFIED:
            self._finish = finish or self._finish
        reason = fields.as_string(fields.as_object(value.get("promptFeedback")).get("blockReason"))
        if reason and reason not in _UNSPECIFIED and not candidate:
            self._finish = "PROHIBITED_CONTENT"
            code = failures.short_word(reason)
            blocked = Failure.found(
                "prompt_blocked", status=200, params={"word": code}, type="content_filter", code=code
            )
            self._fail(events, blocked)
        elif value.get("error"):
            self._fail(events, fields.refusal(value, BROKEN))

    def _take_part(self, part: JsonObject, response_id: str, events: list[Event]) -> None:
        thought = part.get("thought") is True
        signature = self._keep(part.get("thoughtSignature"))
        call = part.get("functionCall")
        if isinstance(call, dict):
            call_id = well_formed(fields.as_string(call.get("id")))
            if call_id and call_id not in self._calls:
                self._own_ids.append(call_id)
            else:
                call_id = self._new_id(response_id)
            arguments = call.get("args")
            text = failures.compact(arguments) if isinstance(arguments, dict) else ""
            self._call(len(self._calls), call_id, fields.as_string(call.get("name")), text or "{}", events)
            self._calls[call_id] = signature
        else:
            self._say(Reasoning if thought else Text, part.get("text"), events)
            if signature and not thought:
                self._text_signature = signature

    def _new_id(self, response_id: str) -> str:
        """An id for a call without one. It contains the response's own id, for in other formats a
        conversation in which two calls have the same id is refused; OpenAI accepts up to 40 characters."""
        middle = _BAD_IN_ID.sub("", response_id)[:24]
        return f"call_{middle}_{len(self._calls)}" if middle else f"call_{len(self._calls)}"

    def _usage(self) -> Usage:
        """Gemini counts thoughts separately from the text, and leaves out counts of zero."""
        try:
            usage = fields.as_object(json.loads(self._raw_usage or b"{}"))
        except (ValueError, RecursionError):
            usage = {}
        count = {name: fields.as_count(value) for name, value in usage.items() if name.endswith("TokenCount")}
        if not any(value is not None for value in count.values()):
            return Usage()
        prompt, thoughts = count.get("promptTokenCount"), count.get("thoughtsTokenCount")
        if prompt is not None:
            prompt += count.get("toolUsePromptTokenCount") or 0
        completion = (count.get("candidatesTokenCount") or 0) + (thoughts or 0)
        total = count.get("totalTokenCount")
        if total is None and prompt is not None:
            total = prompt + completion
        return Usage(prompt, completion, total, thoughts, count.get("cachedContentTokenCount"))

    def _state(self) -> JsonObject:
        signatures = {call_id: signature for call_id, signature in self._calls.items() if signature}
        kept = {"calls": signatures, "text": self._text_signature, "ids": self._own_ids}
        kept = {name: value for name, value in kept.items() if value}
        return {"gemini": kept} if kept and self._kept < STATE else {}

    def _reason(self, word: str) -> str:
        reason = _FINISH_WORDS.get(word, word)
        return "tool_calls" if reason == "stop" and self._calls else reason


def decode_body(body: bytes) -> list[Event]:
    """The events of a 2xx response that was not streamed, or of a stream that came as a JSON array, in the
    order described at ``StreamDecoder``."""
    return Decoder(max(sse.LIMIT, len(body))).decode_body(body)

"""Decodes responses in Gemini's format.

Sources: Google's API reference ("generateContent", "Thinking", "Thought signatures") and recorded responses.
Each event of a stream is a whole object with the next parts of the reply. There is no last event: a reply is
complete once its ``finishReason`` has come.
"""

import secrets
from typing import Annotated

import msgspec
from msgspec import Meta, Raw, Struct, field

from chathub.formats import large_json, sse
from chathub.formats import loose_json as fields
from chathub.formats.events import Event, Failure, Reasoning, Source, State, Text, Usage
from chathub.formats.failures import error_bodies
from chathub.formats.gemini import attachments
from chathub.formats.gemini.sources import Grounding
from chathub.formats.stream_decoder import BROKEN, UNREADABLE_ERRORS, StreamDecoder
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
    "MODEL_ARMOR": "content_filter",
    "LANGUAGE": "content_filter",
    "UNEXPECTED_TOOL_CALL": "tool_calls",
}
_UNSPECIFIED = ("FINISH_REASON_UNSPECIFIED", "BLOCK_REASON_UNSPECIFIED", "BLOCKED_REASON_UNSPECIFIED")


class _Part(Struct, gc=False):
    text: str = ""
    thought: bool = False
    signature: str = field(default="", name="thoughtSignature")
    call: None = field(default=None, name="functionCall")
    data: None = field(default=None, name="inlineData")
    file: None = field(default=None, name="fileData")
    inline_data: None = None
    file_data: None = None
    code: None = field(default=None, name="executableCode")
    result: None = field(default=None, name="codeExecutionResult")


class _Content(Struct, gc=False):
    parts: list[_Part] = []


class _Candidate(Struct, gc=False):
    content: _Content | None = None
    index: Annotated[int, Meta(le=0)] | None = None
    finish: str | None = field(default=None, name="finishReason")
    grounding: Raw = field(default=Raw(b""), name="groundingMetadata")
    citations: Raw = field(default=Raw(b""), name="citationMetadata")


class _Response(Struct, gc=False):
    candidates: Annotated[list[_Candidate], Meta(max_length=1)]
    usage: JsonObject | None = field(default=None, name="usageMetadata")
    feedback: None = field(default=None, name="promptFeedback")
    error: None = None


# parts that are neither text nor a call: what the provider's own tool ran, files
_RAN = ("executableCode", "codeExecutionResult")
_FILES = ("inlineData", "fileData", "inline_data", "file_data")
_CALL: large_json.Shape = {"id": None, "name": None, "args": None}
_PART: large_json.Shape = {
    "text": None,
    "thought": None,
    "thoughtSignature": None,
    "functionCall": _CALL,
    **dict.fromkeys(_RAN, {}),
    **dict.fromkeys(_FILES),
}
_METADATA: dict[str, large_json.Shape] = {"groundingMetadata": None, "citationMetadata": None}

_decode_response = msgspec.json.Decoder(_Response).decode


class Decoder(StreamDecoder):
    """Decodes one streamed response; the order of its events is described at ``StreamDecoder``.

    A ``State`` is the thought signature of the tool call that follows, or of the text before it; calls that
    have no id of Gemini get ids here that are unique in a conversation.
    """

    shape = {
        **large_json.ERRORS,
        "candidates": [{"index": None, "content": {"parts": [_PART]}, "finishReason": None, **_METADATA}],
        "usageMetadata": None,
        "promptFeedback": None,
    }
    finish_words = _FINISH_WORDS

    def __init__(self, limit: int = sse.LIMIT) -> None:
        super().__init__(limit)
        self._calls: set[str] = set()
        self._prefix = secrets.token_hex(12)
        self._grounding = Grounding()

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
                if part.thought:
                    events.append(Reasoning(part.text))
                    self._has_reasoning = True
                else:
                    events.append(Text(part.text))
                    self._has_answer = True
                    self._grounding.text.add(part.text)
            if part.signature and not part.thought:
                self._sign_text(part.text, part.signature, events)
        if candidate.finish and candidate.finish not in _UNSPECIFIED:
            self._finish = candidate.finish
        if candidate.grounding or candidate.citations:
            self._grounding.keep(candidate.grounding, candidate.citations)
        if response.usage:
            self._keep_counts(response.usage)
        self._arrived = True
        return True

    def _take_value(self, value: object, events: list[Event]) -> None:
        """Without ``alt=sse`` a stream is one JSON array of responses."""
        for item in value if isinstance(value, list) and value else [value]:
            super()._take_value(item, events)

    def _take_object(self, value: JsonObject, events: list[Event]) -> None:
        if self.done:
            return
        self._keep_counts(fields.as_object(value.get("usageMetadata")))
        candidate = _first_candidate(value.get("candidates"))
        parts = fields.as_object(candidate.get("content")).get("parts")
        for part in parts if isinstance(parts, list) else []:
            self._take_part(fields.as_object(part), events)
        self._grounding.take(candidate)
        finish = fields.as_string(candidate.get("finishReason"))
        if finish not in _UNSPECIFIED:
            self._finish = finish or self._finish
        reason = fields.as_string(fields.as_object(value.get("promptFeedback")).get("blockReason"))
        if reason and reason not in _UNSPECIFIED and not candidate:
            self._finish = "PROHIBITED_CONTENT"
            code = error_bodies.short_word(reason)
            blocked = Failure.found(
                "prompt_blocked", status=200, params={"word": code}, type="content_filter", code=code
            )
            self._fail(events, blocked)
        elif value.get("error"):
            self.shows_error = True
            self._fail(events, fields.refusal(value, BROKEN))

    def _take_part(self, part: JsonObject, events: list[Event]) -> None:
        thought = part.get("thought") is True
        signature = part.get("thoughtSignature")
        call = part.get("functionCall")
        if isinstance(call, dict):
            call_id = well_formed(fields.as_string(call.get("id")))
            own: JsonObject = {}
            if call_id and call_id not in self._calls:
                own["own_id"] = True
            else:
                call_id = self._new_id()
            if kept := self._state_room.keep(signature):
                own["signature"] = kept
            if own:
                events.append(State({"gemini": {**own, "call": len(self._calls)}}))
            arguments = call.get("args")
            text = error_bodies.compact(arguments) if isinstance(arguments, dict) else ""
            self._call(len(self._calls), call_id, fields.as_string(call.get("name")), text or "{}", events)
            self._calls.add(call_id)
        else:
            said = self._say(Reasoning if thought else Text, part.get("text"), events)
            self._grounding.text.add("" if thought else said)
            self._has_answer |= any(name in part for name in _RAN)
            if attachment := attachments.in_part(part):
                self._attach(attachment, events)
            if signature and not thought:
                self._sign_text(said, signature, events)

    def _sign_text(self, text: str, signature: object, events: list[Event]) -> None:
        """The signature of a text, or of a part that has nothing else."""
        if kept := self._state_room.keep(signature):
            alone = {} if text else {"alone": True}
            events.append(State({"gemini": {"signature": kept, **alone}}))

    def _new_id(self) -> str:
        """An id for a call without one: random, for a conversation in which two calls have the same id is
        refused in other formats, and not every server gives its responses ids of their own. OpenAI accepts up
        to 40 characters."""
        return f"call_{self._prefix}_{len(self._calls)}"

    def _sources(self) -> list[Source]:
        return self._grounding.all()

    def _usage(self) -> Usage:
        """Gemini counts thoughts separately from the text, and leaves out counts of zero."""
        count = self._counts
        if not any(name.endswith("TokenCount") for name in count):
            return Usage()
        prompt, thoughts = count.get("promptTokenCount"), count.get("thoughtsTokenCount")
        if prompt is not None:
            prompt += count.get("toolUsePromptTokenCount") or 0
        completion = (count.get("candidatesTokenCount") or 0) + (thoughts or 0)
        total = count.get("totalTokenCount")
        if total is None and prompt is not None:
            total = prompt + completion
        return Usage(prompt, completion, total, thoughts, count.get("cachedContentTokenCount"))


def _first_candidate(candidates: object) -> JsonObject:
    """The candidate with the index 0; the others are not requested."""
    for candidate in candidates if isinstance(candidates, list) else []:
        if fields.as_object(candidate).get("index") in (0, None):
            return fields.as_object(candidate)
    return {}


def decode_body(body: bytes) -> list[Event]:
    """The events of a 2xx response that was not streamed, or of a stream that came as a JSON array, in the
    order described at ``StreamDecoder``."""
    return Decoder(max(sse.LIMIT, len(body))).decode_body(body)

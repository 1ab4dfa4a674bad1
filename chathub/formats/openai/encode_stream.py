"""Encodes replies to clients of OpenAI's Chat Completions.

Sources: OpenAI's API reference ("The chat completion object", "The chat completion chunk object",
"Error codes") and the types of its Python client. ``reasoning_content`` is DeepSeek's addition, which most
clients know.
"""

from itertools import groupby
from typing import Any

import msgspec

from chathub.formats.attachments import in_words
from chathub.formats.events import (
    Attachment,
    Event,
    Failure,
    Finish,
    Reasoning,
    Source,
    State,
    Text,
    ToolCallDelta,
    Usage,
)
from chathub.formats.failures.sentences import code_on_wire
from chathub.formats.openai.attachments import encoded, with_attachments
from chathub.formats.openai.client_calls import Calls
from chathub.formats.openai.client_states import ClientStates
from chathub.formats.openai.sources import annotations
from chathub.schemas.json import JsonObject

DONE = b"[DONE]"

# all that clients know; they look for others in vain
_FINISH_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter"})

_encode = msgspec.json.encode

_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}
# OpenAI's codes that clients look for, in place of ours; by our code, else by the status
_CODES = {
    "unknown_model": "model_not_found",
    "model_has_no_key": "model_not_found",
    "model_retired": "model_not_found",
    "model_unavailable": "model_not_found",
    "budget_used_up": "insufficient_quota",
    "budget_insufficient": "insufficient_quota",
}
_CODES_BY_STATUS = {401: "invalid_api_key", 402: "insufficient_quota", 429: "rate_limit_exceeded"}


def encode_error(
    status: int,
    message: str,
    code: str,
    *,
    type: str | None = None,
    param: str | None = None,
    provider_code: str | None = None,
) -> bytes:
    """The body of an error response. The client's exception follows the HTTP status alone; ``type`` and
    ``code`` are for programs that look closer: the provider's code, or OpenAI's where it has one, else
    ours."""
    known_type = _ERRORS.get(status, "invalid_request_error" if status < 500 else "server_error")
    code = provider_code or _CODES.get(code) or _CODES_BY_STATUS.get(status, code)
    return _encode(_error(message, type or known_type, param, code))


def _error(message: str, type: str, param: str | None, code: str | None) -> JsonObject:
    return {"error": {"message": message, "type": type, "param": param, "code": code}}


def _run(event: Event) -> tuple[type[Event], int]:
    return type(event), event.index if isinstance(event, ToolCallDelta) else 0


class Encoder:
    """Encodes one reply as ``chat.completion.chunk`` objects: ``feed`` it events, then ``end`` it.

    Both give the payloads of SSE ``data:`` lines. Finish reason and usage come with ``end``, for only then
    they are final. A ``Failure`` is sent at once and ends the stream, without ``[DONE]``: a client that
    ignores the error must not take the reply as complete.
    """

    def __init__(self, model: str, id: str, created: int, include_usage: bool) -> None:
        head = _encode({"id": id, "object": "chat.completion.chunk", "created": created, "model": model})
        self._head = head[:-1] + b',"choices":['
        self._tail = b'],"usage":null}' if include_usage else b"]}"
        self._include_usage = include_usage
        self._role = b'"role":"assistant",'
        self._calls = Calls(id)
        self._id = id
        self._images = 0
        self._states = ClientStates(streams=True)
        self._usage: Usage | None = None
        self._finish = ""
        self._failed = False

    def feed(self, events: list[Event]) -> list[bytes]:
        """One payload for each run of events of the same kind."""
        chunks: list[bytes] = []
        for (kind, index), run in groupby(events, _run):
            if not self._failed:
                self._take(kind, index, list(run), chunks)
        return chunks

    def _take(self, kind: type[Event], index: int, run: list[Any], chunks: list[bytes]) -> None:
        if kind is Text or kind is Reasoning:
            if text := "".join([event.text for event in run]):
                chunks.append(self._delta(b"content" if kind is Text else b"reasoning_content", text))
                self._states.add_text(kind, text)
        elif kind is ToolCallDelta:
            if call := self._calls.take(index, run):
                call |= self._states.fields_of_call(index)
                chunks.append(self._delta(b"tool_calls", [call]))
        elif kind is Attachment:
            chunks += [self._attachment(event) for event in run]
        elif kind is Source:
            chunks.append(self._delta(b"annotations", annotations(run)))
        elif kind is State:
            for event in run:
                for name, value in self._states.fields_of(event.data).items():
                    chunks.append(self._delta(name.encode(), value))
        elif kind is Usage:
            self._usage = run[-1]
        elif kind is Finish:
            self._finish = run[-1].reason
        elif kind is Failure:
            chunks.append(_failure(run[0]))
            self._failed = True

    def _attachment(self, attachment: Attachment) -> bytes:
        if (field := encoded(attachment, self._images, self._id)) is None:
            return self._delta(b"content", in_words(attachment).text)
        self._images += field[0] == "images"
        return self._delta(field[0].encode(), field[1])

    def end(self) -> list[bytes]:
        if self._failed:
            return []
        calls = self._calls.nameless()
        if self._finish != "length":  # else the arguments may have been cut off
            calls += self._calls.completed()
        chunks = [self._delta(b"tool_calls", [call]) for call in calls]
        word = _finish_reason(self._finish, bool(self._calls))
        delta = b'"role":"assistant","content":""' if self._role else b""
        chunks.append(self._chunk(delta, _encode(word)))
        if self._include_usage and self._usage:
            chunks.append(self._head + b'],"usage":' + _encode(_tokens(self._usage)) + b"}")
        return [*chunks, DONE]

    def _delta(self, name: bytes, value: object) -> bytes:
        """Joined from bytes, not encoded as a whole: this runs for every piece of every reply."""
        role, self._role = self._role, b""
        if role and name != b"content":
            role += b'"content":null,'
        return self._chunk(role + b'"' + name + b'":' + _encode(value), b"null")

    def _chunk(self, delta: bytes, finish: bytes) -> bytes:
        choice = b'{"index":0,"delta":{' + delta + b'},"logprobs":null,"finish_reason":' + finish + b"}"
        return self._head + choice + self._tail


def _failure(failure: Failure) -> bytes:
    code = code_on_wire(failure) if failure.code is None else str(failure.code)
    known_type = _ERRORS.get(failure.status, "server_error")
    return _encode(_error(failure.message, failure.type or known_type, failure.param, code))


def _finish_reason(reason: str, has_calls: bool) -> str:
    """The reason of ``Finish`` in OpenAI's words. Clients run tools on ``tool_calls`` alone."""
    if reason in ("", "stop", "tool_calls"):
        return "tool_calls" if has_calls else "stop"
    return reason if reason in _FINISH_REASONS else "stop"


def _tokens(usage: Usage) -> JsonObject:
    """Clients compute with the three counts, so these are 0 where they were not reported; others are
    absent."""
    prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
    total = prompt + completion if usage.total_tokens is None else usage.total_tokens
    tokens: JsonObject = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": total,
    }
    # writes in OpenRouter's word: OpenAI has none, for it does not charge for them
    details = {"cached_tokens": usage.cached_tokens, "cache_write_tokens": usage.cache_write_tokens}
    if known := {name: count for name, count in details.items() if count is not None}:
        tokens["prompt_tokens_details"] = known
    if usage.reasoning_tokens is not None:
        tokens["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return tokens


def encode_body(events: list[Event], model: str, id: str, created: int) -> bytes:
    """The ``chat.completion`` object of a reply that was not streamed. The events contain no ``Failure``."""
    events, attached = with_attachments(events, id)
    text = "".join([event.text for event in events if isinstance(event, Text)])
    reasoning = "".join([event.text for event in events if isinstance(event, Reasoning)])
    finish = next((event.reason for event in reversed(events) if isinstance(event, Finish)), "")
    states = ClientStates(streams=False)
    fields = states.fields_of_whole(events)
    calls = _whole_calls(events, id, states, cut_off=finish == "length")
    usage = next((event for event in reversed(events) if isinstance(event, Usage)), None)
    message: JsonObject = {"role": "assistant", "content": text or (None if calls or attached else "")}
    if reasoning:
        message["reasoning_content"] = reasoning
    if calls:
        message["tool_calls"] = calls
    message |= attached
    if sources := [event for event in events if isinstance(event, Source)]:
        message["annotations"] = annotations(sources)
    choice = {
        "index": 0,
        "message": message | fields | {"refusal": None},
        "logprobs": None,
        "finish_reason": _finish_reason(finish, bool(calls)),
    }
    body = {"id": id, "object": "chat.completion", "created": created, "model": model, "choices": [choice]}
    return _encode(body if usage is None else body | {"usage": _tokens(usage)})


def _whole_calls(events: list[Event], id: str, states: ClientStates, cut_off: bool) -> list[JsonObject]:
    fragments: dict[int, list[ToolCallDelta]] = {}
    for event in events:
        if isinstance(event, ToolCallDelta):
            fragments.setdefault(event.index, []).append(event)
    numbered = Calls(id)
    found = [(numbered.take(index, run), index) for index, run in fragments.items()]
    calls = [call | states.fields_of_call(index) for call, index in found if call] + numbered.nameless()
    for call in calls:
        del call["index"]
        if not cut_off and not call["function"]["arguments"].strip():
            call["function"]["arguments"] = "{}"
    return calls

"""Encodes replies to clients of OpenAI's Responses API.

Sources: OpenAI's API reference ("The response object", "Streaming events") and the types of its Python
client. A reply is a list of items: messages, reasoning, calls. A message or reasoning is done when the next
item begins; calls, whose fragments may come mixed, are open at the same time.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from msgspec import Raw

from chathub.formats.attachments import in_words
from chathub.formats.events import (
    Attachment,
    Event,
    Failure,
    Finish,
    Logprobs,
    Reasoning,
    Source,
    State,
    Text,
    ToolCallDelta,
    Usage,
)
from chathub.formats.named_events import Named
from chathub.formats.responses.encode_items import EventWriter
from chathub.formats.responses.encode_output import Output
from chathub.formats.responses.error_codes import error_code
from chathub.formats.responses.head import ResponseHead
from chathub.formats.responses.tools import ToolNames
from chathub.schemas.json import JsonObject

# the reasons for which a response ends early
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def _run(event: Event) -> tuple[type[Event], bool]:
    return type(event), isinstance(event, Text) and event.is_refusal


class Encoder:
    """Encodes one reply as the events of a response: ``feed`` it ChatHub's events, then ``end`` it.

    Both give names and payloads of SSE events. A ``Failure`` ends the stream with ``response.failed``, which
    has the output so far.
    """

    def __init__(
        self, head: ResponseHead, tool_names: ToolNames, model: str, writer: EventWriter | None = None
    ) -> None:
        self._head = head
        self._model = model
        self._output = Output(writer or EventWriter(), head.id, tool_names, model)
        self._is_begun = False
        self._usage: Usage | None = None
        self._finish = ""
        self._failed = False
        self.response = Raw(b"null")  # the whole response, once it has ended

    def feed(self, events: Sequence[Event]) -> list[Named]:
        if self._failed or not events:
            return []
        self._begin()
        for (kind, _), run in groupby(events, _run):
            if not self._failed:
                self._take(kind, list(run))
        return self._output.writer.take()

    def _take(self, kind: type[Event], run: list[Any]) -> None:
        """Take a run of events of the same kind."""
        if kind is Text:
            self._output.add_text("".join([event.text for event in run]), is_refusal=run[0].is_refusal)
        elif kind is Reasoning:
            self._output.add_reasoning("".join([event.text for event in run]))
        elif kind is Usage:
            self._usage = run[-1]
        elif kind is Finish:
            self._finish = run[-1].reason
        elif kind is Failure:
            self._fail(run[0])
        else:
            for event in run:
                self._take_one(event)

    def _take_one(self, event: Event) -> None:
        match event:
            case ToolCallDelta():
                self._output.add_call(event)
            case State(data):
                self._output.add_state(data)
            case Logprobs(tokens):
                self._output.add_logprobs(tokens)
            case Source():
                self._output.sources.append(event)
            case Attachment():
                if not self._output.add_image(event):
                    self._output.add_words(in_words(event).text)

    def end(self) -> list[Named]:
        if self._failed:
            return []
        self._begin()
        reason = _INCOMPLETE.get(self._finish)
        items = self._output.end(is_cut=reason is not None)
        status = "completed" if reason is None else "incomplete"
        usage = _tokens(self._usage or Usage())
        self._end(self._head.response(self._model, status, items, usage=usage, incomplete=reason), status)
        return self._output.writer.take()

    def _begin(self) -> None:
        if self._is_begun:
            return
        self._is_begun = True
        response = self._head.response(self._model, "in_progress")
        self._output.writer.send("response.created", {"response": response})
        self._output.writer.send("response.in_progress", {"response": response})

    def _fail(self, failure: Failure) -> None:
        self._failed = True
        items = self._output.fail()
        usage = None if self._usage is None else _tokens(self._usage)
        error = {"code": error_code(failure.status, failure.code), "message": failure.message}
        self._end(self._head.response(self._model, "failed", items, usage=usage, error=error), "failed")

    def _end(self, response: Raw, status: str) -> None:
        self.response = response
        self._output.writer.send(f"response.{status}", {"response": response})


def _tokens(usage: Usage) -> JsonObject:
    """The usage; clients require all of its fields, so what was not reported is 0."""
    prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
    return {
        "input_tokens": prompt,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens or 0,
            "cache_write_tokens": usage.cache_write_tokens or 0,
        },
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": prompt + completion if usage.total_tokens is None else usage.total_tokens,
    }


def encode_body(events: Sequence[Event], head: ResponseHead, tool_names: ToolNames, model: str) -> bytes:
    """The response of a reply that was not streamed: the one that a stream of it ends with."""
    encoder = Encoder(head, tool_names, model, EventWriter(is_silent=True))
    encoder.feed(events)
    encoder.end()
    return bytes(encoder.response)

"""OpenAI's Chat Completions, as OpenAI and its many imitators speak it: events in. The request is in
``openai_request``.

Sources: OpenAI's API reference ("Chat Completions", "Streaming") and what SiliconFlow, DeepSeek,
DashScope, Zhipu, Ark, Hunyuan, Moonshot, OpenRouter, Groq, Mistral, xAI, Perplexity, Azure, Ollama,
llama.cpp and vLLM were recorded to send. Every field of theirs may be absent, null, empty or of another
type; hence two ways through a chunk. The fast one takes what nearly every chunk is, checked by
msgspec while it decodes. Whatever does not fit its types goes the tolerant way, which asks at every step.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from chathub.formats import failures, large_json, sse
from chathub.formats import loose_json as fields
from chathub.formats.events import Event, Failure, Finish, Reasoning, Text, ToolCallDelta, Usage
from chathub.text import well_formed

CUT = "上游连接中断，回复不完整"
EMPTY = "上游没有返回任何内容"
UNREADABLE = "上游返回了无法识别的数据"
TOO_LONG = "上游返回的单条数据过长"
BROKEN = "上游在回复途中出错，回复不完整"

_FINISH_WORDS = {
    "end_turn": "stop",
    "eos": "stop",
    "function_call": "tool_calls",
    "max_tokens": "length",
    "model_length": "length",
    "sensitive": "content_filter",
    "stop_sequence": "stop",
}
# The model did not end, its server did (OpenRouter, Zhipu).
_BROKEN_WORDS = frozenset({"error", "network_error"})

_CALL: large_json.Shape = {"id": None, "index": None, "function": {"name": None, "arguments": None}}
_MESSAGE: large_json.Shape = {
    "content": [{"text": None, "thinking": [{"text": None}]}],
    "reasoning_content": None,
    "reasoning": None,
    "reasoning_details": [{"text": None, "summary": None}],
    "refusal": None,
    "tool_calls": [_CALL],
}
# what is read of a large object
_SHAPE: large_json.Shape = {
    "choices": [{"message": _MESSAGE, "delta": _MESSAGE, "finish_reason": None, "usage": None}],
    "usage": None,
    "x_groq": None,
    **large_json.ERRORS,
}
# bytes of an event that the fast way takes
_ORDINARY = 65_536

_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)


class _Delta(Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: Raw = Raw(b"")
    refusal: Annotated[str, Meta(max_length=0)] | None = None
    tool_calls: Annotated[list[Any], Meta(max_length=0)] | None = None


class _Choice(Struct, gc=False):
    delta: _Delta | None = None
    finish_reason: str | None = None
    usage: None = None


class _Chunk(Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: dict[str, Any] | None = None
    error: None = None
    x_groq: None = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode


class Decoder:
    """Reads one streamed answer: give it every piece of the body, in order, then ``close`` it.

    Texts come as they arrive. At the end (``[DONE]``, an error, ``close``) come ``Usage`` and
    ``Finish``, each at most once, and a ``Failure`` when the answer is not whole; after a ``Failure``
    only a ``Usage`` may still follow. An answer without any ``Failure`` is complete, also without
    ``Finish`` (Snowflake never sends one). No event holds half a surrogate pair. Nothing raises.
    """

    def __init__(self, limit: int = sse.LIMIT) -> None:
        self._parser = sse.Parser(limit)
        self._emptiness = sse.Emptiness(limit)
        self._halves: dict[str | int, str] = {}  # high surrogates that wait for their other half
        self._calls = fields.ToolCalls()
        self._usage: dict[str, Any] = {}
        self._finish = ""
        self._arrived = False  # any data at all
        self._answered = False  # some text, reasoning or tool call
        self._failed = False
        self.done = False  # the last event has come
        self._streamless = False

    @property
    def pending(self) -> int:
        """The bytes of an event that has not come whole."""
        return self._parser.pending

    def feed(self, data: bytes) -> list[Event]:
        """The events in ``data``, a piece of the body as it came from the network."""
        events: list[Event] = []
        try:
            for name, payload in self._parser.feed(data):
                if name or self._halves or self._failed or not self._take_plain(payload, events):
                    self._take(name, payload, events)
            self._emptiness.note(len(data), brought_something=bool(events))
        except sse.TooLong:
            self._end(events, Failure(TOO_LONG, kind="cut", status=200))
            self.done = True
        return events

    def close(self) -> list[Event]:
        """The events that the end of the body brings. Tells a whole answer from one that was cut off."""
        events: list[Event] = []
        try:
            for name, payload in self._parser.close():
                self._take(name, payload, events, last=True)
        except sse.TooLong:
            self._arrived = True
        if not self.done:
            self.done = True
            if self._failed or self._finish:
                self._end(events)
            elif self._arrived or self._answered:
                self._end(events, Failure(CUT, kind="cut", status=200))
            else:
                self._end(events, Failure(EMPTY, kind="empty", status=200))
        return events

    def _take_plain(self, payload: bytes, events: list[Event]) -> bool:
        """The fast way: ``False``, and nothing done, for a chunk that is anything but ordinary."""
        if len(payload) > _ORDINARY:
            return False
        try:
            chunk = _decode_chunk(payload)
        except _UNREADABLE:
            return False
        if not chunk.choices or self.done:
            return False
        choice = chunk.choices[0]
        delta = choice.delta
        if delta is None:
            return False
        thought = delta.reasoning_content or delta.reasoning
        if thought:
            events.append(Reasoning(thought))
            self._answered = True
        elif len(delta.reasoning_details) > 4:  # more than null or []
            return False
        if delta.content:
            events.append(Text(delta.content))
            self._answered = True
        if choice.finish_reason:
            self._finish = choice.finish_reason
        if chunk.usage:
            self._usage = chunk.usage
        self._arrived = True
        return True

    def _take(self, name: str, payload: bytes, events: list[Event], last: bool = False) -> None:
        """The tolerant way. ``last``: the event lacked its end, so half a JSON text is no surprise."""
        text = payload.decode("utf-8", "replace").strip()
        if self.done or not text:
            return
        self._arrived = True
        if text.startswith("[DONE]"):
            self._take_done(events)
            return
        try:
            value: object = large_json.loads(payload, _SHAPE)
        except (ValueError, RecursionError):
            self._take_unreadable(name, text, last, events)
            return
        if name == "error" and not (isinstance(value, dict) and value.get("error")):
            self._end(events, fields.refusal(value, BROKEN))
        elif isinstance(value, dict):
            self._take_object(value, events)
        elif value is not None:
            self._end(events, fields.refusal(value, UNREADABLE, "cut"))

    def _take_unreadable(self, name: str, text: str, last: bool, events: list[Event]) -> None:
        if last and (name != "error" or text[0] in "{["):
            return
        if name == "error":
            self._end(events, fields.refusal(text, BROKEN))
        elif name in ("", "message"):  # what comes under an unknown name may be anything
            self._end(events, Failure(UNREADABLE, kind="cut", status=200))

    def _take_done(self, events: list[Event]) -> None:
        whole = self._failed or self._answered or self._finish
        self._end(events, None if whole else Failure(EMPTY, kind="empty", status=200))
        self.done = True

    def _take_object(self, chunk: dict[str, Any], events: list[Event]) -> None:
        """One chunk, or a whole answer that was not streamed, as decoded JSON of any content."""
        choice = fields.first(chunk.get("choices"))
        self._usage = fields.usage_object(chunk, choice) or self._usage
        if not self._failed:
            delta = self._message(choice)
            for kind, text in fields.texts(delta):
                self._say(kind, text, events)
            for call in self._calls.take(delta.get("tool_calls")):
                self._call(call, events)
            finish = choice.get("finish_reason")
            if isinstance(finish, str) and finish:
                self._finish = finish
            if failures.is_error(chunk):
                self._end(events, fields.refusal(chunk, BROKEN))

    def _message(self, choice: dict[str, Any]) -> dict[str, Any]:
        """What to read in ``choice``: Perplexity fills both places, and only one is right each time.

        Its stream repeats in ``message`` what ``delta`` said so far; a whole body has an empty ``delta``.
        """
        delta, message = choice.get("delta"), fields.as_object(choice.get("message"))
        if isinstance(delta, dict) and not (self._streamless and message):
            return delta
        return {} if self._answered else message

    def _whole(self, text: str, key: str | int) -> str:
        """``text`` without half a pair at its end; that is kept until the next piece of the same kind."""
        text = self._halves.pop(key, "") + text
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._halves[key] = text[-1]
            text = text[:-1]
        return well_formed(text)

    def _say(self, kind: type[Text] | type[Reasoning], text: str, events: list[Event]) -> None:
        self._answered = True
        if text := self._whole(text, kind.__name__):
            events.append(kind(text))

    def _call(self, call: ToolCallDelta, events: list[Event]) -> None:
        self._answered = True
        arguments = self._whole(call.arguments, call.index)
        if call.id or call.name or arguments:
            events.append(ToolCallDelta(call.index, call.id, call.name, arguments))

    def _end(self, events: list[Event], failure: Failure | None = None) -> None:
        if not self._failed:
            for key in self._halves:
                if isinstance(key, int):
                    events.append(ToolCallDelta(key, "", "", "\ufffd"))
                else:
                    events.append(Text("\ufffd") if key == Text.__name__ else Reasoning("\ufffd"))
        self._halves = {}
        if self._usage:
            usage, self._usage = fields.read_usage(self._usage), {}
            if usage != Usage():
                events.append(usage)
        if self._failed:
            return
        word, self._finish = self._finish, ""
        if word:
            events.append(Finish(_FINISH_WORDS.get(word) or failures.short_word(word)))
        if failure is None and word in _BROKEN_WORDS:
            failure = Failure(BROKEN, status=200)
        if failure is not None:
            events.append(failure)
            self._failed = True


def decode_body(body: bytes) -> list[Event]:
    """The events of a 2xx answer that was not streamed, whether or not a stream was asked for.

    Reasoning, text, tool calls, usage, finish; a ``Failure`` at the end for an error object, an empty
    answer or what cannot be read. Blank lines before the JSON (DeepSeek, OpenRouter) are skipped, and a
    stream that came although none was asked for is read as one.
    """
    decoder = Decoder(max(sse.LIMIT, len(body)))
    text = body.decode("utf-8-sig", "replace").strip()
    if text.startswith(("data:", "event:", ":")):
        return decoder.feed(body.lstrip()) + decoder.close()
    events: list[Event] = []
    decoder._streamless = True
    decoder._take("", text.encode("utf-8", "surrogatepass"), events)
    decoder._take_done(events)
    return events

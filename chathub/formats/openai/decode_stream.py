"""Decodes responses in OpenAI's format, of OpenAI and of the many other providers that use it.

Sources: OpenAI's API reference ("Chat Completions", "Streaming") and what SiliconFlow, DeepSeek,
DashScope, Zhipu, Ark, Hunyuan, Moonshot, OpenRouter, Groq, Mistral, xAI, Perplexity, Azure, Ollama,
llama.cpp and vLLM were recorded to send. Any field may be absent, null, empty or of another type. So there
are two ways through a chunk: the fast one for nearly all chunks, whose types msgspec checks while it decodes,
and the tolerant one for all others, which checks every field.
"""

from collections.abc import Iterable, Iterator

from chathub.formats import large_json, sse
from chathub.formats import loose_json as fields
from chathub.formats.events import (
    Event,
    Failure,
    OtherChoice,
    Reasoning,
    Source,
    State,
    Text,
    ToolCallDelta,
    Usage,
)
from chathub.formats.failures import error_bodies
from chathub.formats.openai import state_fields
from chathub.formats.openai.choice import Choice, Output
from chathub.formats.openai.plain_chunk import Chunk, decode_chunk, logprobs_of
from chathub.formats.openai.sources import LISTS, Citations
from chathub.formats.stream_decoder import BROKEN, BROKEN_OFF, UNREADABLE_ERRORS, StreamDecoder
from chathub.schemas.json import JsonObject

# also of Together, TGI, xAI, Mistral, Zhipu, DeepSeek, vLLM, Bedrock, Cohere, watsonx, and of relays of
# Gemini and Anthropic
_FINISH_WORDS = {
    **dict.fromkeys(("stop", "end_turn", "eos", "eos_token", "stop_sequence", "normal", "completed"), "stop"),
    **dict.fromkeys(("complete", "pause_turn"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "max_output_tokens", "model_length", "max_length"), "length"),
    **dict.fromkeys(("model_context_window_exceeded", "context_length_exceeded", "error_limit"), "length"),
    **dict.fromkeys(("token_limit", "max_output"), "length"),
    **dict.fromkeys(("tool_calls", "tool_call", "tool_use", "function_call"), "tool_calls"),
    **dict.fromkeys(("content_filter", "content_filtered", "guardrail_intervened"), "content_filter"),
    **dict.fromkeys(("sensitive", "refusal", "safety", "recitation", "blocklist"), "content_filter"),
    **dict.fromkeys(("prohibited_content", "spii", "model_armor", "image_safety"), "content_filter"),
    **dict.fromkeys(("error_toxic", "content-filter"), "content_filter"),
    **dict.fromkeys(("error", "network_error", "abort", "insufficient_system_resource"), BROKEN_OFF),
    **dict.fromkeys(("cancelled", "user_cancel", "time_limit"), BROKEN_OFF),
}
# choices of one response that are counted besides the first
_MOST_CHOICES = 128

_MEDIA_PART: dict[str, large_json.Shape] = dict.fromkeys(
    ("type", "image_url", "audio_url", "file_url", "video_url", "url", "b64_json", "data", "result", "base64")
    + ("source", "file", "image", "audio", "input_audio", "output_audio", "media_type", "mime_type", "format")
    + ("output_format", "name", "filename", "title", "file_data", "mimeType", "transcript")
)
_SIGNED: large_json.Shape = {"google": {"thought_signature": None}}
_CALL: large_json.Shape = {
    "id": None,
    "index": None,
    "function": {"name": None, "arguments": None},
    "extra_content": _SIGNED,
}
_DETAILS = ("type", "text", "summary", "data", "signature", "id", "format", "index")
_MESSAGE: large_json.Shape = {
    "content": [{"text": None, "thinking": [{"text": None}], **_MEDIA_PART}],
    "reasoning_content": None,
    "reasoning": None,
    "reasoning_details": [dict.fromkeys(_DETAILS)],
    "extra_content": _SIGNED,
    "refusal": None,
    "tool_calls": [_CALL],
    "function_call": {"name": None, "arguments": None},
    "images": [_MEDIA_PART],
    "audio": None,
    "annotations": None,
    "context": {"citations": None},
    "executed_tools": None,
    **dict.fromkeys(LISTS),
}
_CHOICE: large_json.Shape = {
    "index": None,
    "message": _MESSAGE,
    "delta": _MESSAGE,
    "finish_reason": None,
    "logprobs": large_json.RAW,
    "usage": None,
    "error": None,
}


def finish_reason(word: str, *, has_calls: bool) -> str:
    """A provider's word for the end as clients know it; some providers have none, or another for calls."""
    reason = _FINISH_WORDS.get(word.lower(), "stop")
    if reason in ("stop", "tool_calls"):
        return "tool_calls" if has_calls else "stop"
    return reason


class Decoder(StreamDecoder):
    """Decodes one streamed response; the order of its events is described at ``StreamDecoder``.

    The first choice is the reply, the others are counted (``OtherChoice``). After an error the stream is read
    on, for the usage may follow (OpenRouter).
    """

    shape = {
        "choices": [_CHOICE],
        "search_info": None,
        **dict.fromkeys(LISTS),
        "usage": None,
        "x_groq": None,
        **large_json.ERRORS,
    }
    finish_words = _FINISH_WORDS

    def __init__(self, limit: int = sse.LIMIT) -> None:
        super().__init__(limit)
        self._first = Choice()
        self._halves = self._first.halves
        self._first_index: int | None = None
        self._others: dict[int, Choice] = {}
        self._reported = Usage()
        self._citations = Citations()
        self._failed = False

    def _take_plain(self, name: str, payload: bytes, events: list[Event]) -> bool:
        if name or self._failed or self._halves.waiting or self._first_index:
            return False
        try:
            chunk = decode_chunk(payload)
        except UNREADABLE_ERRORS:
            return False
        if not chunk.choices:
            return self._take_plain_usage(chunk)
        choice = chunk.choices[0]
        delta = choice.delta if self._streamed else choice.message
        # a whole body with both is Perplexity's
        if delta is None or (choice.delta and not self._streamed):
            return False
        if len(delta.reasoning_details) > 4:  # more than null or []
            return False
        thought = delta.reasoning_content or delta.reasoning
        if thought:
            events.append(Reasoning(thought))
            self._has_reasoning = self._first.has_plain_reasoning = True
            if delta.reasoning_content and not self._first.told_field:
                self._first.told_field = True
                events.append(State({"field": "reasoning_content"}))
        if len(choice.logprobs) > 4:  # more than null
            events += logprobs_of(choice.logprobs)
        if delta.content:
            events.append(Text(delta.content))
            self._has_answer = True
        if choice.finish_reason:
            self._finish = choice.finish_reason
        if chunk.usage:
            self._keep_counts(chunk.usage)
        if chunk.citations or chunk.search_results or chunk.web_search or chunk.references:
            self._keep_lists(chunk)
        self._first_index = 0
        self._arrived = True
        return True

    def _take_plain_usage(self, chunk: Chunk) -> bool:
        """The last chunk but ``[DONE]`` of most streams: no choices, and the usage."""
        if chunk.choices is None or not chunk.usage or not self._streamed or chunk.may_be_error:
            return False
        self._keep_counts(chunk.usage)
        self._keep_lists(chunk)
        self._arrived = True
        return True

    def _keep_lists(self, chunk: Chunk) -> None:
        for name in LISTS:
            self._citations.keep(name, getattr(chunk, name))

    def _is_ours(self, name: str, text: str) -> bool:
        return name in ("", "message")

    def _take_object(self, value: JsonObject, events: list[Event]) -> None:
        items = value.get("choices")
        choices = [fields.as_object(item) for item in items] if isinstance(items, list) else []
        self._keep_counts(fields.usage_object(value, choices[0] if choices else {}))
        if self._failed:
            return
        for position, choice in enumerate(choices):
            self._take_choice(value, choice, position, events)
        if not choices:
            self._citations.take(value, {}, {})
        broken = next((choice for choice in choices if choice.get("error")), None)
        if error_bodies.is_error(value):
            self.shows_error = bool(value.get("error"))
            self._fail(events, fields.refusal(value, BROKEN))
        elif broken is not None:
            self._fail(events, fields.refusal({"error": broken["error"]}, BROKEN))

    def _take_choice(self, value: JsonObject, choice: JsonObject, position: int, events: list[Event]) -> None:
        index = choice.get("index")
        index = index if type(index) is int else position
        if self._first_index is None:
            self._first_index = index
        if index == self._first_index:
            message = self._message(choice, self._first.has_output or self._has_output)
            events += logprobs_of(choice.get("logprobs"))
            events += self._counted(self._first.take(message))
            self._has_answer |= self._first.recording.take(message)
            self._citations.take(value, choice, message)
            self._finish = fields.as_string(choice.get("finish_reason")) or self._finish
        elif index in self._others or len(self._others) < _MOST_CHOICES:
            other = self._others.setdefault(index, Choice())
            message = self._message(choice, other.has_output)
            for event in self._counted(other.take(message)):
                if not isinstance(event, State):
                    events.append(OtherChoice(index, event))
            other.finish = fields.as_string(choice.get("finish_reason")) or other.finish

    def _counted(self, events: Iterable[Output]) -> Iterator[Output]:
        for event in events:
            if isinstance(event, State):
                yield from self._state_room.bounded(event, state_fields.size_of(event.data))
                continue
            self._has_reasoning |= isinstance(event, Reasoning)
            self._has_answer |= not isinstance(event, Reasoning)
            self._has_calls |= isinstance(event, ToolCallDelta)
            yield event

    def _message(self, choice: JsonObject, has_output: bool) -> JsonObject:
        """The part of ``choice`` to read: Perplexity fills both, and only one is right each time.

        Its stream repeats in ``message`` what ``delta`` said so far; a whole body has an empty ``delta``.
        """
        delta, message = choice.get("delta"), fields.as_object(choice.get("message"))
        if isinstance(delta, dict) and (self._streamed or not message):
            return delta
        return {} if has_output else message

    @property
    def _is_finished(self) -> bool:
        return bool(self._finish) and all(other.finish for other in self._others.values())

    def _sources(self) -> list[Source]:
        return self._citations.all()

    def _usage(self) -> Usage:
        return fields.read_usage(self._counts)

    def _fail(self, events: list[Event], failure: Failure) -> None:
        self._conclude(events, self._after_output(failure))

    def _conclude(self, events: list[Event], failure: Failure | None) -> None:
        if self._failed:
            if (usage := self._usage()) != self._reported:
                events.append(usage)
                self._reported = usage
            return
        events += [*self._halves.rest(), *self._first.recording.close()]
        for index, other in self._others.items():
            events += [OtherChoice(index, event) for event in other.halves.rest()]
        super()._conclude(events, failure)
        if failure is not None:
            self._failed, self._reported = True, self._usage()


def decode_body(body: bytes) -> list[Event]:
    """The events of a 2xx response that was not streamed, in the order described at ``StreamDecoder``."""
    return Decoder(max(sse.LIMIT, len(body))).decode_body(body)

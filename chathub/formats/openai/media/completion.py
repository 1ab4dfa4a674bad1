"""Requests that continue a text (``POST /v1/completions``): OpenAI's older path, which many servers have."""

import re
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from chathub.formats import forwarding, large_json
from chathub.formats import loose_json as loose
from chathub.formats.client_request import count_items, decode, number_in_range
from chathub.formats.events import Event, Text, Usage
from chathub.formats.failures import error_bodies
from chathub.formats.messages import ChatRequest, Endpoint, UpstreamRequest
from chathub.formats.openai.decode_embeddings import only_token_ids
from chathub.formats.openai.decode_request import decode_fields, decode_head
from chathub.formats.openai.decode_stream import Decoder
from chathub.formats.openai.forward import described, with_length, with_quirks
from chathub.formats.openai.media.request import JsonRequest
from chathub.formats.openai.media.stream import as_array
from chathub.formats.plain_fields import COMPLETIONS
from chathub.formats.quirks.table import Quirks
from chathub.formats.stream_decoder import StreamDecoder
from chathub.formats.urls import url_of
from chathub.schemas.json import JsonObject
from chathub.schemas.readable import readable

_MOST_PROMPTS, _MOST_REPLIES = 2_048, 128

# what a list of tokens consists of
_TOKENS = b"0123456789, \t\r\n"


class _Head(Struct):
    prompt: Raw = Raw(b"")
    best_of: Any = None


_decode_head = msgspec.json.Decoder(_Head).decode


class TextDecoder(StreamDecoder):
    """Decodes the texts of a completion, of all choices as one: they are only counted."""

    shape = {
        "choices": [{"text": None, "finish_reason": None}],
        "usage": None,
        **large_json.ERRORS,
    }
    finish_words = Decoder.finish_words

    def _take_object(self, value: JsonObject, events: list[Event]) -> None:
        self._keep_counts(loose.as_object(value.get("usage")))
        if error_bodies.is_error(value):
            self.shows_error = True
            self._fail(events, loose.refusal(value, "upstream_broke_off"))
            return
        for choice in as_array(value.get("choices")):
            self._say(Text, choice.get("text"), events)
            if word := loose.as_string(choice.get("finish_reason")):
                # a completion may be empty: the text was complete already
                self._finish, self._has_answer = word, True

    def _usage(self) -> Usage:
        return loose.read_usage(self._counts)


class CompletionRequest(JsonRequest):
    """Every prompt of a list gets ``n`` replies, out of ``best_of`` that are made."""

    kind = "text"
    path = "/completions"
    model_types = ("completion", "chat")
    takes_cap = True
    last_event = b"[DONE]"
    is_last_event = re.compile(rb"(?:^|[\r\n])data: ?\[DONE\]")

    def __init__(self, body: bytes) -> None:
        body = readable(body)
        self._fields, self._head = decode_fields(body), decode_head(body)
        more = decode(_decode_head, body)
        self.model, self.streams = self._head.model, self._head.stream
        self.strips_usage = self.streams and not self._head.include_usage
        self.choices = _prompts(more.prompt) * max(
            self._head.choices, number_in_range("best_of", more.best_of, _MOST_REPLIES)
        )
        given = only_token_ids(self._fields.get("prompt", Raw(b"")))
        self._count_prompt(body, given)

    @property
    def requested(self) -> int | None:
        return self._head.max_tokens

    def body(self, model: str, *, takes_extras: bool) -> bytes:
        fields = self._fields if takes_extras else forwarding.plain(self._fields, COMPLETIONS)
        return forwarding.adapted(fields, model)

    def described(self) -> ChatRequest:
        return described(self._fields, stream=self.streams)

    def upstream(
        self, endpoint: Endpoint, model: str, quirks: Quirks, *, takes_extras: bool, cap: int | None = None
    ) -> UpstreamRequest:
        fields = self._fields if takes_extras else forwarding.plain(self._fields, COMPLETIONS)
        if cap is not None:
            fields = with_length(fields, ("max_tokens",), self._head.max_tokens, cap)
        # the length has one name, and nothing thinks
        known = replace(quirks, max_tokens_field="max_tokens", thinking_off_when_not_streaming=False)
        fields = with_quirks(fields, known, stream=self.streams)
        asks = self.strips_usage and quirks.stream_options
        headers = {**forwarding.headers_for(endpoint), "Accept": "*/*"}
        body = forwarding.adapted(fields, model, include_usage=asks)
        return UpstreamRequest(url_of(endpoint.base_url, self.path), headers, body)

    def decoder(self, limit: int) -> StreamDecoder:
        return TextDecoder(limit)

    def decode_body(self, body: bytes) -> list[Event]:
        return TextDecoder().decode_body(body)


def _prompts(prompt: Raw) -> int:
    """How many prompts there are: a list of tokens is one."""
    sent = bytes(prompt)
    if not sent.startswith(b"[") or sent.translate(None, _TOKENS) == b"[]":
        return 1
    return count_items(prompt, _MOST_PROMPTS, "prompt")

"""Turns a stream in OpenAI's format into the whole response, and a whole response into a stream, for clients
of providers that always send the other one. No field is lost: what the format does not define is kept.
"""

from typing import Any

import msgspec
from msgspec import Raw

from chathub.formats import sse
from chathub.formats.json_pieces import Fields, JoinedObject, decode_fields
from chathub.formats.openai.decode_stream import finish_reason

_DONE = b"[DONE]"
_MOST_CHOICES = 128
# fields of each chunk; others come once, in the first
_HEAD = ("id", "created", "model", "system_fingerprint", "service_tier", "provider")
# fields of chunks alone
_PADDING = ("object", "choices", "usage", "obfuscation")

_encode = msgspec.json.encode
_decode_list = msgspec.json.Decoder(list[Raw]).decode


def whole_of(stream: bytes) -> bytes:
    """The ``chat.completion`` object of a whole stream.

    Raises:
        ValueError: it cannot be read.
    """
    parser = sse.Parser(max(sse.LIMIT, len(stream)))
    head: Fields = {}
    choices: dict[bytes, _Choice] = {}
    usage = Raw(b"null")
    for _, payload in [*parser.feed(stream), *parser.close()]:
        if payload.strip().startswith(_DONE):
            break
        chunk = decode_fields(payload)
        head |= {name: raw for name, raw in chunk.items() if name not in _PADDING and raw != _NULL}
        found = _choices(chunk)
        usage = _usage(chunk, found) or usage
        for position, choice in enumerate(found):
            index = bytes(choice.get("index", b"%d" % position))
            if index in choices or len(choices) < _MOST_CHOICES:
                choices.setdefault(index, _Choice(index)).add(choice)
    body: dict[str, Any] = {"id": Raw(b'""'), "object": "chat.completion", **head}
    body["choices"] = [choice.encoded() for _, choice in sorted(choices.items(), key=_place)]
    return _encode(body if usage == _NULL else body | {"usage": usage})


_NULL, _EMPTY = Raw(b"null"), Raw(b"{}")


def _usage(chunk: Fields, choices: list[Fields]) -> Raw | None:
    """The usage in a chunk: at its own place, or at Groq's or Moonshot's."""
    groq = chunk.get("x_groq", _NULL)
    for holder in (chunk, {} if groq == _NULL else decode_fields(groq), *choices):
        if (usage := holder.get("usage", _NULL)) not in (_NULL, _EMPTY):
            return usage
    return None


def _finish_reason(raw: Raw, *, has_calls: bool) -> str:
    word = msgspec.json.decode(raw)
    return finish_reason(word if isinstance(word, str) else "", has_calls=has_calls)


def _place(item: tuple[bytes, object]) -> tuple[int, bytes]:
    return len(item[0]), item[0]


def _choices(holder: Fields) -> list[Fields]:
    raw = holder.get("choices", _NULL)
    return [] if raw == _NULL else [decode_fields(choice) for choice in _decode_list(raw)[:_MOST_CHOICES]]


class _Choice:
    """One of the choices, while its chunks come."""

    def __init__(self, index: bytes) -> None:
        self._index = index
        self._message = JoinedObject()
        self._logprobs = JoinedObject()
        self._others: Fields = {"logprobs": _NULL, "finish_reason": _NULL}

    def add(self, choice: Fields) -> None:
        delta = choice.pop("delta", _NULL)
        message = choice.pop("message", _NULL)  # Perplexity repeats in it what the deltas said
        if delta != _NULL:
            self._message.add(decode_fields(delta))
        elif message != _NULL and not self._message.values:
            self._message.add(decode_fields(message))
        if (logprobs := choice.pop("logprobs", _NULL)) != _NULL:
            self._logprobs.add(decode_fields(logprobs))
        self._others |= {name: raw for name, raw in choice.items() if raw not in (_NULL, Raw(b'""'))}

    def encoded(self) -> dict[str, Any]:
        message = {"role": "assistant", "content": None} | self._message.encoded()
        calls = message["tool_calls"] if isinstance(message.get("tool_calls"), list) else []
        for call in calls:
            call.pop("index", None)
        others: dict[str, Any] = dict(self._others)
        others["finish_reason"] = _finish_reason(self._others["finish_reason"], has_calls=bool(calls))
        if self._logprobs.values:
            others["logprobs"] = self._logprobs.encoded()
        return {**others, "index": Raw(self._index), "message": message}


def chunks_of(body: bytes, *, include_usage: bool) -> list[bytes]:
    """The chunks of a whole ``chat.completion`` object, and the last payload of a stream.

    Raises:
        ValueError: it cannot be read.
    """
    whole = decode_fields(msgspec.json.format(body, indent=-1))
    head: dict[str, Any] = {name: whole[name] for name in _HEAD if name in whole}
    head["object"] = Raw(b'"chat.completion.chunk"')
    extras: dict[str, Any] = {name: raw for name, raw in whole.items() if name not in (*_HEAD, *_PADDING)}
    chunks: list[dict[str, Any]] = []
    ends: list[dict[str, Any]] = []
    for position, choice in enumerate(_choices(whole)):
        index = choice.get("index", Raw(b"%d" % position))
        finish = choice.pop("finish_reason", _NULL)
        delta: dict[str, Any] = dict(decode_fields(choice.pop("message", _EMPTY)))
        if calls := _numbered_calls(delta.get("tool_calls", _NULL)):
            delta["tool_calls"] = calls
        reason = _finish_reason(finish, has_calls=bool(calls))
        said = choice | {"index": index, "delta": delta, "finish_reason": None}
        chunks.append(head | extras | {"choices": [said]})
        ends.append(head | {"choices": [{"index": index, "delta": {}, "finish_reason": reason}]})
        extras = {}
    told = whole.get("usage", _NULL)
    if include_usage and told != _NULL:
        ends.append(head | {"choices": [], "usage": told})
    return [*(_encode(chunk) for chunk in [*chunks, *ends]), _DONE]


def _numbered_calls(raw: Raw) -> list[dict[str, Any]]:
    """The tool calls of a message with the indices that they have in a delta."""
    calls = [] if raw == _NULL else [decode_fields(call) for call in _decode_list(raw)]
    return [{"index": index, **call} for index, call in enumerate(calls)]

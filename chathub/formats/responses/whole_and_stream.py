"""Turns a stream of Responses into the whole response, and a whole response into a stream, for clients of
providers that always send the other one. No field is lost: what the format does not define is kept.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw

from chathub.formats import raw_json, sse
from chathub.formats.json_pieces import Fields, decode_fields
from chathub.formats.named_events import Named, framed

_NULL, _EMPTY, _NONE, _NO_TEXT = Raw(b"null"), Raw(b"{}"), Raw(b"[]"), Raw(b'""')
# the last events of a stream
_ENDS = ("response.completed", "response.incomplete", "response.done")
_MOST_ITEMS = 4096
# the fields of an item that grow, as they are when it begins
_GROWING = {"content": _NONE, "summary": _NONE, "arguments": _NO_TEXT, "input": _NO_TEXT}
# the field of a part that grows, and the events that bring it, by the part's type
_PARTS = {
    "output_text": ("text", "response.output_text"),
    "refusal": ("refusal", "response.refusal"),
    "reasoning_text": ("text", "response.reasoning_text"),
    "summary_text": ("text", "response.reasoning_summary_text"),
}
_CALLS = {
    "function_call": ("arguments", "response.function_call_arguments"),
    "custom_tool_call": ("input", "response.custom_tool_call_input"),
}

_encode = msgspec.json.encode
_decode_text = msgspec.json.Decoder(str).decode


def whole_of(stream: bytes) -> bytes:
    """The ``response`` object of a whole stream.

    Raises:
        ValueError: it cannot be read, or its items did not come whole.
    """
    parser = sse.Parser(max(sse.LIMIT, len(stream)))
    items: list[Raw] = []
    for name, payload in [*parser.feed(stream), *parser.close()]:
        if not payload.strip().startswith(b"{"):
            continue
        event = decode_fields(payload)
        kind = _text(event, "type") or name
        if kind == "response.output_item.done" and len(items) < _MOST_ITEMS:
            items.append(event.get("item", _EMPTY))
        elif kind in _ENDS:
            response = decode_fields(event.get("response", _EMPTY))
            if response.get("output", _NULL) in (_NULL, _NONE):
                if not items:
                    break
                return _encode({**response, "output": items})
            return _encode(response)
    raise ValueError("the stream has no whole response")


def stream_of(body: bytes) -> bytes:
    """A whole response as the bytes of a stream.

    Raises:
        ValueError: it cannot be read.
    """
    response = decode_fields(msgspec.json.format(body, indent=-1))
    if response.get("output", _NULL) == _NULL:
        raise ValueError("the body is no response")
    begun: dict[str, Any] = {**response, "status": "in_progress", "output": [], "usage": None}
    if "incomplete_details" in begun:
        begun["incomplete_details"] = None
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for index, item in enumerate(_list(response, "output")):
        events += _events_of_item(index, item)
    is_incomplete = _text(response, "status") == "incomplete"
    kind = "response.incomplete" if is_incomplete else "response.completed"
    events.append({"type": kind, "response": response})
    return framed(_numbered(number, event) for number, event in enumerate(events))


def _numbered(number: int, event: dict[str, Any]) -> Named:
    kind = event.pop("type")
    return kind, _encode({"type": kind, "sequence_number": number, **event})


def _events_of_item(index: int, raw: Raw) -> Iterator[dict[str, Any]]:
    item = decode_fields(raw)
    kind = _text(item, "type")
    begun: dict[str, Any] = {**item, **{name: empty for name, empty in _GROWING.items() if name in item}}
    begun.pop("encrypted_content", None)
    if "status" in begun:
        begun["status"] = "in_progress"
    yield {"type": "response.output_item.added", "output_index": index, "item": begun}
    at: dict[str, Any] = {"item_id": item.get("id", _NO_TEXT), "output_index": index}
    for number, part in enumerate(_list(item, "summary")):
        place = {**at, "summary_index": number}
        yield from _events_of_part(place, part, "response.reasoning_summary_part")
    for number, part in enumerate(_list(item, "content")):
        yield from _events_of_part({**at, "content_index": number}, part, "response.content_part")
    if kind in _CALLS:
        field, event = _CALLS[kind]
        said = item.get(field, _NO_TEXT)
        yield {"type": f"{event}.delta", **at, "delta": said}
        yield {"type": f"{event}.done", **at, field: said}
    yield {"type": "response.output_item.done", "output_index": index, "item": raw}


def _events_of_part(at: dict[str, Any], raw: Raw, holder: str) -> Iterator[dict[str, Any]]:
    part = decode_fields(raw)
    field, event = _PARTS.get(_text(part, "type"), ("", ""))
    begun: dict[str, Any] = {**part, field: ""} if field else dict(part)
    annotations = _list(part, "annotations")
    if annotations:
        begun["annotations"] = []
    yield {"type": f"{holder}.added", **at, "part": begun}
    if field:
        said, more = part.get(field, _NO_TEXT), {}
        if event == "response.output_text":
            more = {"logprobs": part.get("logprobs", _NONE)}
        yield {"type": f"{event}.delta", **at, "delta": said, **more}
        for number, annotation in enumerate(annotations):
            cited = {"annotation_index": number, "annotation": annotation}
            yield {"type": f"{event}.annotation.added", **at, **cited}
        yield {"type": f"{event}.done", **at, field: said, **more}
    yield {"type": f"{holder}.done", **at, "part": raw}


def _list(fields: Fields, name: str) -> list[Raw]:
    return raw_json.items(fields.get(name, _NULL), _MOST_ITEMS) or []


def _text(fields: Fields, name: str) -> str:
    raw = fields.get(name, _NULL)
    return _decode_text(raw) if raw != _NULL else ""

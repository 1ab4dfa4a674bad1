"""The items of a response's output while they are sent.

An item is added, grows by deltas, and is done. Each class sends the events of one type of item; ``end`` gives
the whole item, as it stands in the response at the end.
"""

import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
from msgspec import Raw

from chathub.formats.events import Source
from chathub.formats.named_events import Named
from chathub.formats.responses.token_logprobs import TokenLogprobs
from chathub.schemas.json import JsonObject

_encode = msgspec.json.encode


class EventWriter:
    """Numbers the events of a response and keeps them until they are taken. A silent one drops them."""

    def __init__(self, *, is_silent: bool = False) -> None:
        self._is_silent = is_silent
        self._number = 0
        self._events: list[Named] = []

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """Drop the events meanwhile."""
        before, self._is_silent = self._is_silent, True
        try:
            yield
        finally:
            self._is_silent = before

    def send(self, name: str, fields: Mapping[str, Any]) -> None:
        if not self._is_silent:
            self._send(name, _encode({"type": name, "sequence_number": self._number, **fields}))

    def send_delta(self, name: str, place: bytes, text: str, tail: bytes) -> None:
        """Joined from bytes, not encoded as a whole: this runs for every piece of every reply."""
        if not self._is_silent:
            head = b'{"type":"%b","sequence_number":%d,' % (name.encode(), self._number)
            self._send(name, head + place + _encode(text) + tail)

    def _send(self, name: str, payload: bytes) -> None:
        self._events.append((name, payload))
        self._number += 1

    def take(self) -> list[Named]:
        events, self._events = self._events, []
        return events


class GrowingText:
    """A text that is sent in deltas, at a place in the output."""

    def __init__(self, writer: EventWriter, name: str, place: Mapping[str, Any]) -> None:
        self._writer = writer
        self._name = name
        self._place = _encode(place)[1:-1] + b',"delta":'
        self._text = io.StringIO()

    def add(self, text: str, tail: bytes = b"}") -> None:
        """``tail`` is what follows the text in the event."""
        if text:
            self._text.write(text)
            self._writer.send_delta(self._name, self._place, text, tail)

    def whole(self) -> str:
        return self._text.getvalue()


class OutputItem(ABC):
    """An item that was added at ``index`` of the output, and is not done yet."""

    def __init__(self, writer: EventWriter, index: int, item: JsonObject) -> None:
        self.index = index
        self._writer = writer
        self._place: Mapping[str, Any] = {"item_id": item["id"], "output_index": index}
        self._item = item
        writer.send("response.output_item.added", {"output_index": index, "item": item})

    @abstractmethod
    def end(self, status: str) -> Raw:
        """The item is done; ``status`` is ``completed`` or ``incomplete``."""

    def _done(self, changes: JsonObject) -> Raw:
        whole = Raw(_encode({**self._item, **changes}))
        self._writer.send("response.output_item.done", {"output_index": self.index, "item": whole})
        return whole


class MessageItem(OutputItem):
    """A message: parts of text, and of the sentence with which the model declines."""

    def __init__(self, writer: EventWriter, index: int, id: str) -> None:
        item: JsonObject = {"id": id, "type": "message", "status": "in_progress", "role": "assistant"}
        super().__init__(writer, index, item | {"content": []})
        self._parts: list[JsonObject] = []
        self._growing: GrowingText | None = None
        self._is_refusal = False
        # where the open part begins in the text of the reply
        self._start = 0
        self._annotations: list[JsonObject] = []
        self._logprobs = TokenLogprobs()

    def add(self, text: str, at: int, logprobs: Iterable[Raw]) -> None:
        """A further piece, which begins ``at`` this code point of the text of the reply, and how likely its
        tokens were."""
        growing = self._part(at, is_refusal=False)
        growing.add(text, b',"logprobs":%b}' % self._logprobs.add(logprobs))

    def add_refusal(self, text: str, at: int) -> None:
        """A further piece of the sentence with which the model declines."""
        self._part(at, is_refusal=True).add(text)

    def annotate(self, sources: Iterable[Source], at: int) -> None:
        """Cite sources in the text, which ends ``at`` this code point of the reply."""
        self._part(at, is_refusal=False)
        for source in sources:
            annotation = _annotation(source, self._start, at)
            place = {**self._place, **self._part_number, "annotation_index": len(self._annotations)}
            self._annotations.append(annotation)
            self._writer.send("response.output_text.annotation.added", {**place, "annotation": annotation})

    def end(self, status: str) -> Raw:
        self._end_part()
        return self._done({"status": status, "content": self._parts})

    @property
    def _part_number(self) -> JsonObject:
        return {"content_index": len(self._parts)}

    def _part(self, at: int, *, is_refusal: bool) -> GrowingText:
        if self._growing is None or is_refusal != self._is_refusal:
            self._end_part()
            self._growing = self._begin_part(is_refusal=is_refusal)
            self._start = at
        return self._growing

    def _begin_part(self, *, is_refusal: bool) -> GrowingText:
        self._is_refusal = is_refusal
        self._annotations, self._logprobs = [], TokenLogprobs()
        place = {**self._place, **self._part_number}
        part = self._part_of("", is_refusal=is_refusal)
        self._writer.send("response.content_part.added", {**place, "part": part})
        name = "response.refusal.delta" if is_refusal else "response.output_text.delta"
        return GrowingText(self._writer, name, place)

    def _part_of(self, text: str, *, is_refusal: bool) -> JsonObject:
        if is_refusal:
            return {"type": "refusal", "refusal": text}
        told = {"annotations": self._annotations, "logprobs": self._logprobs.in_part()}
        return {"type": "output_text", "text": text, **told}

    def _end_part(self) -> None:
        if self._growing is None:
            return
        text, self._growing = self._growing.whole(), None
        place = {**self._place, **self._part_number}
        part = self._part_of(text, is_refusal=self._is_refusal)
        if self._is_refusal:
            self._writer.send("response.refusal.done", {**place, "refusal": text})
        else:
            self._writer.send(
                "response.output_text.done", {**place, "text": text, "logprobs": self._logprobs.in_event()}
            )
        self._writer.send("response.content_part.done", {**place, "part": part})
        self._parts.append(part)


def _annotation(source: Source, start: int, end: int) -> JsonObject:
    """A source with its place in a part of the text; one without a place in it has the offsets 0."""
    first, last = source.start, source.end
    if first is None or last is None or not start <= first < last <= end:
        first = last = start
    return {
        "type": "url_citation",
        "url": source.url,
        "title": source.title,
        "start_index": first - start,
        "end_index": last - start,
    }


class ReasoningItem(OutputItem):
    """Reasoning that may be shown, with what its provider needs back.

    It is a ``summary``, not the ``content`` of the item, although it may be the whole reasoning: a summary
    is what programs show without a setting, and what they send back.
    """

    def __init__(self, writer: EventWriter, index: int, id: str) -> None:
        super().__init__(writer, index, {"id": id, "type": "reasoning", "summary": []})
        self._growing: GrowingText | None = None

    def add(self, text: str) -> None:
        if self._growing is None:
            place = {**self._place, "summary_index": 0}
            part = {"type": "summary_text", "text": ""}
            self._writer.send("response.reasoning_summary_part.added", {**place, "part": part})
            self._growing = GrowingText(self._writer, "response.reasoning_summary_text.delta", place)
        self._growing.add(text)

    def end(self, status: str, encrypted: str = "") -> Raw:
        changes: JsonObject = {"encrypted_content": encrypted} if encrypted else {}
        if self._growing is not None:
            place = {**self._place, "summary_index": 0}
            text = self._growing.whole()
            part = {"type": "summary_text", "text": text}
            self._writer.send("response.reasoning_summary_text.done", {**place, "text": text})
            self._writer.send("response.reasoning_summary_part.done", {**place, "part": part})
            changes["summary"] = [part]
        return self._done({**changes, "status": status})


def send_whole(writer: EventWriter, index: int, item: Mapping[str, Any]) -> Raw:
    """An item that does not grow: added, and done."""
    whole = Raw(_encode(item))
    writer.send("response.output_item.added", {"output_index": index, "item": whole})
    writer.send("response.output_item.done", {"output_index": index, "item": whole})
    return whole


def send_image(writer: EventWriter, index: int, id: str, result: str, media_type: str) -> Raw:
    """An image that the model made, in base64."""
    form = media_type.removeprefix("image/")
    item: JsonObject = {"id": id, "type": "image_generation_call", "status": "in_progress", "result": None}
    item |= {"output_format": form} if form in ("png", "webp", "jpeg", "gif") else {}
    place = {"item_id": id, "output_index": index}
    writer.send("response.output_item.added", {"output_index": index, "item": item})
    writer.send("response.image_generation_call.in_progress", place)
    writer.send("response.image_generation_call.completed", place)
    whole = Raw(_encode({**item, "status": "completed", "result": result}))
    writer.send("response.output_item.done", {"output_index": index, "item": whole})
    return whole

"""One choice of a response in OpenAI's format: what its deltas bring."""

from collections.abc import Iterator

from chathub.formats import loose_json as fields
from chathub.formats.events import Attachment, Reasoning, State, Text, ToolCallDelta
from chathub.formats.halves import Halves
from chathub.formats.openai import attachments, state_fields
from chathub.schemas.json import JsonObject
from chathub.text import well_formed

Output = Text | Reasoning | ToolCallDelta | State | Attachment


class Choice:
    """What has come of one of a response's choices."""

    def __init__(self) -> None:
        self.halves = Halves()
        self.calls = fields.ToolCalls()
        self.recording = attachments.Recording()
        self.has_output = False
        self.has_plain_reasoning = False  # besides its details
        self.told_field = False
        self.finish = ""

    def take(self, delta: JsonObject) -> Iterator[Output]:
        """The events in a delta."""
        for piece in attachments.split(delta):
            if isinstance(piece, Attachment):
                self.has_output = True
                yield piece
            else:
                yield from self._take_piece(piece)

    def _take_piece(self, delta: JsonObject) -> Iterator[Output]:
        """The events in a delta without attachments."""
        said = fields.texts(delta, with_details=not self.has_plain_reasoning)
        texts = [(kind, self.halves.join(kind, text)) for kind, text in said]
        self.has_output |= bool(texts)
        yield from (Reasoning(text) for kind, text in texts if kind is Reasoning and text)
        for data in state_fields.states_of(delta):
            if "field" not in data or not self.told_field:
                yield State(data)
            self.told_field |= "field" in data
        self.has_plain_reasoning |= state_fields.has_plain_reasoning(delta)
        yield from (Text(text) for kind, text in texts if kind is Text and text)
        if refusal := fields.as_string(delta.get("refusal")):
            self.has_output = True
            if said_so := self.halves.join(Text, refusal):
                yield Text(said_so, True)
        if state := state_fields.text_state_of(delta):
            yield State(state)
        yield from self._take_calls(delta)

    def _take_calls(self, delta: JsonObject) -> Iterator[ToolCallDelta | State]:
        for call, signature in self.calls.take(_calls_in(delta)):
            self.has_output = True
            if signature:
                yield State({"gemini": {"signature": signature, "call": call.index}})
            arguments = self.halves.join(call.index, call.arguments)
            if call.id or call.name or arguments:
                yield ToolCallDelta(call.index, well_formed(call.id), well_formed(call.name), arguments)


def _calls_in(delta: JsonObject) -> object:
    """The fragments of tool calls; ``function_call`` is the field of older servers, which had one call."""
    called = fields.as_object(delta.get("function_call"))
    return delta.get("tool_calls") or ([{"index": 0, "function": called}] if called else None)

"""What has come of a reply while it is decoded: its pieces become events, and their kinds are noted."""

from chathub.formats import loose_json as fields
from chathub.formats.events import Attachment, Event, Reasoning, Text, ToolCallDelta
from chathub.text import well_formed


class OutputNotes:
    """Makes the events of a reply's output, and notes which kinds of it have come."""

    def __init__(self) -> None:
        self._has_reasoning = False
        self._has_answer = False  # some text, tool call or attachment
        self._has_calls = False

    @property
    def _has_output(self) -> bool:
        return self._has_answer or self._has_reasoning

    def _say(self, kind: type[Text] | type[Reasoning], text: object, events: list[Event]) -> str:
        said = well_formed(fields.as_string(text))
        if said:
            self._note(kind)
            events.append(kind(said))
        return said

    def _attach(self, attachment: Attachment, events: list[Event]) -> None:
        self._has_answer = True
        events.append(attachment)

    def _note(self, kind: type[Text] | type[Reasoning]) -> None:
        if kind is Text:
            self._has_answer = True
        else:
            self._has_reasoning = True

    def _call(self, index: int, call_id: str, name: str, arguments: str, events: list[Event]) -> None:
        self._has_answer = self._has_calls = True
        if call_id or name or arguments:
            events.append(
                ToolCallDelta(index, well_formed(call_id), well_formed(name), well_formed(arguments))
            )

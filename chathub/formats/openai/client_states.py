"""The state of a reply's reasoning in the fields in which clients of OpenAI's format know it: OpenRouter's
``reasoning_details`` and Google's ``extra_content``. ``state_fields`` reads them when they come back."""

from collections.abc import Iterable

from chathub.formats.events import Event, Reasoning, State, Text, ToolCallDelta
from chathub.formats.loose_json import as_object, as_string
from chathub.formats.openai.state_fields import with_signature
from chathub.formats.reasoning.details import Details, detail_of, without_text
from chathub.schemas.json import JsonObject


class ClientStates:
    """The states of one reply, which is streamed or whole."""

    def __init__(self, *, streams: bool) -> None:
        self._streams = streams
        # the reasoning since the last state
        self._thought: list[str] = []
        self._has_text = False
        self._calls: set[int] = set()
        self._details = 0
        self._signatures: dict[int, str] = {}

    def add_text(self, kind: type[Text] | type[Reasoning], text: str) -> None:
        if kind is Reasoning:
            self._thought.append(text)
        else:
            self._has_text = True

    def fields_of(self, data: JsonObject) -> JsonObject:
        """The fields of the message for a state; the signature of a call waits for the call."""
        if details := data.get("openrouter"):
            return {"reasoning_details": details}
        if state := as_object(data.get("gemini")):
            signature = as_string(state.get("signature"))
            if not isinstance(index := state.get("call"), int):
                return {"extra_content": with_signature(signature)}
            self._signatures[index] = signature
        if state := as_object(data.get("anthropic")):
            text, self._thought = "".join(self._thought), []
            # the client's library joins items of the same index
            after: JsonObject = {"text": True} if self._has_text else {}
            after |= {"calls": len(self._calls)} if self._calls else {}
            if detail := detail_of(text, state, self._details, after):
                self._details += 1
                return {"reasoning_details": [without_text(detail) if self._streams else detail]}
        return {}

    def fields_of_call(self, index: int) -> JsonObject:
        """The fields of a tool call, once."""
        self._calls.add(index)
        signature = self._signatures.pop(index, "")
        return {"extra_content": with_signature(signature)} if signature else {}

    def fields_of_whole(self, events: Iterable[Event]) -> JsonObject:
        """The fields of the message of a whole reply."""
        fields: JsonObject = {}
        details = Details()
        for event in events:
            if isinstance(event, Text | Reasoning):
                self.add_text(type(event), event.text)
            elif isinstance(event, ToolCallDelta):
                self._calls.add(event.index)
            elif isinstance(event, State):
                found = self.fields_of(event.data)
                details.add(found.pop("reasoning_details", None))
                fields |= found
        return fields | ({"reasoning_details": details.whole()} if details else {})

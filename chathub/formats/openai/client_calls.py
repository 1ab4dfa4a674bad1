"""Tool calls for clients of OpenAI's format."""

from collections.abc import Iterable

from chathub.formats.events import ToolCallDelta
from chathub.schemas.json import JsonObject


class Calls:
    """Encodes tool calls in the order they appeared. Clients need id and name in a call's first fragment, so
    fragments before the name wait for it; a call without an id gets one. Clients parse the arguments, so a
    call without any gets ``{}``."""

    def __init__(self, id: str) -> None:
        self._prefix = "call_" + id.removeprefix("chatcmpl-")
        self._places: dict[int, int] = {}
        self._waiting: dict[int, ToolCallDelta] = {}
        self._blank: set[int] = set()  # places of calls without arguments so far

    def take(self, index: int, fragments: Iterable[ToolCallDelta]) -> JsonObject | None:
        """The delta for some fragments of one call, or nothing yet."""
        whole = [self._waiting.pop(index)] if index in self._waiting else []
        whole += fragments
        arguments = "".join(fragment.arguments for fragment in whole)
        if index in self._places:
            return self._more(self._places[index], arguments) if arguments else None
        call_id = next((fragment.id for fragment in whole if fragment.id), "")
        name = next((fragment.name for fragment in whole if fragment.name), "")
        if not name:
            self._waiting[index] = ToolCallDelta(index, call_id, "", arguments)
            return None
        return self._first(index, call_id, name, arguments)

    def nameless(self) -> list[JsonObject]:
        """The calls without a name."""
        waiting, self._waiting = self._waiting, {}
        return [self._first(index, call.id, "", call.arguments) for index, call in waiting.items()]

    def completed(self) -> list[JsonObject]:
        """The empty object for the calls without arguments."""
        return [self._more(place, "{}") for place in sorted(self._blank)]

    def _more(self, place: int, arguments: str) -> JsonObject:
        if arguments.strip():
            self._blank.discard(place)
        return {"index": place, "function": {"arguments": arguments}}

    def _first(self, index: int, call_id: str, name: str, arguments: str) -> JsonObject:
        place = self._places[index] = len(self._places)
        if not arguments.strip():
            self._blank.add(place)
        function = {"name": name, "arguments": arguments}
        return {
            "index": place,
            "id": call_id or f"{self._prefix}_{place}",
            "type": "function",
            "function": function,
        }

    def __len__(self) -> int:
        return len(self._places)

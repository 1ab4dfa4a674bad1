"""Surrogate pairs whose halves come in different pieces of a stream."""

from chathub.formats.events import Reasoning, Text, ToolCallDelta
from chathub.text import well_formed

# texts by their kind, arguments by the index of their call
_Key = type[Text] | type[Reasoning] | int


class Halves:
    """High surrogates at the end of a piece, which wait for their other half in the next piece."""

    def __init__(self) -> None:
        self.waiting: dict[_Key, str] = {}

    def join(self, key: _Key, text: str) -> str:
        """``text`` with the half that waited, without one at its own end."""
        text = self.waiting.pop(key, "") + text
        if text and "\ud800" <= text[-1] <= "\udbff":
            self.waiting[key] = text[-1]
            text = text[:-1]
        return well_formed(text)

    def rest(self) -> list[Text | Reasoning | ToolCallDelta]:
        """U+FFFD in place of each half that is still waiting."""
        waiting, self.waiting = self.waiting, {}
        return [
            ToolCallDelta(key, "", "", "\ufffd") if isinstance(key, int) else key("\ufffd") for key in waiting
        ]

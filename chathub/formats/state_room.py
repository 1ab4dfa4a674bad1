"""The room for what a provider needs back of one response: signatures, encrypted reasoning."""

from collections.abc import Iterator

from chathub.formats import loose_json as fields
from chathub.formats.events import State
from chathub.text import well_formed

# characters of state that is kept for one response; of more nothing is kept
STATE = 1024 * 1024


class StateRoom:
    """Counts the state of one response, and gives back what fits."""

    def __init__(self) -> None:
        self._kept = 0

    def keep(self, text: object) -> str:
        """A piece of the state; empty once there is too much of it."""
        kept = well_formed(fields.as_string(text))
        self._kept += len(kept)
        return kept if self._kept < STATE else ""

    def bounded(self, state: State, size: int) -> Iterator[State]:
        """A state of so many characters; reasoning details that are too long are not kept at all."""
        had_room, self._kept = self._kept < STATE, self._kept + size
        if self._kept < STATE:
            yield state
        elif had_room:
            yield State({"openrouter": None})

"""Turns the text between ``<think>`` tags into reasoning, in the events of a response."""

from chathub.formats.events import Event, Reasoning, Source, Text, Usage
from chathub.formats.reasoning.think_tags import ThinkSplitter
from chathub.formats.sources import moved


class ThinkEvents:
    """Separates the reasoning of one response; a provider that separates it itself sends no tags. Sources
    keep their places in the text that is left."""

    def __init__(self, *, is_whole: bool = False) -> None:
        self._splitter = ThinkSplitter(is_whole=is_whole)
        # characters that are no text any more
        self._removed = 0

    def split(self, events: list[Event], *, last: bool = False) -> list[Event]:
        out = events if self._splitter.passing else _split(self._splitter, events, last=last)
        if out is not events:
            self._removed += _text_length(events) - _text_length(out)
        if self._removed:
            out = [moved(event, self._removed) if isinstance(event, Source) else event for event in out]
        return out


def _text_length(events: list[Event]) -> int:
    return sum(len(event.text) for event in events if isinstance(event, Text))


def _split(splitter: ThinkSplitter, events: list[Event], *, last: bool) -> list[Event]:
    out: list[Event] = []
    for event in events:
        if isinstance(event, Text) and not event.is_refusal:
            out.extend(splitter.feed(event.text))
        else:
            if last or not isinstance(event, Usage):
                # the text that was kept back came before this event
                out.extend(splitter.close())
            splitter.separates |= isinstance(event, Reasoning)
            out.append(event)
    if last:
        out.extend(splitter.close())
    return out

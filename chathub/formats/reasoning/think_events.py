"""Turns the text between ``<think>`` tags into reasoning, in the events of a response."""

from chathub.formats.events import Event, Logprobs, Reasoning, Source, Text, Usage
from chathub.formats.reasoning.think_tags import ThinkSplitter
from chathub.formats.sources import moved


class ThinkEvents:
    """Separates the reasoning of one response; a provider that separates it itself sends no tags. Sources
    keep their places in the text that is left."""

    def __init__(self, *, is_whole: bool = False) -> None:
        self._splitter = ThinkSplitter(is_whole=is_whole)
        # characters that are no text any more, or are kept back
        self._removed = 0

    def split(self, events: list[Event], *, last: bool = False) -> list[Event]:
        out = events if self._splitter.passing else self._split(events, last)
        if self._removed:
            out = [moved(event, self._removed) if isinstance(event, Source) else event for event in out]
        return out

    def _split(self, events: list[Event], last: bool) -> list[Event]:
        splitter = self._splitter
        out: list[Event] = []
        for event in events:
            if type(event) is Text and not event.is_refusal:
                # nearly all of a reply is text without a tag
                if splitter.passes(event.text):
                    out.append(event)
                else:
                    self._removed += len(event.text)
                    self._add(splitter.feed(event.text), out)
                continue
            if last or type(event) not in (Usage, Logprobs):
                # the text that was kept back came before this event
                self._add(splitter.close(), out)
            splitter.separates |= type(event) is Reasoning
            out.append(event)
        if last:
            self._add(splitter.close(), out)
        return out

    def _add(self, found: list[Text | Reasoning], out: list[Event]) -> None:
        for event in found:
            self._removed -= len(event.text) if type(event) is Text else 0
            out.append(event)

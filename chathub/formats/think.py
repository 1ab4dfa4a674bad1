"""Reasoning that a model writes into its answer, between ``<think>`` and ``</think>``.

Perplexity's reasoning models, Together, older Ollama and SGLang builds do so instead of using a field
of its own. Only a tag at the very beginning counts: later on it is text about the tag.
"""

from chathub.formats.events import Reasoning, Text

_BLANKS = " \t\r\n"
_OPENINGS = ("<think>", "<thinking>")


class ThinkSplitter:
    """Splits an answer that arrives in pieces; a tag may be cut anywhere.

    Give every piece to ``feed`` and call ``close`` at the end. Only what may still become a tag, and
    blanks around one, is ever held back.
    """

    __slots__ = ("_closing", "_fresh", "_held", "passing")

    def __init__(self) -> None:
        self.passing = False  # from here on all is text
        self._closing = ""  # the tag that ends the reasoning; empty before and after it
        self._fresh = False  # directly after a tag, where blanks are dropped
        self._held = ""

    def feed(self, text: str) -> list[Text | Reasoning]:
        """What ``text`` adds to the answer and to the reasoning, in order; often nothing."""
        if self.passing:
            return [Text(text)] if text else []
        text = self._held + text
        self._held = ""
        if self._closing:
            return self._in_reasoning(text)
        return self._after_reasoning(text) if self._fresh else self._at_start(text)

    def close(self) -> list[Text | Reasoning]:
        """What was held back. A block that was never closed stays reasoning."""
        held, self._held = self._held, ""
        if not held:
            return []
        return [Reasoning(held) if self._closing else Text(held)]

    def _at_start(self, text: str) -> list[Text | Reasoning]:
        body = text.lstrip(_BLANKS)
        for opening in _OPENINGS:
            if body.startswith(opening):
                self._closing = "</" + opening[1:]
                self._fresh = True
                return self._in_reasoning(body[len(opening) :])
            if opening.startswith(body):
                self._held = text
                return []
        self.passing = True
        return [Text(text)]

    def _in_reasoning(self, text: str) -> list[Text | Reasoning]:
        if self._fresh:
            text = text.lstrip(_BLANKS)
            self._fresh = not text
        thought, closing, rest = text.partition(self._closing)
        if closing:
            self._closing, self._fresh = "", True
            return [*([Reasoning(thought)] if thought else []), *self._after_reasoning(rest)]
        keep = _overlap(text, self._closing)
        self._held = text[len(text) - keep :]
        thought = text[: len(text) - keep]
        return [Reasoning(thought)] if thought else []

    def _after_reasoning(self, text: str) -> list[Text | Reasoning]:
        text = text.lstrip(_BLANKS)
        if not text:
            return []
        self.passing = True
        return [Text(text)]


def _overlap(text: str, tag: str) -> int:
    """How many characters at the end of ``text`` may be the beginning of ``tag``."""
    for size in range(min(len(text), len(tag) - 1), 0, -1):
        if text.endswith(tag[:size]):
            return size
    return 0

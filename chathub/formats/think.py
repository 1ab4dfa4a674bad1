"""Separates the reasoning that a model writes into its text, between ``<think>`` and ``</think>``.

Perplexity's reasoning models, Together, older Ollama and SGLang builds do so instead of using a separate
field. Only a tag at the very beginning counts: later it is text about the tag.
"""

from chathub.formats.events import Reasoning, Text

_BLANKS = " \t\r\n"
_OPENINGS = ("<think>", "<thinking>")


class ThinkSplitter:
    """Splits a text that arrives in pieces; a tag may be cut anywhere.

    Pass every piece to ``feed`` and call ``close`` at the end. Only a possible beginning of a tag, and blanks
    around a tag, are kept back.
    """

    __slots__ = ("_closing", "_fresh", "_kept", "passing")

    def __init__(self) -> None:
        self.passing = False  # from here on all is text
        self._closing = ""  # the tag that ends the reasoning; empty before and after it
        self._fresh = False  # directly after a tag, where blanks are dropped
        self._kept = ""

    def feed(self, text: str) -> list[Text | Reasoning]:
        """What ``text`` adds to the text and to the reasoning, in order; often nothing."""
        if self.passing:
            return [Text(text)] if text else []
        text = self._kept + text
        self._kept = ""
        if self._closing:
            return self._in_reasoning(text)
        return self._after_reasoning(text) if self._fresh else self._at_start(text)

    def close(self) -> list[Text | Reasoning]:
        """The rest that was kept back. A block that was never closed stays reasoning."""
        kept, self._kept = self._kept, ""
        if not kept:
            return []
        return [Reasoning(kept) if self._closing else Text(kept)]

    def _at_start(self, text: str) -> list[Text | Reasoning]:
        body = text.lstrip(_BLANKS)
        for opening in _OPENINGS:
            if body.startswith(opening):
                self._closing = "</" + opening[1:]
                self._fresh = True
                return self._in_reasoning(body[len(opening) :])
            if opening.startswith(body):
                self._kept = text
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
        self._kept = text[len(text) - keep :]
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

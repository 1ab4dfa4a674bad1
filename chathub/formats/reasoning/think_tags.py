"""Separates the reasoning that a model writes into its text, between ``<think>`` and ``</think>``.

Perplexity's reasoning models, Together, older Ollama and SGLang builds do so instead of using a separate
field; gpt-oss at Bedrock writes ``<reasoning>``. Only an opening tag at the very beginning counts: later it
is text about the tag. A ``</think>`` without an opening tag is a remainder of the model's template and is
dropped, unless it stands in quotation marks; text that came before it in a stream stays text.
"""

from chathub.formats.events import Reasoning, Text

_BLANKS = " \t\r\n"
_OPENINGS = ("<think>", "<thinking>", "<reasoning>")
_STRAY = "</think>"
# after it, tags are what the text is about
_OPENING = "<think"
_QUOTES = frozenset("`'\"“‘「")


class ThinkSplitter:
    """Splits a text that arrives in pieces; a tag may be cut anywhere.

    Give every piece to ``feed``, unless it ``passes``, and call ``close`` at the end. Only a possible
    beginning of a tag, and blanks around a tag, are kept back. ``is_whole``: the text comes in one piece, so
    that what stands before a ``</think>`` without an opening tag is reasoning, unless the provider separates
    reasoning (``separates``).
    """

    __slots__ = ("_closing", "_fresh", "_is_whole", "_kept", "_last", "_started", "passing", "separates")

    def __init__(self, *, is_whole: bool = False) -> None:
        self.passing = False  # from here on all is text
        self.separates = False
        self._is_whole = is_whole
        self._closing = ""  # the tag that ends the reasoning; empty before and after it
        self._fresh = False  # directly after a tag, where blanks are dropped
        self._started = False  # the text has begun
        self._last = ""  # the last character of the text
        self._kept = ""

    def passes(self, text: str) -> bool:
        """Whether ``text`` is text as it is. If not, it is to be fed."""
        if self.passing or (self._started and not self._kept and "<" not in text):
            self._last = text[-1:] or self._last
            return bool(text)
        return False

    def feed(self, text: str) -> list[Text | Reasoning]:
        """What ``text`` adds to the text and to the reasoning, in order; often nothing."""
        if not text or self.passes(text):
            return [Text(text)] if text else []
        text = self._kept + text
        self._kept = ""
        if self._closing:
            return self._in_reasoning(text)
        if self._started:
            return self._in_text(text)
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
        if body.startswith(_STRAY):
            return self._after_reasoning(body)
        if any(tag.startswith(body) for tag in (*_OPENINGS, _STRAY)):
            self._kept = text
            return []
        if self._is_whole and not self.separates and (thought := _thought_before_stray(body)):
            rest = self._after_reasoning(body[len(thought) :])
            return [Reasoning(thought.rstrip(_BLANKS)), *rest]
        return self._in_text(text)

    def _in_reasoning(self, text: str) -> list[Text | Reasoning]:
        if self._fresh:
            text = text.lstrip(_BLANKS)
            self._fresh = not text
        thought, closing, rest = text.partition(self._closing)
        if closing:
            self._closing = ""
            return [*([Reasoning(thought)] if thought else []), *self._after_reasoning(rest)]
        keep = _overlap(text, self._closing)
        self._kept = text[len(text) - keep :]
        thought = text[: len(text) - keep]
        return [Reasoning(thought)] if thought else []

    def _after_reasoning(self, text: str) -> list[Text | Reasoning]:
        self._fresh = True
        text = text.lstrip(_BLANKS)
        while text.startswith(_STRAY):
            text = text[len(_STRAY) :].lstrip(_BLANKS)
        if _STRAY.startswith(text):
            self._kept = text
            return []
        return self._in_text(text)

    def _in_text(self, text: str) -> list[Text | Reasoning]:
        """The text without a ``</think>`` that has no opening tag."""
        self._started = True
        said: list[str] = []
        start = at = 0
        while (at := text.find("<", at)) >= 0:
            if text.startswith(_OPENING, at):
                self.passing = True
                break
            if text.startswith(_STRAY, at):
                if (text[at - 1] if at else self._last) not in _QUOTES:
                    said.append(text[start:at])
                    start = at + len(_STRAY)
                at += len(_STRAY)
            elif _OPENING.startswith(text[at : at + 6]) or _STRAY.startswith(text[at : at + 8]):
                self._kept = text[at:]
                break
            else:
                at += 1
        said.append(text[start : len(text) - len(self._kept)])
        whole = "".join(said)
        self._last = whole[-1:] or self._last
        return [Text(whole)] if whole else []


def _thought_before_stray(text: str) -> str:
    """What stands before a ``</think>`` without an opening tag; empty if there is no such tag."""
    thought, tag, _ = text.partition(_STRAY)
    return thought if tag and _OPENING not in thought and thought[-1:] not in _QUOTES else ""


def _overlap(text: str, tag: str) -> int:
    """How many characters at the end of ``text`` may be the beginning of ``tag``."""
    for size in range(min(len(text), len(tag) - 1), 0, -1):
        if text.endswith(tag[:size]):
            return size
    return 0

"""The text of a reply in parts, and how much of it a client has."""

from typing import Literal

from msgspec import Struct

Kind = Literal["content", "reasoning"]
Part = tuple[Kind, str]


class Cursor(Struct):
    """How much of a reply a client has: code points of content and of reasoning, each on its own.

    Offsets, not numbers of events, so that memory and database answer alike.
    """

    content: int = 0
    reasoning: int = 0

    @classmethod
    def parse(cls, event_id: str | None) -> "Cursor":
        """From an event id ``<content>-<reasoning>``; none means the beginning."""
        content, _, reasoning = (event_id or "0-0").partition("-")
        return cls(int(content), int(reasoning))

    def event_id(self) -> bytes:
        return b"%d-%d" % (self.content, self.reasoning)

    def advance(self, kind: Kind, text: str) -> None:
        if kind == "content":
            self.content += len(text)
        else:
            self.reasoning += len(text)


def merged(parts: list[Part]) -> list[Part]:
    """Neighbours of the same kind as one."""
    if len(parts) < 2:
        return parts
    runs: list[tuple[Kind, list[str]]] = []
    for kind, text in parts:
        if not runs or runs[-1][0] != kind:
            runs.append((kind, []))
        runs[-1][1].append(text)
    return [(kind, "".join(texts)) for kind, texts in runs]


def after(parts: list[Part], skip: dict[str, int]) -> list[Part]:
    """The parts without the first ``skip`` code points of each kind; counts ``skip`` down."""
    rest: list[Part] = []
    for kind, text in parts:
        known = min(skip[kind], len(text))
        skip[kind] -= known
        if known < len(text):
            rest.append((kind, text[known:]))
    return rest

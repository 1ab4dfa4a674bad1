"""The parts of a reply's text, and the cursor of a follower."""

from msgspec import Struct

from chathub.chat.turn import Kind

Part = tuple[Kind, str]


class Cursor(Struct):
    """How much of a reply a client has received: code points of content and of reasoning, each by itself.

    Offsets instead of event numbers: memory and database give the same text for the same cursor.
    """

    content: int = 0
    reasoning: int = 0

    @classmethod
    def parse(cls, event_id: str | None) -> "Cursor":
        """From an SSE event id ``<content>-<reasoning>``; without one, the beginning."""
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
    """The parts with neighbours of the same kind joined."""
    if len(parts) < 2:
        return parts
    runs: list[tuple[Kind, list[str]]] = []
    for kind, text in parts:
        if not runs or runs[-1][0] != kind:
            runs.append((kind, []))
        runs[-1][1].append(text)
    return [(kind, "".join(texts)) for kind, texts in runs]


def after(parts: list[Part], skip: dict[str, int]) -> list[Part]:
    """The parts without the first ``skip`` code points of each kind; reduces ``skip`` by what it left out."""
    rest: list[Part] = []
    for kind, text in parts:
        known = min(skip[kind], len(text))
        skip[kind] -= known
        if known < len(text):
            rest.append((kind, text[known:]))
    return rest

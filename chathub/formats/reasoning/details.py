"""Reasoning details: OpenRouter's list of a reply's reasoning, as texts, summaries and encrypted data.

In a stream they come in fragments, which are joined; they go back unchanged. Clients of OpenAI's format get
the thinking of Anthropic in the same form.
"""

from collections.abc import Iterable

from chathub.formats.loose_json import as_object, as_string
from chathub.schemas.json import JsonObject

# details of one reply
_MOST = 4096
# the format of the details that models of Anthropic give
_ANTHROPIC = "anthropic-claude-v1"
# the field that grows, by the type of the detail
_GROWING = {"reasoning.text": "text", "reasoning.summary": "summary"}
# the words in the names of the models that know the details of a format
_FAMILIES = {
    "anthropic": ("claude",),
    "google": ("gemini",),
    "openai": ("gpt", "openai/", "codex"),
    "xai": ("grok",),
}


class Details:
    """The details of one reply while they come."""

    def __init__(self, items: object = None) -> None:
        self._items: list[JsonObject] = []
        # the pieces of the text that grows
        self._texts: list[list[str]] = []
        self.add(items)

    def __bool__(self) -> bool:
        return bool(self._items)

    def add(self, items: object) -> None:
        """Add the items of one list, of which each may continue one of an earlier list."""
        known = len(self._items)
        for item in items if isinstance(items, list) else []:
            if not isinstance(item, dict):
                continue
            name = _GROWING.get(as_string(item.get("type")), "")
            text = as_string(item.get(name))
            place = self._continued(item, known) if name else None
            if place is not None:
                self._texts[place].append(text)
                self._items[place] |= {
                    other: value
                    for other, value in item.items()
                    if other != name and (value is not None or other not in self._items[place])
                }
                self._items[place].setdefault(name, text)
            elif len(self._items) < _MOST:
                self._items.append(dict(item))
                self._texts.append([text])

    def _continued(self, item: JsonObject, known: int) -> int | None:
        """The place of the detail that an item continues."""
        for place in range(known - 1, -1, -1):
            other = self._items[place]
            if any(other.get(name) != item.get(name) for name in ("type", "index")):
                continue
            ids = {each for each in (as_string(other.get("id")), as_string(item.get("id"))) if each}
            # without an index, a signature is the end
            is_over = item.get("index") is None and other.get("signature")
            return None if len(ids) > 1 or is_over else place
        return None

    def whole(self) -> list[JsonObject]:
        """The details as they go back."""
        found = []
        for item, texts in zip(self._items, self._texts, strict=True):
            name = _GROWING.get(as_string(item.get("type")), "")
            is_grown = name and len(texts) > 1
            found.append({**item, name: "".join(texts)} if is_grown else dict(item))
        return found


def of_family(details: Iterable[JsonObject], model: str) -> list[JsonObject]:
    """The details that a model of another name knows: those of its own family."""
    found = []
    for item in details:
        words = _FAMILIES.get(as_string(item.get("format")).partition("-")[0], ())
        if any(word in model.casefold() for word in words):
            found.append(item)
    return found


def detail_of(text: str, state: JsonObject, index: int, after: JsonObject) -> JsonObject:
    """A thinking block of Anthropic as a detail; empty for one without a signature. ``after`` is what of the
    reply came before it."""
    kept: JsonObject = {"format": _ANTHROPIC, "index": index, **({"after": after} if after else {})}
    if data := as_string(state.get("data")):
        return {"type": "reasoning.encrypted", "data": data, **kept}
    if not (signature := as_string(state.get("signature"))):
        return {}
    return {"type": "reasoning.text", "text": text, "signature": signature, **kept}


def without_text(detail: JsonObject) -> JsonObject:
    """A detail whose text the client has already: in a stream some programs would show it twice."""
    if not (text := as_string(detail.get("text"))):
        return detail
    return {**detail, "text": "", "chars": len(text)}


def by_place(details: object, reasoning: str) -> dict[tuple[bool, int], list[JsonObject]]:
    """A client's details by what came before them: whether some text, and how many calls. The texts that
    ``without_text`` left out are taken from the reasoning."""
    found: dict[tuple[bool, int], list[JsonObject]] = {}
    at = 0
    for item in details if isinstance(details, list) else []:
        if not isinstance(item, dict):
            continue
        kept = {name: value for name, value in item.items() if name not in ("after", "chars")}
        if isinstance(size := item.get("chars"), int):
            kept["text"], at = reasoning[at : at + size], at + size
            if len(kept["text"]) != size:
                continue
        after = as_object(item.get("after"))
        calls = after.get("calls")
        place = after.get("text") is True, calls if isinstance(calls, int) else 0
        found.setdefault(place, []).append(kept)
    return found


def blocks_in(details: object) -> Iterable[JsonObject]:
    """The details that models of Anthropic gave, behind whichever API, as thinking blocks."""
    for item in map(as_object, details if isinstance(details, list) else []):
        if item.get("format") != _ANTHROPIC:
            continue
        if item.get("type") == "reasoning.encrypted" and (data := as_string(item.get("data"))):
            yield {"type": "redacted_thinking", "data": data}
        elif signature := as_string(item.get("signature")):
            yield {"type": "thinking", "thinking": as_string(item.get("text")), "signature": signature}

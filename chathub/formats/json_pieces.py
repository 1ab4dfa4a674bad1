"""JSON values that come in pieces, joined without being decoded.

The pieces of a text are joined as they are written, so that nothing of them changes and half a surrogate pair
finds its other half; what is in a list is never built. So neither many tiny elements nor unknown fields cost
more memory than their bytes.
"""

from typing import Any

import msgspec
from msgspec import Raw

# fields of one object, and elements of one list with indices, that are kept
_MOST_FIELDS, _MOST_ITEMS = 256, 1024
# objects within objects that are joined; deeper ones are replaced
_DEEPEST = 3
# fields that every piece may repeat
_REPEATED = frozenset({"role", "type", "id", "name", "format", "object", "index", "model"})
# lists whose elements come in pieces too
_INDEXED = frozenset({"tool_calls", "reasoning_details"})

Fields = dict[str, Raw]

decode_fields = msgspec.json.Decoder(Fields).decode
_decode_items = msgspec.json.Decoder(list[Fields]).decode
_encode = msgspec.json.encode


class _Text:
    """A text in pieces, each as it is written between its quotation marks."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def encoded(self) -> Raw:
        return Raw(b'"%b"' % b"".join(self.pieces))


class _List:
    """A list in pieces, each as it is written between its brackets."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def encoded(self) -> Raw:
        return Raw(b"[%b]" % b",".join(self.pieces))


class _Items:
    """A list whose elements are named by their ``index``, or by their ``id``, and come in pieces."""

    def __init__(self) -> None:
        self.items: list[JoinedObject] = []
        self._by_index: dict[bytes, JoinedObject] = {}

    def add(self, items: list[Fields]) -> None:
        for position, item in enumerate(items):
            known = self._item(item, position)
            if known is not None:
                known.add(item)

    def _item(self, item: Fields, position: int) -> "JoinedObject | None":
        id = bytes(item.get("id") or b"null")
        index = bytes(item.get("index") or (b"%d" % position if id in (b"null", b'""') else id))
        known = self._by_index.get(index)
        # older Ollama and OpenRouter send each whole call under the index 0: another id is another call
        if known is None or (id not in (b"null", b'""') and known.has("id") and known.values["id"] != id):
            if len(self.items) == _MOST_ITEMS:
                return None
            known = self._by_index[index] = JoinedObject()
            self.items.append(known)
        return known

    def encoded(self) -> list[dict[str, Any]]:
        return [item.encoded() for item in self.items]


class JoinedObject:
    """An object whose fields come in pieces: ``add`` each of them, then ``encoded`` is the whole one, for
    msgspec to encode.

    Texts, lists and objects are joined; of other values, and of those that every piece repeats, the last one
    that is not empty counts.
    """

    def __init__(self, depth: int = 0) -> None:
        self.values: dict[str, Any] = {}
        self._depth = depth

    def has(self, name: str) -> bool:
        return self.values.get(name) not in (None, b"null", b'""')

    def add(self, fields: Fields) -> None:
        for name, raw in fields.items():
            value = bytes(raw).strip()
            if name in self.values or len(self.values) < _MOST_FIELDS:
                self._add(name, value)

    def _add(self, name: str, value: bytes) -> None:
        known, first = self.values.get(name), value[:1]
        if value == b"null" or (name in _REPEATED and value == b'""'):
            self.values.setdefault(name, value)
        elif name in _REPEATED:
            self.values[name] = value
        elif first == b'"':
            self._add_text(name, known, value)
        elif first == b"[" and name in _INDEXED:
            items = self.values[name] = known if isinstance(known, _Items) else _Items()
            items.add(_decode_items(value))
        elif first == b"[":
            self._add_list(name, known, value)
        elif first == b"{" and self._depth < _DEEPEST:
            inner = known if isinstance(known, JoinedObject) else JoinedObject(self._depth + 1)
            self.values[name] = inner
            inner.add(decode_fields(value))
        else:
            self.values[name] = value

    def _add_text(self, name: str, known: object, value: bytes) -> None:
        if isinstance(known, _List):
            # Mistral's content is a list while it thinks, then a text
            known.pieces.append(b'{"type":"text","text":%b}' % value)
            return
        text = self.values[name] = known if isinstance(known, _Text) else _Text()
        text.pieces.append(value[1:-1])

    def _add_list(self, name: str, known: object, value: bytes) -> None:
        items = self.values[name] = known if isinstance(known, _List) else _List()
        if isinstance(known, _Text) and (text := known.encoded()) != Raw(b'""'):
            items.pieces.append(b'{"type":"text","text":%b}' % bytes(text))
        if inner := value[1:-1].strip():
            items.pieces.append(inner)

    def encoded(self) -> dict[str, Any]:
        return {
            name: Raw(value) if isinstance(value, bytes) else value.encoded()
            for name, value in self.values.items()
        }

"""What a client of Responses asks of the storage, and the request that is generated for it."""

import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec import Raw, Struct

from chathub.errors import BadRequest
from chathub.formats.client_request import MESSAGES, decode, refuse
from chathub.formats.raw_json import ABSENT, changed, first_of, is_null, items, joined, raw, value_of
from chathub.formats.responses.content import FIELD
from chathub.formats.responses.decode_request import decode_fields
from chathub.formats.responses.references import id_of
from chathub.schemas.json import JsonObject
from chathub.schemas.readable import readable
from chathub.sentences import Reason

# fields that concern only ChatHub: no provider keeps anything, and each one streams
OURS = ("store", "background", "previous_response_id")
# the items whose ids only the server that made them can resolve
_IDS = {"message": "msg", "function_call": "fc", "custom_tool_call": "ctc", "reasoning": "rs"}


class _Fields(Struct):
    model: str
    store: bool | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    stream: bool | None = None


_decode_fields = msgspec.json.Decoder(_Fields).decode
_any_fields = msgspec.json.Decoder(dict[str, Raw])
_text = msgspec.json.Decoder(str)
_decode_items = msgspec.json.Decoder(list[Raw]).decode


class Wanted(Struct, frozen=True):
    """What a request wants of the storage."""

    is_stored: bool
    is_background: bool
    is_streamed: bool
    previous: str | None

    @classmethod
    def in_body(cls, body: bytes) -> "Wanted":
        """Read it from a body that was decoded before."""
        return cls.of(decode_fields(readable(body)))

    @classmethod
    def of(cls, fields: Mapping[str, Raw]) -> "Wanted":
        """Read it from the fields of a body.

        Raises:
            BadRequest: a field of a wrong type, or fields that exclude each other.
        """
        names = (*OURS, "stream", "model")
        given = decode(_decode_fields, raw({name: fields[name] for name in names if name in fields}))
        if given.background and given.store is False:
            raise BadRequest("background_not_stored", details={"param": "store"})
        is_stored = given.store if given.store is not None else bool(given.background)
        if given.store is None and given.previous_response_id:
            is_stored = True
        return cls(is_stored, bool(given.background), bool(given.stream), given.previous_response_id)


def body_of(fields: Mapping[str, Raw], history: Sequence[Raw], *, stream: bool) -> bytes:
    """The body of the request that is generated: with the history before its own input."""
    body = {name: value for name, value in fields.items() if name not in OURS}
    if history:
        body[FIELD] = joined([*history, *own_items(fields)])
    return msgspec.json.encode({**body, "stream": stream})


def own_items(fields: Mapping[str, Raw]) -> list[Raw]:
    """The items of a request's input; a text is a message of the user.

    Raises:
        BadRequest: it is neither, or has too many items.
    """
    given = fields.get(FIELD, ABSENT)
    if first_of(given) == b'"':
        content = [{"type": "input_text", "text": given}]
        return [raw({"type": "message", "role": "user", "content": content})]
    if is_null(given):
        return []
    if first_of(given) != b"[":
        refuse(FIELD, "field_wrong_type", expected=[Reason("string"), Reason("array")])
    if (found := items(given, MESSAGES)) is None:
        refuse(FIELD, "list_too_long", most=MESSAGES)
    return found


class StoredItems(NamedTuple):
    """The items of an input as they are stored: a compressed list; and their ids."""

    packed: bytes
    ids: list[str]


def packed_items(fields: Mapping[str, Raw], public_id: str) -> StoredItems:
    """The input's items as they are stored, each with an id."""
    named = [_named(item, public_id, number) for number, item in enumerate(own_items(fields))]
    return StoredItems(zlib.compress(joined(named)), list(map(id_of, named)))


def _named(item: Raw, public_id: str, number: int) -> Raw:
    known = value_of(item, _any_fields)
    if known is None:
        return item
    kind = value_of(known["type"], _text) if "type" in known else "message"
    prefix = _IDS.get(kind or "", "item")
    fresh = f"{prefix}_{public_id.removeprefix('resp_')}{number}"
    filled: JsonObject = {"type": "message"} if "type" not in known else {}
    if is_null(known.get("id", ABSENT)):
        filled["id"] = fresh
    if kind == "message" and first_of(known.get("content", ABSENT)) == b'"':
        part = "output_text" if bytes(known.get("role", ABSENT)) == b'"assistant"' else "input_text"
        filled["content"] = [{"type": part, "text": known["content"]}]
    return changed(item, filled) if filled else item


def unpacked_items(data: bytes) -> list[Raw]:
    """Stored items."""
    return _decode_items(zlib.decompress(data))

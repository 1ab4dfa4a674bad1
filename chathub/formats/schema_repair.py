"""Repairs the schema of a tool's arguments: providers want that of an object, with its properties, and arrays
with their items."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from chathub.formats.raw_json import ABSENT, changed, first_of, is_null, look, raw, value_of
from chathub.schemas.json import JsonObject

_EMPTY = {"type": "object", "properties": {}}
# levels of a schema that are looked at
_DEEPEST = 64
_REFERS = ("$ref", "anyOf", "oneOf", "allOf")


class _Schema(Struct):
    type: Raw = ABSENT
    properties: Raw = ABSENT
    ref: Raw = msgspec.field(default=ABSENT, name="$ref")
    any_of: Raw = msgspec.field(default=ABSENT, name="anyOf")
    one_of: Raw = msgspec.field(default=ABSENT, name="oneOf")
    all_of: Raw = msgspec.field(default=ABSENT, name="allOf")


_schema = msgspec.json.Decoder(_Schema)
_types = msgspec.json.Decoder(str | list[str])


def of_object(schema: Raw) -> Raw:
    """A schema with ``type`` and ``properties`` of an object; the same object if it has them, and if it is
    none of an object."""
    if is_null(schema):
        return raw(_EMPTY)
    found = look(schema, _schema)
    if found is None:
        return schema
    refers = any(first_of(each) for each in (found.ref, found.any_of, found.one_of, found.all_of))
    kind = None if is_null(found.type) else value_of(found.type, _types)
    changes = _changes(kind, has_properties=not is_null(found.properties), refers=refers)
    return changed(schema, changes) if changes else schema


def of_object_decoded(schema: JsonObject, *, needs_properties: bool = True) -> JsonObject:
    """``of_object`` of a decoded schema, whose arrays all have ``items``. Anthropic takes an object without
    ``properties``."""
    refers = any(name in schema for name in _REFERS)
    has_properties = schema.get("properties") is not None
    is_complete = has_properties or not needs_properties
    changes = _changes(schema.get("type"), has_properties=is_complete, refers=refers)
    return {**_with_items(schema, _DEEPEST), **changes}


def _with_items(schema: Any, levels: int) -> Any:
    """A schema with ``items`` in each array: OpenAI and Gemini refuse one without, Anthropic takes it."""
    if isinstance(schema, list) and levels:
        return [_with_items(each, levels - 1) for each in schema]
    if not isinstance(schema, dict) or not levels:
        return schema
    better = {name: _with_items(value, levels - 1) for name, value in schema.items()}
    kind = schema.get("type")
    if kind == "array" or (isinstance(kind, list) and "array" in kind):
        better.setdefault("items", {})
    return better


def _changes(kind: Any, *, has_properties: bool, refers: bool) -> JsonObject:
    """What a schema lacks; ``refers``: what the object looks like is said in another place."""
    if kind is not None and kind != "object" and not (isinstance(kind, list) and "object" in kind):
        return {}
    changes: JsonObject = {} if kind == "object" else {"type": "object"}
    if not has_properties and not refers:
        changes["properties"] = {}
    return changes

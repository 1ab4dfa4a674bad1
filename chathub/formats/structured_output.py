"""Structured output: a reply that is JSON, by a schema or without one, in the words of each format.

Inside ChatHub it is OpenAI's ``response_format``. Sources: OpenAI's and Anthropic's guides "Structured
outputs", Google's API reference (``responseJsonSchema``).
"""

from typing import Any

from chathub.formats.client_request import refuse
from chathub.formats.loose_json import as_object, as_string
from chathub.schemas.json import JsonObject

# Anthropic has no mode for JSON without a schema
JSON_ONLY = "Reply with one JSON object and nothing else: no other text, no code fence."
_EXAMPLE = '{"type": "json_schema", "schema": {"type": "object", …}}'
# levels of a schema that are looked at
_DEEPEST = 64


def checked(response_format: JsonObject | None) -> None:
    """Check that every format has this kind of ``response_format``.

    Raises:
        BadRequest: it has another type.
    """
    kind = (response_format or {}).get("type", "text")
    if kind not in ("text", "json_object", "json_schema"):
        refuse("response_format.type", "field_wrong_value", allowed=["text", "json_object", "json_schema"])


def schema_of(response_format: object) -> JsonObject:
    """The schema of a ``response_format``; empty for none."""
    return as_object(as_object(as_object(response_format).get("json_schema")).get("schema"))


def wants_json_only(response_format: object) -> bool:
    """Whether the reply is to be JSON by no schema."""
    kind = as_object(response_format).get("type")
    return kind == "json_object" or (kind == "json_schema" and not schema_of(response_format))


def from_anthropic(output_format: JsonObject, param: str) -> JsonObject:
    """Anthropic's ``output_config.format`` (before: ``output_format``) as ``response_format``.

    Raises:
        BadRequest: it is no JSON schema.
    """
    schema = output_format.get("schema")
    if output_format.get("type") != "json_schema" or not isinstance(schema, dict):
        refuse(param, "field_unlike_example", example=_EXAMPLE)
    name = as_string(output_format.get("name")) or "response"
    described: JsonObject = {"name": name, "schema": schema}
    if _is_strict(schema, _DEEPEST):
        described["strict"] = True
    return {"type": "json_schema", "json_schema": described}


def for_anthropic(response_format: object) -> JsonObject:
    """``response_format`` as Anthropic's ``output_config.format``; empty for text and for JSON by no
    schema."""
    schema = schema_of(response_format)
    return {"type": "json_schema", "schema": closed(schema)} if schema else {}


def closed(schema: Any, levels: int = _DEEPEST) -> Any:
    """A schema whose objects have no other properties than the named ones, as Anthropic requires it. What
    fits it fits the original too."""
    if isinstance(schema, list):
        return [closed(each, levels - 1) for each in schema] if levels else schema
    if not isinstance(schema, dict) or not levels:
        return schema
    own = {name: closed(value, levels - 1) for name, value in schema.items()}
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
        own.setdefault("additionalProperties", False)
    return own


def _is_strict(schema: Any, levels: int) -> bool:
    """Whether OpenAI's strict mode accepts a schema: every object is closed, and all of its properties are
    required."""
    if isinstance(schema, list):
        return all(_is_strict(each, levels - 1) for each in schema)
    if not isinstance(schema, dict):
        return True
    if not levels:
        return False
    if schema.get("type") == "object":
        properties, required = as_object(schema.get("properties")), schema.get("required")
        named = {each for each in required if isinstance(each, str)} if isinstance(required, list) else set()
        if schema.get("additionalProperties") is not False or set(properties) - named:
            return False
    return all(_is_strict(each, levels - 1) for each in schema.values())

"""Markers for a provider's cache of prompts, as Anthropic and relays in OpenAI's format write them.

Sources: the references of Anthropic ("Prompt caching"), OpenRouter ("Prompt caching") and Alibaba Cloud Model
Studio ("Context cache"): ``{"type": "ephemeral"}``, for an hour with ``"ttl": "1h"``.
"""

from chathub.formats.loose_json import as_object
from chathub.formats.messages import CachePoint
from chathub.schemas.json import JsonObject

FIELD = "cache_control"


def points_in(value: object) -> list[CachePoint]:
    """The marker in a field ``cache_control``, in a list that is empty without one."""
    marker = as_object(value)
    if marker.get("type") != "ephemeral":
        return []
    return [CachePoint("1h" if marker.get("ttl") == "1h" else "5m")]


def marker(point: CachePoint) -> JsonObject:
    """The value of ``cache_control``. Five minutes are not named: older relays do not know the field."""
    return {"type": "ephemeral", "ttl": "1h"} if point.ttl == "1h" else {"type": "ephemeral"}


def marked(block: JsonObject, point: CachePoint) -> JsonObject:
    """A block, part or tool with a marker."""
    return {**block, FIELD: marker(point)}


def unmarked(block: JsonObject) -> JsonObject:
    """A block, part or tool without its marker."""
    return {name: value for name, value in block.items() if name != FIELD} if FIELD in block else block

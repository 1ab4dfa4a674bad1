"""The list of models in Anthropic's format: in pages."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from chathub.clock import iso
from chathub.formats.offered_model import OfferedModel
from chathub.schemas.json import JsonObject


class Page(NamedTuple):
    """Models that are next to each other in the list; ``has_more``: the list goes on in the direction in
    which the client reads it."""

    models: Sequence[OfferedModel]
    has_more: bool


def page_of(
    models: Sequence[OfferedModel], limit: int, after_id: str | None, before_id: str | None
) -> Page | None:
    """At most ``limit`` models: the first, or those right after or right before the one of an id. None: no
    model has this id."""
    cursor = after_id or before_id
    at = next((place for place, model in enumerate(models) if model.id == cursor), None)
    if cursor and at is None:
        return None
    if after_id is None and at is not None:
        start = max(at - limit, 0)
        return Page(models[start:at], start > 0)
    start = 0 if at is None else at + 1
    return Page(models[start : start + limit], start + limit < len(models))


def encode_page(page: Page) -> bytes:
    """The body of ``GET /v1/models``."""
    return msgspec.json.encode(
        {
            "data": [_object(model) for model in page.models],
            "has_more": page.has_more,
            "first_id": page.models[0].id if page.models else None,
            "last_id": page.models[-1].id if page.models else None,
        }
    )


def encode_model(model: OfferedModel) -> bytes:
    """The body of ``GET /v1/models/{id}``."""
    return msgspec.json.encode(_object(model))


def _object(model: OfferedModel) -> JsonObject:
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.name,
        "created_at": iso(model.created_at),
        "lifecycle": "active",
        "max_input_tokens": model.context_window,
        "max_tokens": model.max_output_tokens,
        **model.details,
    }

"""The list of models in OpenAI's format."""

from collections.abc import Iterable

import msgspec

from chathub.formats.offered_model import OfferedModel
from chathub.schemas.json import JsonObject


def encode_models(models: Iterable[OfferedModel]) -> bytes:
    """The body of ``GET /v1/models``."""
    return msgspec.json.encode({"object": "list", "data": [_object(model) for model in models]})


def encode_model(model: OfferedModel) -> bytes:
    """The body of ``GET /v1/models/{id}``."""
    return msgspec.json.encode(_object(model))


def _object(model: OfferedModel) -> JsonObject:
    return {
        "id": model.id,
        "object": "model",
        "created": model.created_at // 1000,
        "owned_by": model.owned_by,
        **model.details,
    }

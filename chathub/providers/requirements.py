"""What a request needs of a model, and whether a model has it."""

from collections.abc import Iterable

from msgspec import Struct

from chathub.errors import BadRequest
from chathub.formats.client_request import refuse
from chathub.formats.events import Units
from chathub.formats.registry import format_named
from chathub.providers.catalog import CHAT_TYPES
from chathub.providers.chat_model import ChatModel


class Requirements(Struct, frozen=True):
    """What a request needs of a model beyond text. ``fields``: what the provider's format must have;
    ``types``: a model of one of these types; ``falls_back``: whether a fallback model may take its place;
    ``units``: what is paid by the unit, if it has a price."""

    images: bool = False
    tools: bool = False
    fields: tuple[str, ...] = ()
    types: tuple[str, ...] = CHAT_TYPES
    falls_back: bool = True
    units: Units | None = None


NOTHING = Requirements()


def check_needs(model: ChatModel, needs: Requirements) -> None:
    """Check that a model can take the request.

    Raises:
        BadRequest: it lacks something; the sentence says what.
    """
    if needs.images and not model.supports_vision:
        raise BadRequest("model_without_images", model=model.name)
    if needs.tools and not model.supports_tools:
        raise BadRequest("model_without_tools", model=model.name)
    lacked = format_named(model.wire_format).LACKED_FIELDS
    for name in needs.fields:
        if name in lacked:
            refuse(name, "field_unsupported", model=model.name)


def check_able(models: Iterable[ChatModel], needs: Requirements) -> None:
    """Check that one of the models can take the request.

    Raises:
        BadRequest: none can; what the first one lacks.
    """
    refusal = None
    for model in models:
        try:
            return check_needs(model, needs)
        except BadRequest as error:
            refusal = refusal or error
    assert refusal is not None
    raise refusal

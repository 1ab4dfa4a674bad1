"""OpenAI's Responses."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from chathub.openapi.bodies.base import Open
from chathub.schemas.json import JsonObject


class ResponsesRequest(Open):
    """A request of OpenAI's Responses. It is stored with ``store`` or ``background`` of true, and with
    ``previous_response_id``."""

    model: Annotated[str, Meta(min_length=1)]
    input: Any = UNSET
    instructions: Any = UNSET
    stream: bool | None | UnsetType = UNSET
    store: bool | None | UnsetType = UNSET
    background: bool | None | UnsetType = UNSET
    previous_response_id: str | None | UnsetType = UNSET


class ModelResponse(Open):
    """A response as it is now. ``store``: it is kept."""

    id: str
    object: Literal["response"]
    status: str
    output: list[JsonObject]
    error: JsonObject | None | UnsetType = UNSET
    usage: JsonObject | None | UnsetType = UNSET


class ResponseEvent(Open):
    """An event of a response; ``sequence_number`` counts them from 0."""

    type: str
    sequence_number: int | UnsetType = UNSET


class ResponseDeleted(Open):
    """A stored response was deleted."""

    id: str
    object: Literal["response"]
    deleted: Literal[True]


class InputItems(Open):
    """A page of the items of a stored response's input, as the client sent them."""

    object: Literal["list"]
    data: list[Any]
    first_id: str | None
    last_id: str | None
    has_more: bool


class CountedInput(Open):
    """How many tokens an input has. With the header ``X-ChatHub-Estimated`` it is an estimate."""

    object: Literal["response.input_tokens"]
    input_tokens: int

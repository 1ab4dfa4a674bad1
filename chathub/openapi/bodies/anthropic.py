"""Anthropic's messages and models."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from chathub.openapi.bodies.base import Open
from chathub.schemas.json import JsonObject


class MessagesRequest(Open):
    """A request of Anthropic's messages. ``model`` is any model of ChatHub's, whatever format its provider
    uses."""

    model: Annotated[str, Meta(min_length=1)]
    messages: list[JsonObject]
    max_tokens: int | None | UnsetType = UNSET
    system: Any = UNSET
    stream: bool | None | UnsetType = UNSET


class AnthropicMessage(Open):
    """A whole reply."""

    content: list[JsonObject]
    usage: JsonObject | UnsetType = UNSET


class AnthropicEvent(Open):
    """An event of a streamed reply; its ``type`` is also in the line ``event:``."""

    type: str


class CountedTokens(Open):
    """How many tokens a prompt has. With the header ``X-ChatHub-Estimated`` it is an estimate."""

    input_tokens: int


class AnthropicModel(Open):
    """A model in Anthropic's shape, with ChatHub's name and lengths (tokens)."""

    type: Literal["model"]
    id: str
    display_name: str
    created_at: str
    name: str
    context_window: int | None | UnsetType = UNSET
    max_output_tokens: int | None | UnsetType = UNSET


class AnthropicModelList(Open):
    """A page of the models that the caller can use."""

    data: list[AnthropicModel]
    has_more: bool
    first_id: str | None
    last_id: str | None

"""Errors of ``/v1``, in the shape that the client's own vendor uses."""

from typing import Literal

from msgspec import Struct

from chathub.openapi.bodies.base import Open


class OpenAIErrorDetails(Open):
    """``code`` is the provider's, or OpenAI's where it has one, else ChatHub's; ``param`` names the field."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(Open):
    """An error in OpenAI's shape. The header ``X-ChatHub-Code`` has ChatHub's code."""

    error: OpenAIErrorDetails


class AnthropicErrorDetails(Open):
    """``type`` is one of Anthropic's own words."""

    type: str
    message: str


class AnthropicError(Open):
    """An error in Anthropic's shape. The header ``X-ChatHub-Code`` has ChatHub's code."""

    type: Literal["error"]
    error: AnthropicErrorDetails


ERROR: type[Struct] = OpenAIError | AnthropicError  # type: ignore[assignment]

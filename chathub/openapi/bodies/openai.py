"""OpenAI's chat completions, models and forwarded endpoints."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from chathub.openapi.bodies.base import Open
from chathub.schemas.json import JsonObject

ModelName = Annotated[str, Meta(min_length=1)]


class ChatCompletionRequest(Open):
    """A request of OpenAI's chat completions. ``model`` is any model of ChatHub's, whatever format its
    provider uses. Where that is OpenAI's too, all fields are passed on, also unknown ones."""

    model: ModelName
    messages: list[JsonObject]
    stream: bool | None | UnsetType = UNSET


class ChatCompletion(Open):
    """A whole reply. The fields are those of the provider where its format is OpenAI's."""

    choices: list[JsonObject]
    usage: JsonObject | None | UnsetType = UNSET


class ChatCompletionChunk(Open):
    """An event of a streamed reply; the line ``data: [DONE]`` follows the last one. Events of a provider
    whose format is OpenAI's come as they are, also those without ``choices``."""

    choices: list[JsonObject] | UnsetType = UNSET
    usage: JsonObject | None | UnsetType = UNSET


class StreamError(Open):
    """An event that says why a stream ends before its reply is whole; no ``[DONE]`` follows it."""

    error: Any


class CompletionRequest(Open):
    """A request of OpenAI's completions, which continues a text."""

    model: ModelName
    prompt: Any = UNSET
    stream: bool | None | UnsetType = UNSET


class EmbeddingRequest(Open):
    """A request for vectors of texts."""

    model: ModelName
    input: Any = UNSET


class ImageRequest(Open):
    """A request for images."""

    model: ModelName
    prompt: Any = UNSET
    n: int | None | UnsetType = UNSET
    stream: bool | None | UnsetType = UNSET


class ImageEditRequest(Open):
    """A request for changed images, as JSON: ``images`` are their addresses."""

    model: ModelName
    images: Any = UNSET
    prompt: Any = UNSET
    stream: bool | None | UnsetType = UNSET


class RerankRequest(Open):
    """A request to rank documents, in the shape of Jina, Cohere and SiliconFlow."""

    model: ModelName
    query: Any = UNSET
    documents: Any = UNSET


class ModerationRequest(Open):
    """A request to judge texts. ``model`` is ``omni-moderation-latest`` where none is given."""

    model: ModelName | None | UnsetType = UNSET
    input: Any = UNSET


class SpeechRequest(Open):
    """A request for speech. With ``stream_format`` of ``sse`` it comes as events."""

    model: ModelName
    input: str
    stream_format: str | None | UnsetType = UNSET


class ForwardedBody(Open):
    """The provider's own response, without its API key."""


class ForwardedEvent(Open):
    """An event of the provider's own stream."""


class OpenAIModel(Open):
    """A model in OpenAI's shape, with ChatHub's name and lengths (tokens)."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    name: str
    context_window: int | None | UnsetType = UNSET
    max_output_tokens: int | None | UnsetType = UNSET


class OpenAIModelList(Open):
    """The models that the caller can use, those for chats first."""

    object: Literal["list"]
    data: list[OpenAIModel]

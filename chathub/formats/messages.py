"""What goes to a provider: a chat request with its messages, where it may go, and the attempts made."""

import time
from typing import Any

from msgspec import Struct, field

from chathub.formats.events import Failure
from chathub.schemas.json import JsonObject


class Image(Struct, frozen=True):
    """An image: its bytes and their media type (``image/png`` …), or an https address."""

    media_type: str = ""
    data: bytes = b""
    url: str = ""


class ToolCall(Struct, frozen=True):
    """A tool call that a model made; ``arguments`` is JSON text, empty for none."""

    id: str
    name: str
    arguments: str = ""


class Message(Struct, frozen=True, omit_defaults=True):
    """One message of the history that goes upstream.

    ``role`` is ``system``, ``user``, ``assistant`` or ``tool`` (the result of the call ``tool_call_id``).
    ``state``, of a reply, is the data of its ``State`` event, which its provider needs back.
    """

    role: str
    content: str
    images: list[Image] = []
    tool_calls: list[ToolCall] = []
    tool_call_id: str = ""
    state: JsonObject | None = None


class ChatRequest(Struct, frozen=True):
    """One chat request, before it is encoded in the provider's format.

    ``params`` holds only what the user set (``temperature``, ``max_tokens``, ``stop`` …), under the
    names of OpenAI's Chat Completions; ``tools`` and ``tool_choice`` are as in that API too. ``extra`` are
    fields that go unchanged to providers of OpenAI's format. ``caller_id`` is the user that the request is
    made for: quirks that it teaches count for that user first.
    """

    base_url: str
    model: str
    messages: list[Message]
    api_key: str = ""
    stream: bool = True
    params: JsonObject = field(default_factory=dict)
    tools: list[JsonObject] = []
    tool_choice: Any = None
    extra: JsonObject = field(default_factory=dict)
    caller_id: int = 0

    @property
    def requests_media(self) -> bool:
        """Whether the reply may contain images or audio (OpenAI's ``modalities``)."""
        kinds = self.extra.get("modalities")
        return isinstance(kinds, list) and any(kind in ("image", "audio") for kind in kinds)


class Endpoint(Struct, frozen=True):
    """Where an attempt goes: base URL, API key, format.

    ``trusted``: no user chose the address; ``local``: the built-in model, whose address is known once it
    runs; ``is_own``: the API key is the caller's, so the provider's sentences about it may be shown.
    """

    base_url: str
    api_key: str = ""
    wire_format: str = "openai"
    trusted: bool = True
    local: bool = False
    key_id: int | None = None
    is_own: bool = True

    def __repr__(self) -> str:
        return f"Endpoint({self.base_url!r}, key_id={self.key_id})"


class UpstreamRequest(Struct, frozen=True):
    """An HTTP request to a provider, always a POST."""

    url: str
    headers: dict[str, str]
    body: bytes

    @property
    def streamed(self) -> bool:
        """Whether the response is requested as a stream."""
        return self.headers.get("Accept") == "text/event-stream"


class Attempt:
    """One attempt at one endpoint, timed by ``time.monotonic``.

    ``failure`` says how it failed. ``is_complete``: it ended by itself, and was not cancelled.
    """

    __slots__ = ("began", "ended", "endpoint", "failure", "is_complete", "model")

    def __init__(self, endpoint: Endpoint, model: str) -> None:
        self.endpoint = endpoint
        self.model = model
        self.began = time.monotonic()
        self.ended: float | None = None
        self.failure: Failure | None = None
        self.is_complete = False

    @property
    def is_successful(self) -> bool:
        return self.is_complete and self.failure is None

    def complete(self, failure: Failure | None) -> None:
        self.failure, self.is_complete = failure, True

    def end(self) -> None:
        self.ended = time.monotonic()

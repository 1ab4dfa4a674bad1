"""What goes to a provider: a chat request with its messages, where it may go, and the attempts made."""

import time
from typing import Any

from msgspec import Struct, field

from chathub.formats.events import Failure


class Image(Struct, frozen=True):
    """A picture: its bytes and their media type (``image/png`` …), or an https address."""

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
    ``state`` is what a dialect gave as ``State`` with this answer and wants back with it.
    """

    role: str
    content: str
    images: list[Image] = []
    tool_calls: list[ToolCall] = []
    tool_call_id: str = ""
    state: dict[str, Any] | None = None


class ChatRequest(Struct, frozen=True):
    """One chat request, before a dialect gives it its form.

    ``params`` holds only what the user set (``temperature``, ``max_tokens``, ``stop`` …), under the
    names of OpenAI's chat completions API; ``tools`` and ``tool_choice`` are in its shape as well.
    ``extra`` are fields that are passed to upstreams of OpenAI's dialect untouched. ``caller_id`` is the
    user it is made for: what its refusals teach counts for that user first.
    """

    base_url: str
    model: str
    messages: list[Message]
    api_key: str = ""
    stream: bool = True
    params: dict[str, Any] = field(default_factory=dict)
    tools: list[dict[str, Any]] = []
    tool_choice: Any = None
    extra: dict[str, Any] = field(default_factory=dict)
    caller_id: int = 0

    @property
    def asks_for_media(self) -> bool:
        """Whether the answer may hold images or audio (OpenAI's ``modalities``)."""
        kinds = self.extra.get("modalities")
        return isinstance(kinds, list) and any(kind in ("image", "audio") for kind in kinds)


class Endpoint(Struct, frozen=True):
    """Where a call may be sent, with which key and in which dialect.

    ``trusted``: no user chose the address; ``local``: the built-in model, whose address is known once it
    runs; ``is_own``: the API key is not somebody else's, so what the provider says of it may be shown.
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
    """A request as it goes over HTTP (always a POST)."""

    url: str
    headers: dict[str, str]
    body: bytes

    @property
    def streamed(self) -> bool:
        """Whether the answer is asked for as a stream."""
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

"""What goes to a provider: a chat request with its messages, where it may go, and the attempts made."""

import time
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from chathub.formats.events import Failure
from chathub.formats.forms.encode import FormBody
from chathub.schemas.json import JsonObject

# kinds of failures after which the provider may have done its work
_CHARGED = ("no_response", "timeout", "cut", "blank")
# characters that each part counts as, beside its content
_PER_PART = 500


class TextPart(Struct, frozen=True):
    """A piece of a message's text."""

    text: str


class Image(Struct, frozen=True):
    """An image: its bytes and their media type (``image/png`` …), or an http(s) address.

    ``at``, of an image that is stored beside its message's text, are the code points of the text before it;
    None: it comes after the text.
    """

    media_type: str = ""
    data: bytes = b""
    url: str = ""
    at: int | None = None


class File(Struct, frozen=True):
    """A document such as a PDF: its bytes and their media type, or an https address. ``name`` may be
    empty."""

    media_type: str = ""
    data: bytes = b""
    url: str = ""
    name: str = ""


class Audio(Struct, frozen=True):
    """A recording: its bytes and their media type (``audio/wav``, ``audio/mpeg``)."""

    media_type: str
    data: bytes


class Thought(Struct, frozen=True):
    """Reasoning of a model, of an earlier reply. ``state`` is the data of its ``State`` event: what its
    provider needs back with it, or with the tool call after it, also without any text."""

    text: str
    state: JsonObject | None = None


class ToolCall(Struct, frozen=True):
    """A tool call that a model made; ``arguments`` is JSON text, empty for none."""

    id: str
    name: str
    arguments: str = ""


class NativeBlock(Struct, frozen=True):
    """A block that only providers of ``wire_format`` understand, as it came. To all others goes ``text``
    (empty: nothing)."""

    wire_format: str
    block: JsonObject
    text: str = ""


class CachePoint(Struct, frozen=True):
    """A client's marker: the provider is to keep the prompt up to here in its cache, for five minutes or for
    an hour."""

    ttl: Literal["5m", "1h"] = "5m"


Part = TextPart | Image | File | Audio | Thought | ToolCall | NativeBlock | CachePoint
P = TypeVar("P", bound=Part)


class Message(Struct, frozen=True, omit_defaults=True):
    """One message of the history that goes upstream.

    ``role`` is ``system``, ``user``, ``assistant`` or ``tool`` (the result of the call ``tool_call_id``).
    ``content`` is a text, or parts in their order. ``model``, of a reply with reasoning, is the model that
    made it, empty if it is not known.
    """

    role: str
    content: str | Sequence[Part]
    tool_call_id: str = ""
    model: str = ""

    @property
    def parts(self) -> Sequence[Part]:
        """The content as parts, without empty texts."""
        if isinstance(self.content, str):
            return [TextPart(self.content)] if self.content else []
        return self.content

    def of_kind(self, kind: type[P]) -> list[P]:
        """The parts of one kind."""
        return (
            [] if isinstance(self.content, str) else [each for each in self.content if isinstance(each, kind)]
        )

    @property
    def text(self) -> str:
        """The text parts, joined by line ends: clients put whole documents into parts, without a line end."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join([each.text for each in self.content if isinstance(each, TextPart) and each.text])

    @property
    def images(self) -> list[Image]:
        return self.of_kind(Image)

    @property
    def tool_calls(self) -> list[ToolCall]:
        return self.of_kind(ToolCall)

    @property
    def thoughts(self) -> list[Thought]:
        return self.of_kind(Thought)


def content_of(parts: Sequence[Part]) -> str | Sequence[Part]:
    """The parts as a message's content: a single text as a string."""
    if not parts:
        return ""
    if len(parts) == 1 and isinstance(part := parts[0], TextPart):
        return part.text
    return parts


def user_message(text: str, images: Sequence[Image]) -> Message:
    """A user's message as ChatHub stores it: its text, and its images at their places."""
    parts: list[Part] = []
    begin = 0
    for image in images:
        end = len(text) if image.at is None else max(begin, min(image.at, len(text)))
        parts += [*_piece(text, begin, end), image if image.at is None else replace(image, at=None)]
        begin = end
    return Message("user", content_of([*parts, *_piece(text, begin, len(text))]))


def _piece(text: str, begin: int, end: int) -> list[TextPart]:
    """A piece of a text that was joined from parts by line ends."""
    piece = text[begin:end].removeprefix("\n") if begin else text[:end]
    return [TextPart(piece)] if piece else []


def size_of(message: Message) -> int:
    """The characters and bytes of a message's content; each part counts as some more."""
    if isinstance(message.content, str):
        return len(message.content)
    return sum(_part_size(part) for part in message.content)


def _part_size(part: Part) -> int:
    match part:
        case TextPart(text):
            size = len(text)
        case Thought(text, state):
            size = len(text) + (len(str(state)) if state else 0)
        case ToolCall(_, name, arguments):
            size = len(name) + len(arguments)
        case NativeBlock(_, block):
            size = len(str(block))
        case CachePoint():
            size = 0
        case _:
            size = len(part.data)
    return _PER_PART + size


class ChatRequest(Struct, frozen=True):
    """One chat request, before it is encoded in the provider's format.

    ``params`` holds only what the user set (``temperature``, ``max_tokens``, ``stop`` …), under the
    names of OpenAI's Chat Completions; ``tools`` and ``tool_choice`` are as in that API too. ``extra`` are
    fields that go unchanged to providers of OpenAI's format. ``caller_id`` is the user that the request is
    made for: quirks that it teaches count for that user first. ``cache_key`` names the conversation to a
    provider that keeps its prompts in a cache; it says nothing of the conversation.
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
    cache_key: str = ""

    @property
    def requests_media(self) -> bool:
        """Whether the reply may contain images or audio (OpenAI's ``modalities``)."""
        kinds = self.extra.get("modalities")
        return isinstance(kinds, list) and any(kind in ("image", "audio") for kind in kinds)


class Endpoint(Struct, frozen=True):
    """Where an attempt goes: base URL, API key, format.

    ``trusted``: no user chose the address; ``local``: the built-in model, whose address is known once it
    runs; ``is_own``: the API key is the caller's, so the provider's sentences about it may be shown.
    ``proxy_url``: the proxy to go through, if it is trusted; empty for none, None for the default one.
    """

    base_url: str
    api_key: str = ""
    wire_format: str = "openai"
    trusted: bool = True
    local: bool = False
    key_id: int | None = None
    is_own: bool = True
    proxy_url: str | None = None

    def __repr__(self) -> str:
        return f"Endpoint({self.base_url!r}, key_id={self.key_id})"


class UpstreamRequest(Struct, frozen=True):
    """An HTTP request to a provider, always a POST.

    Its body is a ``form``, if there is one; ``body`` are then the form's texts, whose words a refusal may
    repeat. ``is_media``: a file is sent or requested.
    """

    url: str
    headers: dict[str, str]
    body: bytes
    form: FormBody | None = None
    is_media: bool = False

    @property
    def streamed(self) -> bool:
        """Whether the response is requested as a stream."""
        return self.headers.get("Accept") == "text/event-stream"


class Attempt:
    """One attempt at one endpoint, timed by ``time.monotonic``.

    ``sent_at`` is when its request was sent: the connection was there. ``failure`` says how it failed.
    ``is_complete``: it ended by itself, and was not cancelled.
    """

    __slots__ = ("began", "ended", "endpoint", "failure", "is_complete", "model", "sent_at")

    def __init__(self, endpoint: Endpoint, model: str) -> None:
        self.endpoint = endpoint
        self.model = model
        self.began = time.monotonic()
        self.sent_at: float | None = None
        self.ended: float | None = None
        self.failure: Failure | None = None
        self.is_complete = False

    @property
    def is_successful(self) -> bool:
        return self.is_complete and self.failure is None

    @property
    def may_be_charged(self) -> bool:
        """Whether the provider may charge for the prompt although nothing of a reply came: it was sent, and
        neither refused nor replied to with nothing."""
        if self.sent_at is None:
            return False
        return not self.is_complete or (self.failure is not None and self.failure.kind in _CHARGED)

    def mark_sent(self) -> None:
        self.sent_at = time.monotonic()

    def complete(self, failure: Failure | None) -> None:
        self.failure, self.is_complete = failure, True

    def end(self) -> None:
        self.ended = time.monotonic()

"""A provider's response as events: text, reasoning, tool calls, attachments, sources, usage, the end, or a
failure."""

from typing import Any, Literal

from msgspec import Raw, Struct

from chathub.schemas.json import JsonObject
from chathub.sentences import Param, Reason
from chathub.text import shortened

_PER_FRAGMENT = 50


class Text(Struct, frozen=True, gc=False):
    """A further piece of the reply's text. ``is_refusal``: of the sentence with which the model declines."""

    text: str
    is_refusal: bool = False


class Logprobs(Struct, frozen=True, gc=False):
    """How likely each token of the text after it was: a list of Chat Completions (``token``, ``logprob``,
    ``bytes``, ``top_logprobs``), as the provider wrote it. Forwarded replies have it too, so it is not
    decoded here."""

    tokens: Raw


class Reasoning(Struct, frozen=True, gc=False):
    """A further piece of the model's reasoning."""

    text: str


class ToolCallDelta(Struct, frozen=True, gc=False):
    """A fragment of the tool call ``index``: ``id`` and ``name`` come once (empty in all other
    fragments), ``arguments`` is to be appended to those of earlier fragments."""

    index: int
    id: str
    name: str
    arguments: str

    @property
    def size(self) -> int:
        """The characters that it counts as: its text, and the cost of any fragment."""
        return len(self.id) + len(self.name) + len(self.arguments) + _PER_FRAGMENT


class Attachment(Struct, frozen=True, gc=False):
    """An image, a recording or another file that the model made, at this place in the text.

    It has bytes, or an https address; with neither it cannot be read. ``name`` may be empty; ``transcript``
    is what is said in a recording.
    """

    media_type: str
    data: bytes = b""
    url: str = ""
    name: str = ""
    transcript: str = ""


class Source(Struct, frozen=True, gc=False):
    """A citation or a search result.

    ``start`` and ``end`` are the code points of the response's text that it supports (None: all of it, or the
    provider does not say which); ``quote`` is from the source itself. ``url`` is empty for a document without
    an address.
    """

    title: str
    url: str
    quote: str = ""
    start: int | None = None
    end: int | None = None


class Usage(Struct, frozen=True, gc=False):
    """Tokens as the provider counts them; the last one of a stream wins. ``None``: not reported.

    ``prompt_tokens`` are all that was sent. Some of it may have been read from the provider's cache
    (``cached_tokens``) or written to it (``cache_write_tokens``, of which ``cache_write_1h_tokens`` are kept
    for an hour).
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None


class Units(Struct, frozen=True, gc=False):
    """What a price other than per token counts: images, seconds, characters. ``attributes`` are what its
    price may depend on, such as the size and quality of an image."""

    unit: str
    count: int
    attributes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The unit with its attributes, as keys of prices are written."""
        return "/".join((self.unit, *self.attributes))

    @classmethod
    def named(cls, name: str, count: int) -> "Units":
        unit, *attributes = name.split("/")
        return cls(unit, count, tuple(attributes))


class State(Struct, frozen=True):
    """What the provider needs back to continue after this reply (signatures of its reasoning), as plain
    JSON values, in its place among the other events; see ``reasoning``."""

    data: JsonObject


class Finish(Struct, frozen=True, gc=False):
    """Why the model stopped, in OpenAI's words: ``stop``, ``length``, ``tool_calls``, ``content_filter``; or
    Anthropic's ``pause_turn``. ``word`` is the provider's own word if the format does not define it."""

    reason: str
    word: str = ""


class OtherChoice(Struct, frozen=True, gc=False):
    """A piece of another choice of the same response (OpenAI's ``n``): it is counted, but not translated."""

    index: int
    event: Text | Reasoning | ToolCallDelta | Attachment


class Failure(Struct, frozen=True):
    """Why an attempt did not succeed.

    ``status`` is the HTTP status of the response (200 for an error inside a stream, 0 without a
    response), ``retry_after`` seconds. ``kind`` is one of

    - ``refused``: the provider reported an error, before any output;
    - ``empty``: it sent nothing at all;
    - ``blank``: it said that the reply is complete, and charges for it, but there is no text, tool call or
      attachment in it;
    - ``unreachable``: nothing was sent to it;
    - ``busy``: nothing was sent, because we have no descriptor left to connect with;
    - ``no_response``: the head of a stream did not come in time;
    - ``timeout``: a whole body did not come in time, or a stream stalled;
    - ``cut``: the connection ended, the provider reported an error after some output, or the response became
      too large, before it was whole; or the response cannot be read. The provider may have done its work.

    ``said_status`` is the HTTP status that an error inside a 200 names besides its code. ``type``,
    ``code`` and ``param`` are the provider's words, ``words`` further machine-readable words of its details
    (Gemini's reasons and quota ids, Azure's inner code). ``cause`` is the reason in more detail: the error of
    another provider that a relay passes on (``is_relayed``), or what the details say. ``fields`` are the
    top-level fields of the request that the error names (``param``, ``loc``). ``form``: the body was JSON,
    plain text (or nothing), or a web page. ``regains_at`` (Unix seconds) is when a used-up quota renews.
    ``echoed``: the message begins with a phrase that the request contains. ``headers`` are those of the
    response that may be passed on.

    ``message`` is the provider's own; a failure that ChatHub found has a ``reason``, and that in English as
    its message.
    """

    message: str
    kind: str = "refused"
    status: int = 0
    type: str | None = None
    code: str | int | None = None
    retry_after: float | None = None
    fields: tuple[str, ...] = ()
    echoed: bool = False
    param: str | None = None
    said_status: int = 0
    words: tuple[str, ...] = ()
    cause: "Failure | None" = None
    is_relayed: bool = False
    form: Literal["json", "text", "page"] = "json"
    regains_at: float | None = None
    headers: tuple[tuple[str, str], ...] = ()
    reason: Reason | None = None

    @classmethod
    def found(
        cls,
        code: str,
        /,
        kind: str = "refused",
        status: int = 0,
        params: dict[str, Param] | None = None,
        **more: Any,
    ) -> "Failure":
        """A failure that ChatHub found; ``with_provider`` names the provider in its sentence."""
        reason = Reason(code, {"provider": Reason("the_provider"), **(params or {})})
        return cls(reason.text("en"), kind=kind, status=status, reason=reason, **more)

    @property
    def told(self) -> str:
        """What people read: the message, and its cause where the message does not contain it."""
        if self.cause is None or self.cause.told in self.message:
            return self.message
        return shortened(f"{self.message}: {self.cause.told}")

    @property
    def timed_out(self) -> bool:
        return self.kind in ("timeout", "no_response")


Event = (
    Text
    | Logprobs
    | Reasoning
    | ToolCallDelta
    | OtherChoice
    | Attachment
    | Source
    | Usage
    | Units
    | State
    | Finish
    | Failure
)


def text_in(event: Event) -> str:
    """The text in an event, which the provider counts as output."""
    match event:
        case Text(text) | Reasoning(text):
            return text
        case ToolCallDelta():
            return event.name + event.arguments
        case OtherChoice():
            return text_in(event.event)
        case _:
            return ""


def size_beside_text(event: Event) -> int:
    """The bytes in an event that are no text: of an attachment, or of what is told of tokens."""
    match event:
        case Attachment():
            return len(event.data)
        case Logprobs(tokens):
            return memoryview(tokens).nbytes
        case _:
            return 0

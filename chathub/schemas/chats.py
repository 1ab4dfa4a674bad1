"""Requests of chats, section 5 of the API document: their bodies, options and queries."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from chathub.schemas.bounds import Bound
from chathub.schemas.fields import ConversationId, RowId, Tokens, check_conversation_id
from chathub.schemas.json import JsonObject


class ImageUrl(Struct):
    url: str


class Part(Struct):
    """A part of a message in OpenAI's style: ``text``, or ``image_url``."""

    type: Literal["text", "image_url"]
    text: Annotated[str, Meta(max_length=200_000)] = ""
    image_url: ImageUrl | str = ""


class ToolResult(Struct):
    """The result of a tool call of the last reply."""

    tool_call_id: Annotated[str, Meta(min_length=1, max_length=200)]
    content: Annotated[str, Meta(max_length=200_000)]


# a text, or parts of text and images
Message = Annotated[str, Meta(max_length=200_000)] | Annotated[list[Part], Meta(max_length=50)]
ClientMessageId = Annotated[str, Meta(min_length=1, max_length=255)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]


_KB = 1024
# free-form JSON of the client that is stored with a turn
_STORED: Mapping[str, Bound] = {
    "tools": Bound(bytes=256 * _KB, items=128),
    "tool_choice": Bound(bytes=64 * _KB),
    "response_format": Bound(bytes=64 * _KB),
}

# the parameters of a model, with the names of OpenAI's API
PARAMETERS = (
    "temperature",
    "top_p",
    "max_tokens",
    "stop",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "response_format",
)
# options that may be long: a refused turn is stored without them
BULKY = ("tools", "tool_choice", "response_format")


class Options(Struct, kw_only=True):
    """The options of every request for a reply.

    With ``resumable`` every event of the stream has an ``id:`` line. ``on_disconnect`` says whether the reply
    continues or stops if the client leaves. ``client_message_id`` is an idempotency key: a repeated request
    gets the reply of the first one. With ``auto_title`` the model generates a title after the first turn.
    """

    BOUNDS: ClassVar[Mapping[str, Bound]] = _STORED
    # half a surrogate pair does not refuse the body (``decode``)
    repairs_texts: ClassVar[bool] = True

    system_prompt: Annotated[str, Meta(max_length=100_000)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    max_tokens: Tokens | None = None
    stop: (
        Annotated[str, Meta(min_length=1, max_length=200)]
        | Annotated[
            list[Annotated[str, Meta(min_length=1, max_length=200)]], Meta(min_length=1, max_length=16)
        ]
        | None
    ) = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    response_format: JsonObject | None = None
    tools: Annotated[list[JsonObject], Meta(max_length=128)] | None = None
    tool_choice: str | JsonObject | None = None
    resumable: bool | None = None
    on_disconnect: Literal["continue", "stop"] | None = None
    client_message_id: ClientMessageId | None = None
    auto_title: bool | None = None

    def parameters(self) -> JsonObject:
        """The model parameters that the request sets, with the names of OpenAI's API."""
        return {name: value for name in PARAMETERS if (value := getattr(self, name)) is not None}

    def stored(self) -> JsonObject:
        """The options that are stored with the prompt, for another reply to it."""
        names = ("system_prompt", "tools", "tool_choice", *PARAMETERS)
        return {name: value for name in names if (value := getattr(self, name)) not in (None, "", [])}


class Chat(Options, kw_only=True):
    """POST /api/chat and /api/chat/stream. A ``user_id`` is accepted and ignored: the caller is known.

    ``images`` are data URLs or https URLs. ``tool_results`` complete the tool calls of the last reply; they
    come without a message.
    """

    BOUNDS = {
        **_STORED,
        "message": Bound(items=50),
        "images": Bound(items=50),
        "tool_results": Bound(items=128),
    }

    message: Message | None = None
    images: Annotated[list[str], Meta(max_length=50)] | None = None
    tool_results: Annotated[list[ToolResult], Meta(min_length=1, max_length=128)] | None = None
    model: Annotated[str, Meta(min_length=1, max_length=200)]
    # empty or null: a new conversation
    conversation_id: ConversationId | None = None

    def __post_init__(self) -> None:
        check_conversation_id(self.conversation_id or "")


class Regenerate(Options, kw_only=True):
    """Another reply to the same prompt; options that are absent stay as they were."""

    model: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


class EditMessage(Options, kw_only=True):
    """A changed user message, with a reply of its own; it keeps its images unless others are given."""

    BOUNDS = {**_STORED, "content": Bound(items=50), "images": Bound(items=50)}

    content: Message
    images: Annotated[list[str], Meta(max_length=50)] | None = None
    model: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


class SavePartial(Struct):
    """What the page sends after its stop button. Its ``message_id`` is a number of the page, and ignored."""

    conversation_id: ConversationId | None = None
    content: Annotated[str, Meta(max_length=2_000_000)] | None = None
    reasoning: Annotated[str, Meta(max_length=2_000_000)] | None = None


class Stop(Struct):
    """The reply to stop, by its message or its conversation."""

    message_id: RowId | None = None
    conversation_id: ConversationId | None = None


class Resume(Struct):
    """The query of a resumed stream: how much the client has received."""

    last_event_id: Annotated[str, Meta(pattern=r"^\d{1,9}-\d{1,9}\Z")] | None = None

"""Request bodies of chats, and what goes along with them. The rules are those of ``decode.Request``."""

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
    """What a tool gave for a call of the last answer."""

    tool_call_id: Annotated[str, Meta(min_length=1, max_length=200)]
    content: Annotated[str, Meta(max_length=200_000)]


# a text, or parts of text and pictures
Message = Annotated[str, Meta(max_length=200_000)] | Annotated[list[Part], Meta(max_length=50)]
ClientMessageId = Annotated[str, Meta(min_length=1, max_length=255)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]


_KB = 1024
# what is stored with a turn: free-form JSON of the client's
_STORED: Mapping[str, Bound] = {
    "tools": Bound(bytes=256 * _KB, items=128),
    "tool_choice": Bound(bytes=64 * _KB),
    "response_format": Bound(bytes=64 * _KB),
}

# of a model, under the names of OpenAI's API
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
# options that may be long: a turn that is refused is stored without them
BULKY = ("tools", "tool_choice", "response_format")


class Options(Struct, kw_only=True):
    """What may go along with any question.

    ``resumable`` gives every event of the stream its ``id:`` line; ``on_disconnect`` says what a client
    that leaves means; ``client_message_id`` makes a repeated request attach to the first one's reply;
    ``auto_title`` has the model name the conversation after its first exchange.
    """

    BOUNDS: ClassVar[Mapping[str, Bound]] = _STORED

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
        """What the user set of the model's parameters, under OpenAI's names."""
        return {name: value for name in PARAMETERS if (value := getattr(self, name)) is not None}

    def kept(self) -> JsonObject:
        """What is stored with the question, for another answer to it."""
        names = ("system_prompt", "tools", "tool_choice", *PARAMETERS)
        return {name: value for name in names if (value := getattr(self, name)) not in (None, "", [])}


class Chat(Options, kw_only=True):
    """POST /api/chat and /api/chat/stream. ``user_id`` is accepted and ignored: the token says who asks.

    ``images`` are data URLs or https addresses; ``tool_results`` go on from the calls of the last answer
    and need no message.
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
    # empty means "a new one", as null does
    conversation_id: ConversationId | None = None

    def __post_init__(self) -> None:
        check_conversation_id(self.conversation_id or "")


class Regenerate(Options, kw_only=True):
    """Another answer to the same question; what is not given is as it was."""

    model: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


class EditMessage(Options, kw_only=True):
    """The question in other words, with an answer of its own; its pictures go along unless others are
    given."""

    BOUNDS = {**_STORED, "content": Bound(items=50), "images": Bound(items=50)}

    content: Message
    images: Annotated[list[str], Meta(max_length=50)] | None = None
    model: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


class SavePartial(Struct):
    """What the front end sends after its stop button; with it comes a ``message_id``, which is a number of
    the page's own and not read."""

    conversation_id: ConversationId | None = None
    content: Annotated[str, Meta(max_length=2_000_000)] | None = None
    reasoning: Annotated[str, Meta(max_length=2_000_000)] | None = None


class Stop(Struct):
    message_id: RowId | None = None
    conversation_id: ConversationId | None = None


class Resume(Struct):
    last_event_id: Annotated[str, Meta(pattern=r"^\d{1,9}-\d{1,9}\Z")] | None = None

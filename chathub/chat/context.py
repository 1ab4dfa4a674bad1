"""The messages that are sent to a provider: a conversation's history, cut to the model's context window."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from chathub.chat.trimming import newest_kept
from chathub.database.rows.messages import ContextMessage
from chathub.formats.loose_json import as_object
from chathub.formats.media import IMAGES
from chathub.formats.messages import (
    Image,
    Message,
    Part,
    TextPart,
    Thought,
    ToolCall,
    content_of,
    user_message,
)
from chathub.formats.prompt_counts import IMAGE, PromptCounts, counts_of_messages
from chathub.formats.reasoning import recorder
from chathub.formats.text_counts import counts_of_text

# the statuses of replies that are sent as history; a failed reply is not
_SENT_STATUSES = ("done", "stopped", "interrupted")

# characters of a history that are read for each token of the window
CHARACTERS = 4

Images = Mapping[int, Sequence[Image]]


class Attached(Struct, frozen=True):
    """An attachment of a reply in the history."""

    media_type: str
    transcript: str
    stored: bool

    @property
    def is_image(self) -> bool:
        """Whether its bytes may be sent to a provider as an image."""
        return bool(self.stored) and self.media_type in IMAGES


def counts_of_history(
    rows: Sequence[ContextMessage], *, images: bool, images_of_replies: bool
) -> PromptCounts:
    """The counts of a branch's messages, all of them; with its images if they are sent."""
    texts = [text for row in rows for text in (row.content, row.tool_calls)]
    # what a provider wants back of its reasoning is about as long as the reasoning
    texts += [" " * len(row.state) for row in rows if row.state]
    number = sum(row.image_count for row in rows) if images else 0
    number += sum(map(images_made, rows)) if images and images_of_replies else 0
    return PromptCounts(counts_of_text("\n".join(texts)), messages=len(rows), media=IMAGE.times(number))


def images_made(row: ContextMessage) -> int:
    """How many images of a reply are stored."""
    return sum(attached.is_image for attached in attachments_in(row))


def build(
    history: Sequence[ContextMessage],
    prompt: list[Message],
    images: Images,
    *,
    system_prompt: str | None,
    window: int,
    reply_room: int,
    tokens_of: Callable[[PromptCounts], int],
) -> list[Message]:
    """The system prompt, the newest whole turns, and the prompt, in that order: all turns if they fit, else
    as many as ``newest_kept`` says.

    ``history`` is the branch before the prompt, oldest first, as far as it was read, and ``images`` are the
    images of its messages. ``window`` is the model's context window and ``reply_room`` the part of it to keep
    free for the reply (never more than half), both in tokens; ``tokens_of`` says how many tokens messages
    are. The system prompt and the prompt are always sent, and with tool results also the turn that called the
    tools.
    """
    first = [Message("system", system_prompt)] if system_prompt else []
    turns, calling = _turns(history, images)
    last = [*calling, *prompt] if prompt[0].role == "tool" else prompt

    def size_of(messages: list[Message]) -> int:
        # no more than is read of a history, or what is read would begin with another turn each time
        characters = sum(len(message.text) for message in messages)
        return max(tokens_of(counts_of_messages(messages)), characters // CHARACTERS)

    room = window - min(reply_room, window // 2) - size_of(first)
    sizes = ((turn_id, size_of(messages)) for turn_id, messages in reversed(turns))
    not_read = [(0, window + 1)] if history and history[0].parent_id is not None else []
    kept = turns[len(turns) - newest_kept(chain(sizes, not_read), size_of(last), room) :]
    return [*first, *chain.from_iterable(messages for _, messages in kept), *last]


def _turns(
    history: Iterable[ContextMessage], images: Images
) -> tuple[list[tuple[int, list[Message]]], list[Message]]:
    """The completed turns, each with the id of its last message, and the turn at the end that waits for tool
    results.

    A turn whose reply failed or is empty is left out, and so is one whose tool calls got no results.
    """
    turns: list[tuple[int, list[Message]]] = []
    turn: list[Message] = []
    for row in history:
        if row.role == "user":
            turn = [user_message(row.content, images.get(row.id, ()))]
        elif row.role == "tool":
            turn = turn and [*turn, Message("tool", row.content, tool_call_id=row.tool_call_id)]
        elif turn and row.status in _SENT_STATUSES and (message := _reply_message(row, images)):
            turn = [*turn, message]
            if not row.tool_calls:
                turns.append((row.id, turn))
                turn = []
        else:
            turn = []
    return turns, turn


def _reply_message(row: ContextMessage, images: Images) -> Message | None:
    """A reply with its images, where these were read; None for an empty one. Where a recording is all of it,
    what was said is sent."""
    calls = msgspec.json.decode(row.tool_calls or "[]", type=list[ToolCall])
    state = msgspec.json.decode(row.state) if row.state else {}
    attached = attachments_in(row)
    if attached and not row.content and not calls and row.id not in images:
        said = " ".join(each.transcript for each in attached if each.transcript)
        stand_in = said or f"[{', '.join(each.media_type for each in attached)}]"
        return Message("assistant", stand_in, model=state.get("model", ""))
    kept = recorder.parts_of(row.content, calls, state)
    parts = list(_with_images(kept, images.get(row.id, ())))
    if not row.content and not calls and not attached:
        return None
    return Message("assistant", content_of(parts), model=state.get("model", ""))


def _with_images(parts: Iterable[Part], images: Sequence[Image]) -> Iterator[Part]:
    """The parts of a reply with its images in their places in the text."""
    left = deque((image.at or 0, replace(image, at=None)) for image in images)
    at = 0
    for part in parts:
        while left and left[0][0] <= at and not _signs_text(part):
            yield left.popleft()[1]
        if not isinstance(part, TextPart):
            yield part
            continue
        text = part.text
        while left and left[0][0] < at + len(text):
            place, image = left.popleft()
            yield TextPart(text[: place - at])
            yield image
            at, text = place, text[place - at :]
        yield TextPart(text)
        at += len(text)
    yield from (image for _, image in left)


def _signs_text(part: Part) -> bool:
    """Whether a part is the signature of the text before it."""
    state = as_object((part.state or {}).get("gemini")) if isinstance(part, Thought) else {}
    return "signature" in state and "call" not in state and not state.get("alone")


def attachments_in(row: ContextMessage) -> list[Attached]:
    """The attachments of a message of the history, in their order."""
    return _decode_attached(row.attachments) if len(row.attachments) > len("[]") else []


_decode_attached = msgspec.json.Decoder(list[Attached], strict=False).decode

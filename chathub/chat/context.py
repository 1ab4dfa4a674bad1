"""The messages that are sent to a provider: a conversation's history, cut to the model's context window."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import msgspec

from chathub.database.rows.messages import ContextMessage
from chathub.formats import reasoning
from chathub.formats.estimates import PER_IMAGE, PER_MESSAGE, estimate, estimate_messages
from chathub.formats.messages import Image, Message, ToolCall, content_of, user_message

# the statuses of replies that are sent as history; a failed reply is not
_SENT_STATUSES = ("done", "stopped", "interrupted")

Images = Mapping[int, Sequence[Image]]


def estimate_history(rows: Iterable[ContextMessage], supports_vision: bool) -> int:
    """An upper bound on the tokens of a branch's messages."""
    return sum(
        estimate(row.content)
        + estimate(row.tool_calls)
        + PER_MESSAGE
        + PER_IMAGE * (supports_vision and row.has_images)
        for row in rows
    )


def build(
    history: Iterable[ContextMessage],
    prompt: list[Message],
    images: Images,
    *,
    system_prompt: str | None,
    window: int,
    reply_room: int,
) -> list[Message]:
    """The system prompt, as many of the newest whole turns as fit, and the prompt, in that order.

    ``history`` is the branch before the prompt, oldest first, and ``images`` are the images of its messages.
    ``window`` is the model's context window and ``reply_room`` the part of it to keep free for the reply
    (never more than half), both in tokens. The system prompt and the prompt are always sent, and with tool
    results also the turn that called the tools.
    """
    first = [Message("system", system_prompt)] if system_prompt else []
    turns, calling = _turns(history, images)
    last = [*calling, *prompt] if prompt[0].role == "tool" else prompt
    remaining = window - min(reply_room, window // 2) - estimate_messages(first + last)
    oldest = len(turns)
    while oldest and (remaining := remaining - estimate_messages(turns[oldest - 1])) >= 0:
        oldest -= 1
    return [*first, *chain.from_iterable(turns[oldest:]), *last]


def _turns(history: Iterable[ContextMessage], images: Images) -> tuple[list[list[Message]], list[Message]]:
    """The completed turns, and the turn at the end that waits for tool results.

    A turn whose reply failed or is empty is left out, and so is one whose tool calls got no results.
    """
    turns: list[list[Message]] = []
    turn: list[Message] = []
    for row in history:
        if row.role == "user":
            turn = [user_message(row.content, images.get(row.id, ()))]
        elif row.role == "tool":
            turn = turn and [*turn, Message("tool", row.content, tool_call_id=row.tool_call_id)]
        elif turn and row.status in _SENT_STATUSES and (row.content or row.tool_calls):
            turn = [*turn, _reply_message(row)]
            if not row.tool_calls:
                turns.append(turn)
                turn = []
        else:
            turn = []
    return turns, turn


def _reply_message(row: ContextMessage) -> Message:
    calls = msgspec.json.decode(row.tool_calls or "[]", type=list[ToolCall])
    state = msgspec.json.decode(row.state) if row.state else {}
    parts = reasoning.parts_of(row.content, calls, state)
    return Message("assistant", content_of(parts), model=state.get("model", ""))

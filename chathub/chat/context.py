"""What goes upstream: the history of a conversation, cut to what the model can take."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import msgspec

from chathub.database.rows.messages import ContextMessage
from chathub.formats.estimates import PER_IMAGE, PER_MESSAGE, estimate, estimate_messages
from chathub.formats.messages import Image, Message, ToolCall

# a turn whose reply ended so is part of what was said; a failed one is not
_SAID = ("done", "stopped", "interrupted")

Images = Mapping[int, Sequence[Image]]


def estimate_history(rows: Iterable[ContextMessage], supports_vision: bool) -> int:
    """At most so many tokens are the messages of a branch."""
    return sum(
        estimate(row.content)
        + estimate(row.tool_calls)
        + PER_MESSAGE
        + PER_IMAGE * (supports_vision and row.has_images)
        for row in rows
    )


def build(
    history: Iterable[ContextMessage],
    asked: list[Message],
    images: Images,
    *,
    system_prompt: str | None,
    window: int,
    answer: int,
) -> list[Message]:
    """System prompt, as many of the newest whole turns as fit, and what is asked, in that order.

    ``history`` is the branch before the question, oldest first, ``images`` the pictures of its messages;
    ``window`` and ``answer`` are tokens: what the model can take, and what of it to keep free for the
    answer (never more than half). The system prompt and what is asked always go, and with the results of
    tools the turn that called them.
    """
    first = [Message("system", system_prompt)] if system_prompt else []
    turns, calling = _turns(history, images)
    last = [*calling, *asked] if asked[0].role == "tool" else asked
    left = window - min(answer, window // 2) - estimate_messages(first + last)
    oldest = len(turns)
    while oldest and (left := left - estimate_messages(turns[oldest - 1])) >= 0:
        oldest -= 1
    return [*first, *chain.from_iterable(turns[oldest:]), *last]


def _turns(history: Iterable[ContextMessage], images: Images) -> tuple[list[list[Message]], list[Message]]:
    """Questions with their answers, and the turn whose calls of tools wait for their results.

    A failed or empty answer takes its question along; so do calls that nobody answered.
    """
    turns: list[list[Message]] = []
    turn: list[Message] = []
    for row in history:
        if row.role == "user":
            turn = [Message("user", row.content, images=list(images.get(row.id, ())))]
        elif row.role == "tool":
            turn = turn and [*turn, Message("tool", row.content, tool_call_id=row.tool_call_id)]
        elif turn and row.status in _SAID and (row.content or row.tool_calls):
            turn = [*turn, _answer(row)]
            if not row.tool_calls:
                turns.append(turn)
                turn = []
        else:
            turn = []
    return turns, turn


def _answer(row: ContextMessage) -> Message:
    calls = msgspec.json.decode(row.tool_calls or "[]", type=list[ToolCall])
    state = msgspec.json.decode(row.state) if row.state else None
    return Message("assistant", row.content, tool_calls=calls, state=state)

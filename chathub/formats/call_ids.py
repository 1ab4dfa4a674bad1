"""Ids of tool calls that are unique in a conversation: some providers give ``call_0`` in every reply, and
Anthropic refuses an id that comes twice."""

from collections import deque

from msgspec.structs import replace

from chathub.formats.messages import Message, Part, ToolCall, content_of


def with_unique_ids(messages: list[Message]) -> list[Message]:
    """The messages; a call whose id came before has another one, and so has its result."""
    ids = [call.id for message in messages for call in message.tool_calls]
    if len(ids) == len(set(ids)):
        return messages
    used: set[str] = set()
    waiting: dict[str, deque[str]] = {}
    better = []
    for message in messages:
        if message.role == "assistant" and message.tool_calls:
            waiting |= {call.id: deque() for call in message.tool_calls}
            parts: list[Part] = []
            for part in message.parts:
                if isinstance(part, ToolCall):
                    new = _unused(part.id, used)
                    waiting[part.id].append(new)
                    part = replace(part, id=new)
                parts.append(part)
            message = replace(message, content=content_of(parts))
        elif message.role == "tool" and (its_ids := waiting.get(message.tool_call_id)):
            new = its_ids.popleft() if len(its_ids) > 1 else its_ids[0]
            message = replace(message, tool_call_id=new)
        better.append(message)
    return better


def _unused(call_id: str, used: set[str]) -> str:
    new, number = call_id, 1
    while new in used:
        number += 1
        new = f"{call_id}_{number}"
    used.add(new)
    return new

"""Which results belong to which tool calls: most providers refuse either without the other.

A call that has no result gets a stand-in; a result without a call becomes a text of the user.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from chathub.formats.call_ids import with_unique_ids
from chathub.formats.messages import Message, Part, TextPart

# the result of a call that has none
NO_RESULT = "No result: this tool call was not completed."
# before a result without a call
ORPHAN = "Result of an earlier tool call:"


class Turn(NamedTuple):
    """A message by the ids of its calls, and by the id of the call whose result it is."""

    calls: Sequence[str] = ()
    result_of: str = ""


def results_by_call(turns: Iterable[Turn]) -> dict[int, dict[str, int | None]]:
    """For each message with calls the positions of their results, by the calls' ids; None for none. A result
    belongs to the nearest message before it that has a call of its id."""
    results: dict[int, dict[str, int | None]] = {}
    callers: dict[str, int] = {}
    for number, (calls, result_of) in enumerate(turns):
        if calls:
            results[number] = dict.fromkeys(calls)
            callers |= dict.fromkeys(calls, number)
        elif result_of in callers:
            waiting = results[callers[result_of]]
            if waiting[result_of] is None:
                waiting[result_of] = number
    return results


def in_order(results: dict[str, int | None]) -> list[tuple[str, int | None]]:
    """The results as they stand, then the missing ones."""
    return sorted(results.items(), key=lambda item: (item[1] is None, item[1] or 0))


def with_results(messages: list[Message]) -> list[Message]:
    """The messages, with the results of all calls directly after them."""
    if any(_has_same_ids(each) for each in messages):
        messages = with_unique_ids(messages)
    turns = [Turn([call.id for call in each.tool_calls if call.id], each.tool_call_id) for each in messages]
    results = results_by_call(turns)
    used = {place for found in results.values() for place in found.values() if place is not None}
    paired: list[Message] = []
    for number, message in enumerate(messages):
        if number in used:
            continue
        if message.role == "tool":
            paired += _orphan(message)
            continue
        paired.append(message)
        for call_id, place in in_order(results.get(number, {})):
            no_result = Message("tool", NO_RESULT, tool_call_id=call_id)
            paired.append(no_result if place is None else messages[place])
    return paired


def _has_same_ids(message: Message) -> bool:
    ids = [call.id for call in message.tool_calls]
    return len(ids) > len(set(ids))


def _orphan(message: Message) -> list[Message]:
    """A result without a call as a message of the user; nothing if it is empty."""
    parts: list[Part] = [TextPart(ORPHAN), *message.parts]
    return [replace(message, role="user", content=parts, tool_call_id="")] if message.parts else []

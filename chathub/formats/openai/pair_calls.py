"""Pairs tool calls with their results: OpenAI refuses either without the other.

The results directly follow the message with their calls. A call that has none gets a stand-in; a result
without a call becomes a text of the user.
"""

from collections import Counter
from typing import Any

import msgspec
from msgspec import Raw, Struct

from chathub.formats.call_results import NO_RESULT, ORPHAN, Turn, in_order, results_by_call
from chathub.formats.client_request import PARTS_OF_ONE
from chathub.formats.raw_json import ABSENT, changed, first_of, items, joined, look, raw


class _Message(Struct):
    role: str = ""
    content: Raw = ABSENT
    tool_calls: Raw = ABSENT
    tool_call_id: str | None = None


class _Call(Struct):
    id: str = ""


_message = msgspec.json.Decoder(_Message)
_call = msgspec.json.Decoder(_Call)


def with_results(messages: list[Raw]) -> list[Raw]:
    """The messages, with the results of all calls directly after them."""
    messages = _with_own_ids(messages)
    looks = [look(each, _message) for each in messages]
    results = results_by_call(map(_turn, looks))
    used = {number for found in results.values() for number in found.values() if number is not None}
    paired: list[Raw] = []
    for number, (message, found) in enumerate(zip(messages, looks, strict=True)):
        if number in used:
            continue
        if found is not None and found.role == "tool" and found.tool_call_id:
            paired += _orphan(message, found)
            continue
        paired.append(message)
        for call_id, place in in_order(results.get(number, {})):
            paired.append(_stand_in(call_id) if place is None else messages[place])
    return paired


def _with_own_ids(messages: list[Raw]) -> list[Raw]:
    """The messages; of calls with the same id in one message all but the first get another one, as do their
    results, in their order."""
    better: list[Raw] = []
    waiting: dict[str, list[str]] = {}
    for message in messages:
        found = look(message, _message)
        if found is not None and found.role == "assistant" and first_of(found.tool_calls) == b"[":
            calls, waiting = _numbered(items(found.tool_calls, PARTS_OF_ONE) or [])
            if waiting:
                message = changed(message, {"tool_calls": joined(calls)})
        elif found is not None and (its_ids := waiting.get(found.tool_call_id or "")):
            message = changed(message, {"tool_call_id": its_ids.pop(0)})
        better.append(message)
    return better


def _numbered(calls: list[Raw]) -> tuple[list[Raw], dict[str, list[str]]]:
    """Calls with ids of their own, and the ids of those that had the same one."""
    ids = [getattr(look(each, _call), "id", "") for each in calls]
    twice = {call_id for call_id, count in Counter(ids).items() if call_id and count > 1}
    own: dict[str, list[str]] = {each: [] for each in twice}
    better = []
    for call, call_id in zip(calls, ids, strict=True):
        if call_id in twice:
            count = len(own[call_id]) + 1
            own[call_id].append(call_id if count == 1 else f"{call_id}_{count}")
            call = changed(call, {"id": own[call_id][-1]})
        better.append(call)
    return better, own


def _turn(found: _Message | None) -> Turn:
    if found is None:
        return Turn()
    calls = _call_ids(found.tool_calls) if found.role == "assistant" else []
    return Turn(calls, (found.tool_call_id or "") if found.role == "tool" else "")


def _call_ids(tool_calls: Raw) -> list[str]:
    found = [look(each, _call) for each in items(tool_calls, PARTS_OF_ONE) or []]
    return [each.id for each in found if each and each.id]


def _stand_in(call_id: str) -> Raw:
    return raw({"role": "tool", "tool_call_id": call_id, "content": NO_RESULT})


def _orphan(message: Raw, found: _Message) -> list[Raw]:
    """A result without a call as a message of the user; nothing if it is empty."""
    if bytes(found.content) in (b"", b"null", b'""'):
        return []
    introduction: dict[str, Any] = {"type": "text", "text": ORPHAN}
    if first_of(found.content) == b"[":
        parts = items(found.content, PARTS_OF_ONE) or []
        content: Any = [introduction, *parts]
    else:
        content = [introduction, {"type": "text", "text": found.content}]
    return [changed(message, {"role": "user", "content": content, "tool_call_id": None, "name": None})]

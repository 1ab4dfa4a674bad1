"""Pairs tool calls with their results: Anthropic refuses either without the other.

The results are the first blocks of the message that follows their calls. A call that has none gets a
stand-in; a result without a call becomes a text.
"""

from typing import NamedTuple

import msgspec
from msgspec import Raw, Struct

from chathub.formats.call_results import NO_RESULT, ORPHAN
from chathub.formats.client_request import PARTS_OF_ONE
from chathub.formats.raw_json import ABSENT, are_same, changed, first_of, items, joined, look, raw


class _Message(Struct):
    role: str = ""
    content: Raw = ABSENT


class _Block(Struct):
    type: str = ""
    id: str = ""
    tool_use_id: str = ""
    content: Raw = ABSENT


class _Turn(NamedTuple):
    """A message with its blocks; ``blocks`` is None for a text and for what cannot be read."""

    message: Raw
    role: str
    blocks: list[tuple[Raw, _Block | None]] | None


_message = msgspec.json.Decoder(_Message)
_block = msgspec.json.Decoder(_Block)


def with_results(messages: list[Raw]) -> list[Raw]:
    """The messages, with the results of all calls at the beginning of the message after them."""
    turns = [_turn(each) for each in messages]
    results = _results_by_call(turns)
    used = {id(block) for found in results.values() for block in found.values() if block is not None}
    paired: list[Raw] = []
    waiting: list[Raw] = []
    for number, turn in enumerate(turns):
        if waiting and turn.role != "user":
            paired.append(raw({"role": "user", "content": waiting}))
            waiting = []
        paired += _rewritten(turn, waiting, used)
        waiting = [
            _stand_in(call_id) if found is None else found
            for call_id, found in results.get(number, {}).items()
        ]
    return [*paired, raw({"role": "user", "content": waiting})] if waiting else paired


def _turn(message: Raw) -> _Turn:
    found = look(message, _message)
    if found is None:
        return _Turn(message, "", None)
    blocks = items(found.content, PARTS_OF_ONE)
    return _Turn(
        message, found.role, None if blocks is None else [(each, look(each, _block)) for each in blocks]
    )


def _results_by_call(turns: list[_Turn]) -> dict[int, dict[str, Raw | None]]:
    """For each message with calls their results, by the calls' ids; None for none. A result belongs to the
    nearest message before it that has a call of its id."""
    results: dict[int, dict[str, Raw | None]] = {}
    callers: dict[str, int] = {}
    for number, turn in enumerate(turns):
        for block, found in turn.blocks or []:
            if found and found.type == "tool_use" and found.id and turn.role == "assistant":
                results.setdefault(number, {})[found.id] = None
                callers[found.id] = number
            elif found and found.type == "tool_result" and found.tool_use_id in callers:
                waiting = results[callers[found.tool_use_id]]
                if waiting[found.tool_use_id] is None:
                    waiting[found.tool_use_id] = block
    return results


def _rewritten(turn: _Turn, waiting: list[Raw], used: set[int]) -> list[Raw]:
    """A message with the results of the calls before it, and without those of others; nothing if it is then
    empty. ``used`` are the identities of the results that have calls."""
    if turn.role != "user":
        return [turn.message]
    if turn.blocks is None:
        if not waiting:
            return [turn.message]
        message = look(turn.message, _message)
        text = raw({"type": "text", "text": message.content if message else ""})
        return [changed(turn.message, {"content": joined([*waiting, text])})]
    blocks = list(waiting)
    for block, found in turn.blocks:
        if not found or found.type != "tool_result" or not found.tool_use_id:
            blocks.append(block)
        elif id(block) not in used:
            blocks += _orphan(found)
    old = [block for block, _ in turn.blocks]
    if are_same(blocks, old):
        return [turn.message]
    return [changed(turn.message, {"content": joined(blocks)})] if blocks else []


def _stand_in(call_id: str) -> Raw:
    return raw({"type": "tool_result", "tool_use_id": call_id, "content": NO_RESULT})


def _orphan(found: _Block) -> list[Raw]:
    """The content of a result without a call, as blocks of the user; nothing if it is empty."""
    if bytes(found.content) in (b"", b"null", b'""', b"[]"):
        return []
    introduction = raw({"type": "text", "text": ORPHAN})
    if first_of(found.content) == b"[":
        return [introduction, *(items(found.content, PARTS_OF_ONE) or [])]
    return [introduction, raw({"type": "text", "text": found.content})]

"""Markers for Anthropic's cache of prompts in a request: the client's own, else those that ChatHub sets.

Source: Anthropic's reference ("Prompt caching"). The prompt is tools, system and messages, in this order; up
to four blocks may be marked, and what ends at a marked block is kept for later requests that begin with it.
Markers for an hour come before those for five minutes. A prompt that is too short for the cache may be
marked all the same: nothing is kept then, and nothing is charged.
"""

from collections.abc import Iterator
from typing import Any

from chathub.formats.cache_points import FIELD, marked, points_in, unmarked
from chathub.formats.messages import CachePoint
from chathub.schemas.json import JsonObject

_MOST = 4
# blocks that may be marked; a tool has a name
_KINDS = ("text", "image", "document", "tool_use", "tool_result")


def set_markers(body: JsonObject, automatic: list[CachePoint]) -> None:
    """Set the markers of a body whose ``system`` and contents are lists of blocks.

    ``automatic`` is the client's request to mark the end of the prompt. Without any marker of its own those
    blocks are marked that the next turn's prompt has too: the tools, the instructions, the last message of
    the user and the one before it, with which the last turn's prompt ended.
    """
    point = (automatic or [CachePoint()])[0]
    ends = _ends_of_turns(body["messages"])
    if not _marked_places(body):
        for blocks in (body.get("tools", []), body.get("system", []), *ends[-2:]):
            _mark_last(blocks, point)
    elif automatic and ends:
        _mark_last(ends[-1], point)
    _within_limits(_marked_places(body))


def remove_markers(body: JsonObject) -> None:
    """Remove all markers: the provider was seen to refuse them."""
    for blocks, number in _marked_places(body):
        blocks[number] = unmarked(blocks[number])


def _ends_of_turns(messages: list[JsonObject]) -> list[list[Any]]:
    """The blocks of the user's messages: with each of them a request has ended."""
    return [each["content"] for each in messages if each["role"] == "user"]


def _mark_last(blocks: list[Any], point: CachePoint) -> None:
    """Mark the last block that may be marked. The block may belong to another request as well: it is
    replaced, not changed."""
    for number in reversed(range(len(blocks))):
        if _may_be_marked(blocks[number]):
            blocks[number] = marked(blocks[number], point)
            return


def _may_be_marked(block: JsonObject) -> bool:
    """Whether a block or tool may be marked: no thinking, and no tool that is loaded later."""
    return block.get("type") in _KINDS or ("name" in block and block.get("defer_loading") is not True)


def _marked_places(body: JsonObject) -> list[tuple[list[Any], int]]:
    """Where the markers are: lists of blocks and places in them, in the order of the prompt."""
    return [
        (blocks, number)
        for blocks in _lists_of_blocks(body)
        for number, block in enumerate(blocks)
        if block.get(FIELD) is not None
    ]


def _lists_of_blocks(body: JsonObject) -> Iterator[list[Any]]:
    yield body.get("tools", [])
    yield body.get("system", [])
    for message in body["messages"]:
        if isinstance(message["content"], list):
            yield message["content"]


def _within_limits(places: list[tuple[list[Any], int]]) -> None:
    """Keep the last four markers, which end the longest prompts, and none for an hour after a shorter one."""
    for blocks, number in places[:-_MOST]:
        blocks[number] = unmarked(blocks[number])
    longest: list[CachePoint] = []
    for blocks, number in reversed(places[-_MOST:]):
        if points_in(blocks[number][FIELD]) == [CachePoint("1h")]:
            longest = [CachePoint("1h")]
        elif longest:
            blocks[number] = marked(blocks[number], longest[0])

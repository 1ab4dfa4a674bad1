"""Repairs a client's request in Anthropic's format, before it is forwarded or translated.

Repaired is what clients send and Anthropic refuses: blank texts, base64 with line breaks, images under a
wrong type, options of tools without tools, tool calls without their results, instructions alone, citations
that ChatHub made itself. Everything else, unknown fields among it, stays as it was written.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from chathub.formats import media
from chathub.formats.anthropic.pair_calls import with_results
from chathub.formats.anthropic.repair_tools import tool_options
from chathub.formats.client_request import MESSAGES, PARTS_OF_ONE
from chathub.formats.raw_json import (
    ABSENT,
    are_same,
    changed,
    first_of,
    is_all,
    is_null,
    items,
    joined,
    look,
    raw,
    value_of,
)

# in place of a missing message of the user: an empty one is refused
STAND_IN = "…"
# blocks that hold files, and the media types that each takes
_MEDIA = {"image": media.IMAGES, "document": (media.PDF,)}
# bytes that an empty list may take
_EMPTY = 64


class _Message(Struct):
    role: str = ""
    content: Raw = ABSENT


class _Block(Struct):
    type: str = ""
    text: Raw = ABSENT
    source: Raw = ABSENT
    content: Raw = ABSENT
    input: Raw = ABSENT
    citations: Raw = ABSENT


class _Citation(Struct):
    encrypted_index: str | None = None


class _Source(Struct):
    type: str = ""
    media_type: str = ""
    data: Raw = ABSENT


# what needs no repair, and most requests are made of

_Spoken = Annotated[str, Meta(pattern=r"\S")]
_Trimmed = Annotated[str, Meta(pattern=r"\S\Z")]


class _PlainBlock(Struct, tag="text"):
    text: _Spoken
    citations: Annotated[list[Raw], Meta(max_length=0)] | None = None


class _PlainMessage(Struct):
    role: Literal["user", "assistant"]
    # with no blank at its end: the last message may be the beginning of the reply
    content: _Trimmed | Annotated[list[_PlainBlock], Meta(min_length=1)]


_plain_messages = msgspec.json.Decoder(list[_PlainMessage])
_plain_system = msgspec.json.Decoder(_Spoken | Annotated[list[_PlainBlock], Meta(min_length=1)])
_message = msgspec.json.Decoder(_Message)
_block = msgspec.json.Decoder(_Block)
_source = msgspec.json.Decoder(_Source)
_citation = msgspec.json.Decoder(_Citation)
_text = msgspec.json.Decoder(str)
_texts = msgspec.json.Decoder(list[str])


def repaired(fields: dict[str, Raw]) -> dict[str, Raw]:
    """The fields of a request, repaired; the same object if there is nothing to repair."""
    changes: dict[str, Raw | None] = {**tool_options(fields), **_stops(fields), **_system(fields)}
    messages = fields.get("messages", ABSENT)
    system = changes["system"] if "system" in changes else fields.get("system")
    if system is not None and memoryview(messages).nbytes < _EMPTY and items(messages, MESSAGES) == []:
        # instructions alone are the question
        changes |= {"messages": raw([{"role": "user", "content": system}]), "system": None}
    elif (better := _messages(messages)) is not messages:
        changes["messages"] = better
    if not changes:
        return fields
    return {name: value for name, value in {**fields, **changes}.items() if value is not None}


def _stops(fields: dict[str, Raw]) -> dict[str, Raw | None]:
    value = fields.get("stop_sequences", ABSENT)
    word = value_of(value, _text)
    words = value_of(value, _texts) if word is None else [word]
    if words is None or (word is None and words and all(each.strip() for each in words)):
        return {}
    return {"stop_sequences": raw(kept) if (kept := [each for each in words if each.strip()]) else None}


def _system(fields: dict[str, Raw]) -> dict[str, Raw | None]:
    value = fields.get("system", ABSENT)
    if not first_of(value) or is_all(value, _plain_system):
        return {}
    if is_null(value) or _is_blank(value):
        return {"system": None}
    blocks = items(value, PARTS_OF_ONE)
    better = blocks and [each for each in blocks if not _is_blank_block(look(each, _block))]
    if blocks is None or (better and len(better) == len(blocks)):
        return {}
    return {"system": joined(better) if better else None}


def _messages(value: Raw) -> Raw:
    if is_all(value, _plain_messages):
        return value
    messages = items(value, MESSAGES)
    if not messages:
        return value
    better: list[Raw] = []
    calls = False
    for each in messages:
        found = look(each, _message)
        if found is None or not first_of(found.content):
            better.append(each)
        elif (content := _content(found.content)) is not None:
            better.append(each if content is found.content else changed(each, {"content": content}))
            calls = calls or (first_of(content) == b"[" and b"tool_" in bytes(content))
    better = with_results(better) if calls else better
    better = _without_blanks_at_end(better) or [raw({"role": "user", "content": STAND_IN})]
    return value if are_same(better, messages) else joined(better)


def _without_blanks_at_end(messages: list[Raw]) -> list[Raw]:
    """The messages; if the last one is the beginning of the reply, it must not end in blanks."""
    last = look(messages[-1], _message) if messages else None
    text = value_of(last.content, _text) if last and last.role == "assistant" else None
    if text is None or text == text.rstrip():
        return messages
    return [*messages[:-1], changed(messages[-1], {"content": text.rstrip()})]


def _content(value: Raw) -> Raw | None:
    """Repaired content; None for a blank one, which is refused."""
    if first_of(value) != b"[":
        return None if _is_blank(value) else value
    blocks = items(value, PARTS_OF_ONE)
    if blocks is None:
        return value
    better = repaired_blocks(blocks)
    if not better:
        return None
    return value if are_same(better, blocks) else joined(better)


def repaired_blocks(blocks: list[Raw]) -> list[Raw]:
    """The blocks of a message or a tool result, without blank texts."""
    better = []
    for block in blocks:
        found = look(block, _block)
        if found is None:
            better.append(block)
        elif not _is_blank_block(found):
            better.append(_repaired_block(block, found))
    return better


def _is_blank_block(found: _Block | None) -> bool:
    return found is not None and found.type == "text" and _is_blank(found.text)


def _is_blank(value: Raw) -> bool:
    if first_of(value) == b"n":
        return True
    if first_of(value) != b'"' or memoryview(value).nbytes > 4096:
        return False
    text = value_of(value, _text)
    return text is not None and not text.strip()


def _repaired_block(block: Raw, found: _Block) -> Raw:
    if found.type in _MEDIA:
        source, kind = _repaired_source(found)
        if source is found.source and kind == found.type:
            return block
        others = {} if kind == found.type else dict.fromkeys(("title", "context", "citations"))
        return changed(block, {**others, "source": source, "type": kind})
    if found.type == "tool_result":
        if first_of(found.content) == b"n":
            return changed(block, {"content": None})
        if first_of(found.content) == b"[":
            content = _content(found.content)
            return block if content is found.content else changed(block, {"content": content})
    if found.type == "text" and first_of(found.citations) == b"[":
        return _without_our_citations(block, found)
    if found.type == "tool_use" and first_of(found.input) == b"n":
        return changed(block, {"input": {}})
    return block


def _without_our_citations(block: Raw, found: _Block) -> Raw:
    """A text without the citations that ChatHub made of another format's sources (``sources.citation``):
    Anthropic would look for their search results."""
    citations = items(found.citations, PARTS_OF_ONE) or []
    kept = [each for each in citations if getattr(look(each, _citation), "encrypted_index", None) != ""]
    if len(kept) == len(citations):
        return block
    return changed(block, {"citations": joined(kept) if kept else None})


def _repaired_source(block: _Block) -> tuple[Raw, str]:
    """Base64 in its strict form, under the media type and in the kind of block that the bytes belong to."""
    found = look(block.source, _source)
    if found is None or found.type != "base64":
        return block.source, block.type
    text = value_of(found.data, _text) or ""
    data = media.strict_base64(text.partition(";base64,")[2] if text.startswith("data:") else text)
    changes: dict[str, Any] = {} if data == text else {"data": data}
    actual = media.type_of_base64(data)
    kind = next((kind for kind, types in _MEDIA.items() if actual in types), "")
    if kind and actual != found.media_type:
        changes["media_type"] = actual
    return changed(block.source, changes) if changes else block.source, kind or block.type
